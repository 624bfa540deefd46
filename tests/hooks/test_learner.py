"""The learner in trainings by mmengine's Runner."""

import logging
import math

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import TASK_UTILS
from torch import nn

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.hooks import MeasuredGradientHook
from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.learning.learner import step_weights
from support.runs import Watch, alphas_of, small_segmentor, train
from support.toy_runs import run, scalars

SLOPES = torch.tensor([0.02, -0.03])  # by the logarithm of alpha


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, DynOPoolHook))


class Known(BaseModel):
    """The task's loss is linear in the logarithm of alpha; no position takes part."""

    def __init__(self):
        super().__init__()
        self.dynopools = nn.ModuleDict(dict(stream1=DynOPool(0.5, bounds=(0.01, 1.0))))
        self.weight = nn.Parameter(torch.ones(1))
        self.evaluated = 0

    def forward(self, inputs, mode='tensor'):
        self.evaluated += 1
        alpha = self.dynopools['stream1'].bounded_alpha()
        return dict(loss=(SLOPES * alpha.log()).sum() + 0 * self.weight.sum())


def trained(tmp_path, iterations=40, model=None, hooks=(), **options):
    wrapper = options.pop('wrapper', {})
    hook = DynOPoolHook(**dict(gradient='learner', travel=0.2, jitter=0.0) | options)
    return run(tmp_path, model or Known(), iterations, [hook, *hooks], **wrapper)


def expected(steps, every, travel, slopes):
    """Where a loss without noise leads: from the fourth estimate on by the slopes' shares."""
    halves = np.array([(slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2])
    usual = math.sqrt((halves**2).mean())  # of two rounds; nearly so where one is ahead
    moved = sum(w for step, w in step_weights(steps, every, 0.85).items() if step >= 4 * every)
    return 2.0 * np.exp(-travel * moved * np.array(slopes) / usual)


@pytest.mark.parametrize('every, wrapper', [
    (1, {}), (4, {}), (2, dict(optimizer=dict(type='Adam', lr=1.0, weight_decay=0.1))),
    (2, dict(clip_grad=dict(max_norm=1e-6))), (2, dict(accumulative_counts=2))])
def test_the_scales_go_as_far_as_travel_says_whatever_the_optimizer(tmp_path, every, wrapper):
    steps = 40 // wrapper.get('accumulative_counts', 1)
    runner = trained(tmp_path, every=every, wrapper=wrapper)
    alphas = runner.model.dynopools['stream1'].alpha.tolist()
    assert alphas == pytest.approx(expected(steps, every, 0.2, SLOPES.tolist()), rel=0.01)
    measured = len([s for s in range(every, steps, every) if s < 0.85 * steps])
    assert runner.model.evaluated == 40 + 2 * measured


class Two(Known):
    """Two optimizers that the model steps by itself, as in mmengine's GANs."""

    def train_step(self, data, optim_wrapper):
        parsed = {}
        for wrapper in optim_wrapper.values():
            with wrapper.optim_context(self):
                loss, parsed = self.parse_losses(self._run_forward(
                    self.data_preprocessor(data, True), mode='loss'))
            wrapper.update_params(loss)
        return parsed


def test_several_optimizers(tmp_path):
    model = Two()
    wrapper = OptimWrapperDict(
        scales=OptimWrapper(torch.optim.SGD(model.dynopools.parameters(), lr=1.0)),
        weights=OptimWrapper(torch.optim.Adam([model.weight], lr=1.0)))
    from mmengine.runner import Runner
    from torch.utils.data import DataLoader

    from support.toy_runs import Images
    runner = Runner(
        model=model, work_dir=str(tmp_path), train_dataloader=DataLoader(Images(), batch_size=2),
        optim_wrapper=wrapper, train_cfg=dict(by_epoch=False, max_iters=40),
        custom_hooks=[DynOPoolHook(gradient='learner', travel=0.2, jitter=0.0)],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=10)), default_scope='mmseg',
        experiment_name=f'two-{tmp_path.name}')
    runner.train()
    assert model.dynopools['stream1'].alpha.tolist() == pytest.approx(
        expected(40, 2, 0.2, SLOPES.tolist()), rel=0.01)


class Looks(Hook):
    """Another hook, of the highest priority and registered before ours."""

    priority = 'HIGHEST'

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, *args, **kwargs):
        self.seen.append([pool.alpha.tolist() for pool in
                          runner.model.backbone.dynopools.values()])


