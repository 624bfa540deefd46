"""GMACsBudgetHook: by hand, in runs, and resumed."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_dynopool.budget import GMACsBudgetHook
from support.runs import SIZE, Watch, segmentor, train

WIDE = (256, 384)  # sizes whose rounding allows a fine cost


class Loop:
    """What a hook asks of a runner before its first step."""

    iter, hooks = 0, ()

    def __init__(self, model):
        self.model = model


def started(target, shape=WIDE, **options):
    model = MODELS.build(segmentor(gmacs_weight=None, gmacs_budget=dict(target=target),
                                   gmacs_shape=shape, **options))
    hook = GMACsBudgetHook()
    hook.before_train(Loop(model))
    return model, hook


def test_out_of_reach_is_refused_at_the_start():
    with pytest.raises(ValueError, match='out of reach: the bounds of the scales allow'):
        started(0.01)
    with pytest.raises(ValueError, match='the model has no budget'):
        GMACsBudgetHook().before_train(Loop(MODELS.build(segmentor())))


def test_a_frozen_alpha_is_left_alone():
    model, hook = started(0.98)
    frozen = model.backbone.dynopools['stream2'].requires_grad_(False)
    start = model.count_gmacs()
    free = [p.alpha for p in model.pools().values() if p.alpha.requires_grad]
    optimizer = torch.optim.SGD(free, lr=0.05)
    hook.step(model, optimizer, 50, 100)
    assert model.cost_weight == hook.controller.multiplier != 0
    hook.step(model, optimizer, 90, 100)
    assert model.cost_weight == 0.0
    assert frozen.alpha.tolist() == [2.0, 2.0] and free[0].tolist() != [2.0, 2.0]
    assert model.count_gmacs() / start == pytest.approx(0.98, rel=0.005)


@pytest.mark.parametrize('pooling, kind, target', [
    ('DynOPool', 'SGD', 0.97), ('DynOPool', 'SGD', 1.3), ('DynOPool', 'AdamW', 0.97),
    ('DynOPool', 'AdamW', 1.3), ('ShapeAdaptor', 'SGD', 0.97), ('ShapeAdaptor', 'SGD', 1.3)])
def test_the_counted_cost_meets_the_budget(pooling, kind, target):
    """The real loop of a step, on noise, with the runner's part done by hand."""
    model, hook = started(target, backbone=dict(dynopool=dict(type=pooling)))
    start = model.count_gmacs()
    pools = model.pools()
    lr = 0.05 if pooling == 'DynOPool' else 0.3  # alpha falls by a ninth per unit of the logit
    options = dict(lr=lr, momentum=0.9) if kind == 'SGD' else dict(lr=0.02, weight_decay=0.)
    optimizer = getattr(torch.optim, kind)([p.parameter for p in pools.values()], **options)
    for i in range(200):
        gmacs = model.cost.gmacs({n: p.bounded_alpha() for n, p in pools.items()})
        task = sum((p.bounded_alpha() * 0.002 * torch.randn(2)).sum() for p in pools.values())
        optimizer.zero_grad()
        (model.cost_weight * gmacs + task).backward()
        optimizer.step()
        for p in pools.values():
            p.project_()
        hook.step(model, optimizer, i + 1, 200)
        if i == 160:
            gmacs = model.cost.gmacs({n: p.bounded_alpha() for n, p in pools.items()})
            assert gmacs.item() / start == pytest.approx(target, rel=0.06)
    assert model.count_gmacs() / start == pytest.approx(target, rel=0.02)


@pytest.mark.parametrize('every, length, steps', [
    (1, 3, [(1, 3), (2, 3), (3, 3)]), (4, 8, [(1, 2), (2, 2)]),
    (4, 10, [(1, 3), (2, 3), (3, 3)])])  # the last step accumulates two iterations
def test_time_counts_in_steps_of_the_optimizer(every, length, steps):
    runner = Loop(torch.nn.Linear(1, 1))
    runner.max_iters = length
    runner.optim_wrapper = OptimWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.1),
                                        accumulative_counts=every)
    runner.optim_wrapper.initialize_count_status(runner.model, 0, length)
    hook, seen = GMACsBudgetHook(), []
    hook.step = lambda model, optimizer, done, iterations: seen.append((done, iterations))
    for runner.iter in range(length):
        runner.optim_wrapper.update_params(runner.model(torch.ones(1, 1)).sum())
        hook.after_train_iter(runner, runner.iter)
    assert seen == steps


def budgeted(target, **options):
    return segmentor(gmacs_weight=None, gmacs_budget=dict(target=target, **options),
                     gmacs_shape=WIDE)


