"""Budgets of multiply-adds in trainings by mmengine's Runner, whatever moves the scales."""

import math

import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.registry import MODELS

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.layers import learned_pools
from support.runs import Watch, alphas_of, small_segmentor, train

WIDE = (256, 384)  # sizes whose rounding allows a fine cost


class Settled(Watch):
    """Notes whether the scales have settled."""

    def after_train_iter(self, runner, *args, **kwargs):
        self.alphas.append(hook_of(runner).keeper.settled is not None)


def options(target, **more):
    return dict(gmacs_budget=dict(target=target), gmacs_shape=WIDE) | more


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, DynOPoolHook))


def counted_ratio(runner):
    """Of the network as it is, to the stock network's sizes."""
    stock = MODELS.build(small_segmentor())
    return runner.model.count_gmacs(WIDE) / stock.count_gmacs(WIDE)


class Costs(Watch):
    """Notes the smooth cost relative to the initial scales, behind all other hooks."""

    def after_train_iter(self, runner, *args, **kwargs):
        cost = hook_of(runner).cost
        alphas = {name: pool.alpha.detach().double() for name, pool in
                  learned_pools(runner.model).items()}
        self.alphas.append(cost(alphas).item() / cost.initial)


@pytest.mark.parametrize('gradient, target, wrapper', [
    ('learner', 0.97, dict(clip_grad=dict(max_norm=0.1))),
    ('learner', 1.3, dict(optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1))),
    ('straight_through', 0.97, dict()),
    ('straight_through', 1.3, dict(optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.)))])
def test_the_cost_follows_the_plan_and_the_counted_one_ends_at_the_budget(
        tmp_path, gradient, target, wrapper):
    watch = Costs()
    runner = train(tmp_path, hook=options(target, gradient=gradient), iterations=20, hooks=[watch],
                   alpha_lr=None if gradient == 'learner' else 1.0, **wrapper)
    wanted = [math.exp(math.log(target) * min(1, max(0, (t / 20 - 0.1) / 0.4)))
              for t in range(1, 17)]
    assert watch.alphas[:16] == pytest.approx(wanted, rel=1e-4)
    assert counted_ratio(runner) == pytest.approx(target, rel=0.01)
    assert watch.alphas[16:] == [watch.alphas[16]] * 4
    hub = runner.message_hub
    assert hub.get_scalar('train/gmacs_plan').current() == pytest.approx(target)


@pytest.mark.parametrize('target', [0.97, 1.3])
def test_a_shape_adaptor_meets_it_too(tmp_path, target):
    runner = train(tmp_path, small_segmentor(backbone=dict(dynopool=dict(type='ShapeAdaptor'))),
                   hook=options(target), iterations=10, alpha_lr=0.3)
    hook = hook_of(runner)
    assert hook.learner is None and hook.keeper.settled is not None
    assert counted_ratio(runner) == pytest.approx(target, rel=0.02)


def test_out_of_reach_is_refused_at_the_start(tmp_path):
    with pytest.raises(ValueError, match='out of reach: the bounds of the scales allow'):
        train(tmp_path, hook=options(0.01))


@pytest.fixture(scope='module', params=['learner', 'straight_through'])
def whole(request, tmp_path_factory):
    """A run of 20 iterations, its checkpoints at 10 and 20, and its alphas."""
    folder, watch = tmp_path_factory.mktemp('whole'), Watch()
    runner = train(folder, hook=options(1.15, gradient=request.param), iterations=20,
                   hooks=[watch], save_every=10)
    return folder, runner, watch, request.param


@pytest.mark.parametrize('whole', ['learner'], indirect=True)
def test_what_is_logged(whole):
    runner = whole[1]
    logged = {key.removeprefix('train/'): history.data[0] for key, history in
              runner.message_hub.log_scalars.items()}
    hook = hook_of(runner)
    for key in ('gmacs_lambda', 'loss_gmacs', 'dynopool/lr'):
        assert key not in logged
    start = hook.cost.initial
    assert logged['gmacs_ratio'][:2].tolist() == pytest.approx([1, 1])
    assert logged['gmacs'].tolist() == pytest.approx((start * logged['gmacs_ratio']).tolist())
    # Of the scales with which the iteration began.
    assert logged['gmacs_ratio'][:17].tolist() == pytest.approx(
        logged['gmacs_plan'][:17].tolist(), rel=1e-4)
    assert logged['gmacs_plan'].tolist() == pytest.approx(
        [math.exp(math.log(1.15) * min(1, max(0, (t / 20 - 0.1) / 0.4))) for t in range(20)])
    assert 'gmacs_slope' not in logged  # once they have settled
    # Without the task's losses nothing is in the loss.
    assert logged['loss'].tolist() == pytest.approx(logged['decode.loss_ce'].tolist())


def test_its_state_is_in_the_checkpoint_not_in_the_model(whole):
    folder, runner, watch, gradient = whole
    assert not [key for key in runner.model.state_dict() if 'budget' in key]
    half, end = (torch.load(folder / f'iter_{i}.pth', weights_only=False)['dynopool']
                 for i in (10, 20))
    keepers = [s['learner']['keeper'] if gradient == 'learner' else s['keeper']
               for s in (half, end)]
    assert keepers[0]['settled'] is None and keepers[1]['settled'] is not None
    assert torch.tensor(keepers[1]['settled']).exp().tolist() == pytest.approx(
        watch.alphas[-1].flatten().tolist(), rel=1e-6)
    assert [torch.equal(watch.alphas[i], watch.alphas[i - 1]) for i in (16, 17, 18, 19)] == [
        False, True, True, True]  # settled after 17 of 20, at 0.85