def test_jitter_is_gone_before_another_hook_looks_and_is_the_same_for_a_seed(tmp_path):
    sizes, looks = [], Looks()

    def note(module, args):
        sizes.append(1)

    def run_once(folder, seed):
        drawn = []
        cfg = small_segmentor()

        class Draws(Hook):
            priority = 'LOWEST'

            def before_train_iter(self, runner, *args, **kwargs):
                drawn.append([pool.scale.tolist() for pool in
                              runner.model.backbone.dynopools.values()])

        train(tmp_path / folder, cfg, hook=dict(gmacs_weight=0., gradient='learner', travel=0.),
              iterations=8, hooks=[looks, Draws()], seed=seed)
        return drawn

    first, again, other = (run_once(*args) for args in (('a', 0), ('b', 0), ('c', 1)))
    assert first == again and first[0] != other[0]
    assert first[0] != [[0.5, 0.5]] * 3 and first[-1] == [[0.5, 0.5]] * 3  # settled at 0.85
    assert looks.seen == [[[2.0, 2.0]] * 3] * 24


def test_an_error_in_a_training_leaves_the_scales_as_they_were(tmp_path):

    class Fails(Hook):

        def before_train_iter(self, runner, *args, **kwargs):
            self.runner = runner
            if runner.iter == 2:
                raise RuntimeError('of another hook')

    fails = Fails()
    with pytest.raises(RuntimeError, match='of another hook'):
        train(tmp_path, hook=dict(gmacs_weight=0., gradient='learner', travel=0.), iterations=20,
              hooks=[fails])
    network = fails.runner.model
    assert alphas_of(network).tolist() == [[2.0, 2.0]] * 3
    network.eval()
    assert [p.scale.tolist() for p in network.backbone.dynopools.values()] == [[0.5, 0.5]] * 3


def test_the_network_learns_its_shape_and_meets_its_budget(tmp_path):
    watch = Watch()
    runner = train(tmp_path, iterations=40, alpha_lr=None,
                   hook=dict(gmacs_budget=dict(target=0.8)), hooks=[watch])
    alphas = torch.stack(watch.alphas)
    # Not only along the cost's gradient: heights and widths have gone different ways.
    ratio = (alphas[-1, :, 0] / alphas[-1, :, 1]).log().abs()
    assert ratio.max() > 0.05
    assert torch.equal(alphas[-1], alphas[-6])  # settled
    cost = hook_of(runner).cost
    assert runner.model.count_gmacs((64, 96)) / cost.initial == pytest.approx(0.8, abs=0.01)
    assert {pool.anchor for pool in runner.model.backbone.dynopools.values()} == {'local'}
    assert {pool.trial_alpha for pool in runner.model.backbone.dynopools.values()} == {None}


def test_measuring_changes_nothing_else(tmp_path):
    """Weights and running statistics are those of a training without."""
    options = dict(gmacs_weight=0., travel=0., jitter=0.)
    plain = train(tmp_path / 'plain', iterations=6, alpha_lr=0.0,
                  hook=dict(gmacs_weight=0., gradient='straight_through'))
    measured = train(tmp_path / 'measured', iterations=6, alpha_lr=0.0,
                     hook=dict(options, gradient='learner', every=1))
    assert hook_of(measured).learner.slopes.turn == 5
    for (key, value), other in zip(plain.model.state_dict().items(),
                                   measured.model.state_dict().values(), strict=True):
        assert torch.equal(value, other), key


def test_clipping_sees_the_task_s_gradients_alone(tmp_path):
    """As of a network whose scales are constants."""
    norms = []
    for learn in (True, False):
        model = small_segmentor(backbone=dict(dynopool=dict(learn=learn)))
        hook: dict | bool = dict(gmacs_budget=dict(target=1.1), jitter=0.)
        if not learn:
            model.type, hook = 'EncoderDecoder', False
            model.pop('gmacs_weight', None)
        runner = train(tmp_path / str(learn), model, 1, hook=hook, alpha_lr=None,
                       clip_grad=dict(max_norm=0.05))
        norms.append(runner.message_hub.get_scalar('train/grad_norm').current())
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_slopes_and_their_noise_are_logged(tmp_path):
    trained(tmp_path, every=1)
    lines = scalars(tmp_path)
    assert 'dynopool/stream1/slope_h' not in lines[1] and 'dynopool/lr' not in lines[-1]
    line = lines[30]  # of a loss without noise; by log(scale), which is -log(alpha)
    for axis, slope in zip('hw', SLOPES.tolist()):
        assert line[f'dynopool/stream1/slope_{axis}'] == pytest.approx(-slope, rel=1e-3)
        assert line[f'dynopool/stream1/slope_noise_{axis}'] == pytest.approx(0, abs=1e-6)
    assert 'dynopool/stream1/slope_h' not in lines[-1]  # settled
    assert not [key for key in lines[-1] if 'grad_' in key]