def start_gmacs():
    return MODELS.build(segmentor(gmacs_shape=WIDE)).count_gmacs()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run of 20 iterations, its checkpoints at 10 and 20, and its alphas."""
    folder, watch = tmp_path_factory.mktemp('whole'), Watch()
    runner = train(folder, budgeted(1.2), 20, [watch], save_every=10)
    return folder, runner, watch


def test_its_state_is_in_the_checkpoint_not_in_the_model(whole):
    folder, runner, watch = whole
    assert not [key for key in runner.model.state_dict() if 'budget' in key]
    half, end = (torch.load(folder / f'iter_{i}.pth', weights_only=False) for i in (10, 20))
    assert half['gmacs_budget']['settled'] is None and half['gmacs_budget']['multiplier'] != 0
    assert end['gmacs_budget']['multiplier'] == 0
    assert end['gmacs_budget']['settled'].tolist() == watch.alphas[-1].flatten().tolist()
    assert [torch.equal(watch.alphas[i], watch.alphas[i - 1]) for i in (15, 16, 17, 18, 19)] == [
        False, False, True, True, True]  # settled after 17 of 20, at 0.85
    assert runner.model.count_gmacs() / start_gmacs() == pytest.approx(1.2, rel=0.02)


def to_version_0_1(checkpoint):
    """The layout of 0.1: the controller's state in buffers of the model."""
    old = dict(checkpoint)
    state = old.pop('gmacs_budget')
    settled = state.pop('settled')
    buffers = {key: torch.tensor(value, dtype=torch.float64) for key, value in state.items()}
    buffers['settled'] = torch.tensor(settled is not None)
    buffers['settled_alphas'] = torch.zeros(3, 2) if settled is None else settled.view(3, 2)
    old['state_dict'] = {**old['state_dict'],
                         **{f'gmacs_budget.{key}': value for key, value in buffers.items()}}
    return old


@pytest.mark.parametrize('version', ['0.1', 'now'])
def test_a_resumed_run_ends_as_the_whole_one(whole, tmp_path, version):
    folder, runner, _ = whole
    checkpoint = torch.load(folder / 'iter_10.pth', weights_only=False)
    if version == '0.1':
        checkpoint = to_version_0_1(checkpoint)
    torch.save(checkpoint, tmp_path / 'iter_10.pth')
    resumed = train(tmp_path, budgeted(1.2), 20, resume=tmp_path / 'iter_10.pth')
    state = resumed.model.state_dict()
    assert state.keys() == runner.model.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in runner.model.state_dict().items())


def test_resumed_with_another_length_the_phases_are_shares_of_the_new_one(whole, tmp_path):
    folder, _, _ = whole
    watch = Watch()
    longer = train(tmp_path / 'longer', budgeted(1.2), 40, [watch], resume=folder / 'iter_10.pth')
    moves = [not torch.equal(a, b) for a, b in zip(watch.alphas, watch.alphas[1:])]
    assert moves == 23 * [True] + 6 * [False]  # settles at 34 of 40
    assert longer.model.count_gmacs() / start_gmacs() == pytest.approx(1.2, rel=0.02)
    # One that has settled already stays where it is.
    watch = Watch()
    train(tmp_path / 'settled', budgeted(1.2), 24, [watch], resume=folder / 'iter_20.pth')
    end = torch.load(folder / 'iter_20.pth', weights_only=False)['gmacs_budget']['settled']
    assert all(torch.equal(alphas.flatten(), end) for alphas in watch.alphas)


def test_a_run_that_starts_from_a_settled_one_controls_anew(whole, tmp_path):
    """load_from brings the old controller's state along; a new run is not at its end."""
    folder, _, _ = whole
    watch = Watch()
    second = train(tmp_path, budgeted(0.98), 20, [watch], load_from=folder / 'iter_20.pth')
    assert not torch.equal(watch.alphas[5], watch.alphas[0])
    assert second.model.count_gmacs() / start_gmacs() == pytest.approx(0.98, rel=0.02)


def test_settled_once_for_two_networks_of_one_budget():
    """The hook keeps its state, not the model: a copy of the model is a plain network."""
    model, hook = started(1.1)
    copied = copy.deepcopy(model)
    optimizer = torch.optim.SGD([p.alpha for p in model.pools().values()], lr=0.05)
    hook.step(model, optimizer, 190, 200)
    assert [p.alpha.tolist() for p in copied.pools().values()] == [[2.0, 2.0]] * 3
    assert hook.settled.tolist() == torch.cat([p.alpha for p in model.pools().values()]).tolist()
    assert copied.counted_shape == WIDE != SIZE
