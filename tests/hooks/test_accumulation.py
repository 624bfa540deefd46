"""Gradient accumulation equals the larger batch, alphas and the budget's clock included."""

import pytest
import torch

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.budget import GMACsBudgetHook
from support.runs import Watch, segmentor, train
from support.toy_runs import Toy, run


def test_accumulation_equals_the_doubled_batch(tmp_path):
    """Group norm, since batch norm's statistics are those of the small batch."""
    small, large = Watch(), Watch()
    model = segmentor('GN', gmacs_weight=10.)
    options = dict(lr=0.01, alpha_lr=0.5)
    one = train(tmp_path / 'one', model, 6, [large], 4, **options)
    two = train(tmp_path / 'two', model, 12, [small], 2, accumulative_counts=2, **options)
    before = torch.full((3, 2), 2.0)
    for step in range(6):
        between, after = small.alphas[2 * step:2 * step + 2]
        assert torch.equal(between, before) and not torch.equal(after, before)
        torch.testing.assert_close(after, large.alphas[step], rtol=1e-6, atol=1e-6)
        before = after
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(two.model.state_dict()[name], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('iterations, counts, clock', [
    (6, 2, [(1, 3), (2, 3), (3, 3)]),
    (7, 3, [(1, 3), (2, 3), (3, 3)]),  # the last step comes early, with what is there
])
def test_the_budget_counts_steps_of_the_optimizer(tmp_path, iterations, counts, clock):

    class Noting(GMACsBudgetHook):

        def before_train(self, runner):
            self.seen = []

        def step(self, model, optimizer, done, iterations):
            self.seen.append((done, iterations))

    noting = Noting()
    run(tmp_path, Toy(), iterations, [DynOPoolHook(), noting], accumulative_counts=counts)
    assert noting.seen == clock