def test_what_is_not_finite_is_counted_in_the_log(tmp_path, caplog):

    class Now(Known):

        def forward(self, inputs, mode='tensor'):
            losses = super().forward(inputs, mode)
            # Of the pairs before the second step and before the fourth.
            if self.evaluated in (2, 6):
                losses['loss'] = losses['loss'] * math.nan
            return losses

    with caplog.at_level(logging.WARNING):
        trained(tmp_path, model=Now())
    assert scalars(tmp_path)[-1]['slopes_skipped'] == 2


EACH_STEP = dict(hook=dict(gmacs_budget=dict(target=1.1), every=1), alpha_lr=None)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run of 8 iterations that measures in each, with a checkpoint at 5."""
    folder = tmp_path_factory.mktemp('whole')
    return folder, train(folder, iterations=8, save_every=5, **EACH_STEP)


@pytest.mark.parametrize('length', [8, 12])
def test_a_resumed_run_goes_on_with_the_turns_and_draws(whole, tmp_path, length):
    folder, runner = whole
    resumed = train(tmp_path, iterations=length, resume=folder / 'iter_5.pth', **EACH_STEP)
    learner = hook_of(resumed).learner
    assert learner.done == length and learner.slopes.turn == (6 if length == 8 else 10)
    if length == 8:
        for (key, value), other in zip(runner.model.state_dict().items(),
                                       resumed.model.state_dict().values(), strict=True):
            assert torch.equal(value, other), key


def test_a_name_of_0_3_means_the_same(tmp_path):
    """The hook's options from the hook of the measured gradient, cost and shape from the model."""
    model = small_segmentor(gmacs_budget=dict(target=1.1))
    runner = train(tmp_path, model, iterations=8,
                   hooks=[dict(type='MeasuredGradientHook', every=3, step=0.2)])
    learner = hook_of(runner).learner
    assert learner.every == 3 and learner.estimator.step == 0.2
    assert learner.keeper.plan.target == pytest.approx(1.1 * learner.cost.initial)


class Constant:
    """An estimator from outside of the package: the same slope always."""

    def __init__(self, slope):
        self.slope = slope

    def __call__(self, model, loss, scales, values, direction, limits, turn):
        return self.slope * direction.sum()


def test_another_estimator_is_one_class(tmp_path):
    TASK_UTILS.register_module(module=Constant)
    try:
        runner = train(tmp_path, iterations=20, alpha_lr=None, hook=dict(
            gmacs_weight=0., gradient=dict(type='Constant', slope=-1.0), every=1, jitter=0.,
            travel=0.1, smallest=1))
    finally:
        TASK_UTILS.module_dict.pop('Constant')
    # The loss falls with log(alpha): all scales go down, alike. Along one direction only.
    alphas = alphas_of(runner.model)
    assert (alphas > 2.02).all() and (alphas[:, 0] == alphas[:, 1]).all()


@pytest.mark.parametrize('options, message', [
    (dict(every=0), 'every must be'), (dict(every=1.5), 'every must be'),
    (dict(step=0), 'step must be'), (dict(step=1.0), 'step must be'),
    (dict(travel=-1), 'travel must be'), (dict(jitter=1.), 'jitter must be'),
    (dict(smallest=0), 'smallest must be'), (dict(gradient='other'), 'gradient must be'),
    (dict(budget=3), 'budget must be a Budget'),
    (dict(gmacs_budget=dict(target=0.5), gmacs_weight=1.), 'give either gmacs_weight')])
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DynOPoolHook(**options)
    if set(options) <= {'every', 'step'}:
        with pytest.raises(ValueError, match=message):
            MeasuredGradientHook(**options)


def test_a_shape_adaptor_needs_no_measuring(tmp_path):
    with pytest.raises(ValueError, match='a ShapeAdaptor has a gradient of its own'):
        train(tmp_path, small_segmentor(backbone=dict(dynopool=dict(type='ShapeAdaptor'))),
              hook=dict(gradient='learner'))


def test_a_pixels_budget_from_outside_of_the_package(tmp_path):
    import support.pixels_cost  # noqa: F401  registers
    runner = train(tmp_path, iterations=10, alpha_lr=None,
                   hook=dict(budget=dict(type='PixelsBudget', target=0.7),
                             gmacs_shape=(256, 384)))
    hub = runner.message_hub
    assert hub.get_scalar('train/pixels_ratio').current() == pytest.approx(0.7, rel=0.05)
    assert hub.get_scalar('train/pixels_plan').current() == pytest.approx(0.7)
    hook = hook_of(runner)
    counted = hook.cost.counted(runner.model)(
        {f'backbone.dynopools.{n}': p.alpha.tolist() for n, p in
         runner.model.backbone.dynopools.items()})
    assert counted / hook.cost.initial == pytest.approx(0.7, rel=0.02)
    assert 'gmacs_ratio' in {key.removeprefix('train/') for key in hub.log_scalars}