def test_a_resumed_run_ends_as_the_whole_one(whole, tmp_path):
    folder, runner, _, gradient = whole
    resumed = train(tmp_path, hook=options(1.15, gradient=gradient), iterations=20,
                    resume=folder / 'iter_10.pth')
    state = resumed.model.state_dict()
    assert state.keys() == runner.model.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in runner.model.state_dict().items())


def test_resumed_with_another_length_the_phases_are_shares_of_the_new_one(whole, tmp_path):
    folder, _, _, gradient = whole
    watch, costs = Settled(), Costs()
    longer = train(tmp_path / 'longer', hook=options(1.15, gradient=gradient), iterations=40,
                   hooks=[watch, costs], resume=folder / 'iter_10.pth')
    assert watch.alphas == 23 * [False] + 7 * [True]  # settles at 34 of 40
    wanted = [math.exp(math.log(1.15) * min(1, max(0, (t / 40 - 0.1) / 0.4)))
              for t in range(11, 34)]
    assert costs.alphas[:23] == pytest.approx(wanted, rel=1e-4)
    assert counted_ratio(longer) == pytest.approx(1.15, rel=0.02)
    # One that has settled already stays where it is.
    watch = Watch()
    train(tmp_path / 'settled', hook=options(1.15, gradient=gradient), iterations=24,
          hooks=[watch], resume=folder / 'iter_20.pth')
    assert all(torch.equal(alphas, whole[2].alphas[-1]) for alphas in watch.alphas)


def test_a_run_that_starts_from_a_settled_one_begins_at_its_cost(whole, tmp_path):
    """load_from brings the old state along; a new run is not at its end."""
    folder, runner, _, gradient = whole
    watch = Costs()
    second = train(tmp_path, hook=options(0.98, gradient=gradient), iterations=20, hooks=[watch],
                   load_from=folder / 'iter_20.pth')
    hook = hook_of(runner)
    alphas = {name: pool.alpha.detach().double() for name, pool in
              learned_pools(runner.model).items()}
    start = hook.cost(alphas).item() / hook.cost.initial
    assert watch.alphas[:2] == pytest.approx([start, start], rel=1e-4)
    assert counted_ratio(second) == pytest.approx(0.98, rel=0.02)


def test_a_frozen_alpha_is_left_alone(tmp_path):
    runner = train(tmp_path, small_segmentor(backbone=dict(frozen_stages=0)),
                   hook=options(1.05), iterations=10)
    stem1, stem2, stream1 = alphas_of(runner.model)
    assert stem1.tolist() == stem2.tolist() == [2.0, 2.0] and (stream1 != 2).all()
    assert counted_ratio(runner) == pytest.approx(1.05, rel=0.01)


def test_the_crop_of_the_first_batch_counts_where_no_size_is_known(tmp_path):
    cfg = small_segmentor()
    del cfg.data_preprocessor['size']
    cfg.data_preprocessor.size_divisor = 32
    runner = train(tmp_path / 'a', cfg, hook=dict(gmacs_budget=dict(target=1.1)), iterations=10,
                   save_every=5)
    assert hook_of(runner).shape == (64, 96) == tuple(hook_of(runner).cost.shape)
    resumed = train(tmp_path / 'b', cfg, hook=dict(gmacs_budget=dict(target=1.1)), iterations=10,
                    resume=tmp_path / 'a' / 'iter_5.pth')
    assert torch.equal(alphas_of(resumed.model), alphas_of(runner.model))


@pytest.mark.parametrize('smallest, rows', [(2, 2), (1, 1)])
def test_no_map_has_a_single_row_at_the_crop_nor_at_other_sizes(tmp_path, smallest, rows):
    """At a crop whose last stream has two rows; where it falls to one, other images have two."""
    model = small_segmentor(backbone=dict(dynopool=dict(scale=dict(stem1=0.25, stream1=0.25))))
    runner = train(tmp_path, model, iterations=10,
                   hook=dict(gmacs_budget=dict(target=0.4), smallest=smallest))
    backbone = runner.model.backbone
    heights = {height: min(size[0] for size in backbone.feature_sizes((height, 96)).values())
               for height in (64, 72, 80, 96, 128)}
    assert heights[64] == rows
    assert (min(heights.values()) >= 2) == (smallest == 2)
    with torch.no_grad():
        runner.model.eval()
        for height in heights:  # and the network runs at each
            assert runner.model(torch.zeros(1, 3, height, 96)).shape[-2:] == (
                backbone.feature_sizes((height, 96))['stream0'])


@pytest.mark.parametrize('gradient', [None, 'straight_through'])
def test_maps_that_begin_with_a_single_row_are_named(tmp_path, monkeypatch, gradient):
    said = []
    monkeypatch.setattr(MMLogger, 'info', lambda logger, text, *_: said.append(text))
    train(tmp_path, small_segmentor(backbone=dict(dynopool=dict(scale=0.25))), iterations=2,
          hook=dict(gmacs_budget=dict(target=1.), gradient=gradient))
    named, = (text for text in said if 'these maps have fewer than smallest=2 rows' in text)
    assert 'stream' in named
