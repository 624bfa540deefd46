"""DynOPoolHook with mmengine's own Runner."""



import pytest
import torch
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.hooks import ShapeLogHook
from mmseg_dynopool.hooks.shape_log_hook import _size_scalars
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.layers.find import by_short_name
from support.runs import segmentor
from support.toy_runs import Toy, run, scalars
from support.toys import converted_config


def test_alpha_stays_in_its_bounds_and_is_logged(tmp_path):
    model = Toy(pull=3.0)
    run(tmp_path, model)
    assert model.dynopools['stream1'].alpha.tolist() == [4.0, 4.0]
    logged = scalars(tmp_path)
    assert [line['dynopool/stream1/alpha_h'] for line in logged][-1] == 4.0
    for line in logged:
        for axis in 'hw':
            alpha = line[f'dynopool/stream1/alpha_{axis}']
            assert 1.0 <= alpha <= 4.0
            assert line[f'dynopool/stream1/scale_{axis}'] == pytest.approx(1 / alpha)
    rates = [line['dynopool/lr'] for line in logged]
    assert rates == sorted(rates, reverse=True) and rates[0] <= 0.8 and rates[-1] == 0.0
    text = next(tmp_path.glob('*/*.log')).read_text()
    assert 'dynopool/stream1/scale_w: 0.2500' in text
    assert 'dynopool/lr: ' in text


def test_tensorboard_shows_the_scales(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    run(tmp_path, Toy())
    path, = tmp_path.glob('*/vis_data/events*')
    events = EventAccumulator(str(path.parent))
    events.Reload()
    assert 'dynopool/stream1/alpha_h' in events.Tags()['scalars']
    assert len(events.Scalars('dynopool/stream1/scale_h')) == 4


def test_projection_comes_before_moving_average_and_checkpoint(tmp_path):
    run(tmp_path, Toy(pull=3.0), hooks=[DynOPoolHook(), dict(type='EMAHook', momentum=0.5)])
    saved = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    for state in (saved['state_dict'], saved['ema_state_dict']):
        alpha = next(v for k, v in state.items() if k.endswith('stream1.alpha'))
        assert alpha.max() <= 4.0


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_diverged_alpha_stops_training_and_keeps_the_last_checkpoint(tmp_path, value):

    class Diverging(Toy):
        steps = 0

        def forward(self, inputs, mode='tensor'):
            self.steps += 1
            losses = super().forward(inputs, mode)
            if self.steps == 3:
                losses['loss'] = losses['loss'] - value * self.dynopools['stream1'].alpha[0]
            return losses

    with pytest.raises(ValueError, match=r"iteration 3: alpha of DynOPool 'stream1' is not finite"):
        run(tmp_path, Diverging(pull=0.01))
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['iter_1.pth', 'iter_2.pth']
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    assert all(v.isfinite().all() for v in saved.values())


def test_weight_decay_on_alpha_is_warned_of(tmp_path):
    run(tmp_path, Toy(), custom_keys={'dynopools': dict(lr_mult=0.5)})
    assert 'weight decay 0.0001 acts on alpha' in next(tmp_path.glob('*/*.log')).read_text()


def test_a_model_without_dynopool_is_refused(tmp_path):

    class Plain(BaseModel):

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, inputs, mode='tensor'):
            return dict(loss=self.weight.sum())

    with pytest.raises(ValueError, match='holds no DynOPool'):
        run(tmp_path, Plain())


def test_alphas_are_read_from_the_device_once_per_step(tmp_path, monkeypatch):
    reads = []

    class Counting(DynOPoolHook):

        def after_train_iter(self, *args, **kwargs):
            with monkeypatch.context() as patch:
                for name in ('tolist', 'item', 'cpu', 'numpy', '__bool__', '__float__'):
                    original = getattr(torch.Tensor, name)
                    patch.setattr(torch.Tensor, name, lambda tensor, *a, name=name, f=original: (
                        reads.append(name), f(tensor, *a))[1])
                super().after_train_iter(*args, **kwargs)

    run(tmp_path, Toy(pull=3.0), hooks=[Counting()])
    assert reads == ['tolist'] * 4