def test_two_hooks_are_an_error(tmp_path):
    with pytest.raises(ValueError, match='there are several DynOPoolHooks'):
        train(tmp_path, hooks=[dict(type='DynOPoolHook')])


def test_a_training_after_one_that_was_interrupted(tmp_path):
    """In one process, of one model: nothing of the first one's passes is left."""

    class Interrupts(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 3:
                raise KeyboardInterrupt

    from mmseg.registry import MODELS
    model = MODELS.build(small_segmentor())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'a', model, 20, [Interrupts()], hook=dict(gmacs_budget=dict(target=1.05)))
    pool = model.backbone.dynopools['stream1']
    assert pool.scale.tolist() != (1 / pool.alpha).tolist()  # in training mode, still the pass's
    before = pool.alpha.detach().clone()
    train(tmp_path / 'b', model, 3, hook=dict(gmacs_weight=30.))
    assert pool.trial_alpha is None and (pool.alpha != before).all()
    assert pool.scale.tolist() == (1 / pool.alpha).tolist()


def test_resumed_with_more_accumulation(tmp_path):
    hook = dict(gmacs_budget=dict(target=1.05))
    train(tmp_path / 'whole', iterations=12, hook=hook, alpha_lr=None, save_every=6)
    runner = train(tmp_path / 'resumed', iterations=12, hook=hook, alpha_lr=None,
                   accumulative_counts=2, resume=tmp_path / 'whole' / 'iter_6.pth')
    learner = hook_of(runner).learner
    assert learner.done == 6 == learner.steps and learner.settled


def test_a_budget_of_time_after_one_of_multiply_adds(tmp_path, monkeypatch):
    """The plan of the run that is resumed begins at the same scales, in the other unit."""
    from support.clock import Clock
    Clock(monkeypatch, per_value=1e-6)
    train(tmp_path / 'a', iterations=10, hook=dict(gmacs_budget=dict(target=1.05)), save_every=5)
    runner = train(tmp_path / 'b', iterations=10, hook=dict(latency_budget=dict(target=1.05)),
                   resume=tmp_path / 'a' / 'iter_5.pth')
    hook = hook_of(runner)
    assert hook.keeper.plan.start == pytest.approx(hook.cost.found.milliseconds(
        {name: torch.tensor([2.0, 2.0]) for name in hook.keeper.scales.parts}).item())


class TwoPools(BaseModel):

    def __init__(self):
        super().__init__()
        self.dynopools = nn.ModuleDict(dict(a=DynOPool(0.5), b=DynOPool(0.5)))
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, inputs, mode='tensor'):
        features = self.conv(self.dynopools['b'](self.dynopools['a'](inputs)))
        return features if mode == 'tensor' else dict(loss=0 * features.mean())

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        loss, parsed = self.parse_losses(self._run_forward(data, mode='loss'))
        loss.backward()
        for wrapper in optim_wrapper.values():
            wrapper.step()
            wrapper.zero_grad()
        return parsed


def test_lambda_acts_once_in_each_of_several_optimizers(tmp_path):
    from mmengine.runner import Runner
    from torch.utils.data import DataLoader

    from support.toy_runs import Images
    ends = []
    for split in (True, False):
        model = TwoPools()
        a, b = (list(model.dynopools[name].parameters()) for name in 'ab')
        groups = dict(a=a, b=b) if split else dict(a=a + b)
        wrapper = OptimWrapperDict(**{name: OptimWrapper(torch.optim.SGD(group, lr=0.1))
                                      for name, group in groups.items()})
        Runner(model=model, work_dir=str(tmp_path), train_dataloader=DataLoader(Images(), 2),
               optim_wrapper=wrapper, train_cfg=dict(by_epoch=False, max_iters=2),
               custom_hooks=[DynOPoolHook(gmacs_weight=1e5, gmacs_shape=(12, 12),
                                          gradient='straight_through')],
               default_scope='mmseg', experiment_name=f'split-{split}-{tmp_path.name}').train()
        ends.append([pool.alpha.tolist() for pool in model.dynopools.values()])
    moved = [[a - 2 for pair in end for a in pair] for end in ends]
    assert moved[0] == pytest.approx(moved[1], rel=0.01) and min(moved[0]) > 1e-3
