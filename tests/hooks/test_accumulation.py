"""Gradient accumulation equals the larger batch, alphas and the budget's clock included."""

import pytest
import torch

from mmseg_dynopool import DynOPoolHook
from support.runs import Watch, small_segmentor, train


def test_accumulation_equals_the_doubled_batch(tmp_path):
    """Group norm, since batch norm's statistics are those of the small batch."""
    small, large = Watch(), Watch()
    model = small_segmentor('GN', gmacs_weight=10.)
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


@pytest.mark.parametrize('gradient', ['learner', 'straight_through'])
@pytest.mark.parametrize('iterations, counts, steps', [(20, 2, 10), (20, 3, 7)])
def test_the_budget_counts_steps_of_the_optimizer(tmp_path, iterations, counts, steps, gradient):
    """The last step comes early, with what is there, where the counts do not divide the length."""
    watch = Watch()
    runner = train(tmp_path, iterations=iterations, hooks=[watch], accumulative_counts=counts,
                   hook=dict(gmacs_budget=dict(target=1.2), gradient=gradient))
    hook, = (hook for hook in runner.hooks if isinstance(hook, DynOPoolHook))
    plan = [hook.keeper.plan.wanted(step / steps) for step in range(steps + 1)]
    logged = runner.message_hub.get_scalar('train/gmacs_plan').data[0] * hook.cost.initial
    assert logged.tolist() == pytest.approx([plan[i // counts] for i in range(iterations)])
    if hook.learner is not None:
        assert hook.learner.done == steps == hook.learner.steps
    moves = [i for i in range(1, iterations) if not torch.equal(
        watch.alphas[i], watch.alphas[i - 1])]
    last = -(-17 * steps // 20) * counts  # settles at 0.85
    assert set(moves) <= {i for i in range(iterations) if (i + 1) % counts == 0} and (
        max(moves) == last - 1)