class TwoBackbones(BaseModel):
    """Each with a DynOPool of the same short name; the loss pulls both out of their bounds."""

    def __init__(self):
        super().__init__()
        self.near, self.far = Toy(), Toy()

    def forward(self, inputs, mode='tensor'):
        alphas = [toy.dynopools['stream1'].alpha.sum() for toy in (self.near, self.far)]
        return dict(loss=self.near.conv(inputs).mean() - 3 * alphas[0] + 3 * alphas[1])


def test_pools_of_one_short_name_are_each_projected_and_logged(tmp_path):
    model = TwoBackbones()
    run(tmp_path, model)
    assert model.near.dynopools['stream1'].alpha.tolist() == [4.0, 4.0]
    assert model.far.dynopools['stream1'].alpha.tolist() == [1.0, 1.0]
    last = scalars(tmp_path)[-1]
    assert {key: value for key, value in last.items() if key.endswith('alpha_h')} == {
        'dynopool/near.dynopools.stream1/alpha_h': 4.0,
        'dynopool/far.dynopools.stream1/alpha_h': 1.0}


def test_each_of_them_is_watched_for_nan(tmp_path):

    class Diverging(TwoBackbones):

        def forward(self, inputs, mode='tensor'):
            losses = super().forward(inputs, mode)
            return dict(loss=losses['loss'] * float('nan'))

    model = Diverging()
    model.near.requires_grad_(False)
    with pytest.raises(ValueError, match=r"iteration 1: alpha of DynOPool 'far.dynopools.stream1'"):
        run(tmp_path, model)


def test_the_hooks_that_it_brings_are_there_once(tmp_path):
    runner = run(tmp_path, Toy(), hooks=[ShapeLogHook(), DynOPoolHook()])
    kinds = [type(hook).__name__ for hook in runner.hooks]
    assert kinds.count('ShapeLogHook') == 1 == kinds.count('DynOPoolHook')
    assert kinds.index('DynOPoolHook') < kinds.index('ShapeLogHook')


def test_sizes_of_two_backbones_are_those_of_the_first():
    """Under the names that their alphas have in the log."""
    model = MODELS.build(segmentor(backbone=dict(dynopool=dict(stem=True))))
    model.second = MODELS.build(segmentor(backbone=dict(dynopool=dict(stem=True)))).backbone
    pools = by_short_name(learned_pools(model))
    with torch.no_grad():
        model.backbone.dynopools['stream2'].alpha.copy_(torch.tensor([4.0, 2.0]))
    alphas = [pool.alpha.tolist() for pool in pools.values()]
    scalars = _size_scalars(model, pools, alphas, None)
    heights = {scalar.instance: size for scalar, size in scalars.items() if scalar.axis == 'h'}
    expected = model.backbone.feature_sizes((64, 96))
    assert heights == {'input': 64, 'stream0': 16, **{
        f'backbone.dynopools.{name}': expected[name][0] for name in expected if name != 'stream0'}}
    assert heights['backbone.dynopools.stream2'] == 2


def test_sizes_of_a_converted_network_are_logged_where_they_are_known():
    model = MODELS.build(converted_config('UNet'))
    pools = by_short_name(learned_pools(model))
    alphas = [[2.5, 2.0], [1.6, 4.0]]
    scalars = _size_scalars(model, pools, alphas, None)
    assert {scalar.key: size for scalar, size in scalars.items()} == {
        f'dynopool/{name}/size_{axis}': n for name, size in dict(
            input=(64, 96), stride2=(26, 48), stride4=(16, 12)).items()
        for axis, n in zip('hw', size)}
    model.backbone.size_chain = None
    assert _size_scalars(model, pools, alphas, None) == {}
