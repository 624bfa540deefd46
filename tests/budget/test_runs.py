"""Budgets across runs."""

import pytest
import torch
from mmseg.registry import MODELS

from support.runs import Watch, segmentor, train


def test_a_run_that_starts_from_a_settled_one_controls_anew(tmp_path):
    """load_from brings the old controller's buffers along; a new run is not at its end."""
    options = dict(gmacs_weight=None, gmacs_shape=(256, 384))
    first = train(tmp_path / 'first', segmentor(gmacs_budget=dict(target=1.2), **options), 20)
    assert first.model.gmacs_budget.settled
    state = first.model.state_dict()
    model = MODELS.build(segmentor(gmacs_budget=dict(target=0.98), **options))
    model.load_state_dict(state)
    start = MODELS.build(segmentor(**options)).count_gmacs()
    assert model.count_gmacs() / start == pytest.approx(1.2, rel=0.02)
    watch = Watch()
    train(tmp_path / 'second', model, 20, [watch])
    assert not torch.equal(watch.alphas[5], watch.alphas[0])
    assert model.count_gmacs() / start == pytest.approx(0.98, rel=0.02)
