"""Checkpoints and networks whose scales are learned, constant, of another kind, or none."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool.checkpoints import Checkpoint, load_network
from mmseg_dynopool.export.freeze import plain_model
from mmseg_dynopool.layers import DynOPool, FixedDynOPool, ResizingPool, ShapeAdaptor, freeze_pools
from support.networks import learned
from support.runs import segmentor, train
from support.toys import segmentor_config


def of(model, **content):
    return Checkpoint('file.pth', dict(state_dict=model.state_dict(), **content))


@pytest.fixture(scope='module')
def model():
    return learned()


def scales_of(model):
    return {name: pool.scale.tolist() for name, pool in model.backbone.dynopools.items()}


def frozen_by_version_0_3(model):
    """Without alphas in the state, which named the scales in the meta."""
    state = {k: v for k, v in model.state_dict().items() if not k.endswith('.alpha')}
    return Checkpoint('file.pth', dict(state_dict=state,
                                       meta=dict(dynopool_scales=scales_of(model))))


def frozen_config(scale):
    return dict(plain_model(Config(segmentor_config())), backbone=dict(
        segmentor_config()['backbone'], dynopool=dict(scale=scale, learn=False)))


def build_frozen(scale):
    return MODELS.build(frozen_config(scale))


def stock():
    cfg = plain_model(Config(segmentor_config()))
    cfg.backbone.type = 'HRNet'
    cfg.backbone.pop('dynopool')
    return MODELS.build(cfg)


def alphas_of(model):
    return [pool.read_alpha() for pool in model.backbone.dynopools.values()]


@pytest.mark.parametrize('load', [
    lambda path, cfg: load_network(cfg, path),
    lambda path, cfg: init_model(cfg, path, device='cpu')], ids=['ours', "mmseg's"])
def test_scales_are_the_checkpoints_whether_they_learn_or_not(model, tmp_path, load):
    frozen = freeze_pools(model)
    image = torch.randn(1, 3, 64, 96)
    for i, source in enumerate((model, frozen)):
        torch.save(dict(state_dict=source.state_dict(), meta={}), tmp_path / f'{i}.pth')
        for config in (segmentor_config(), frozen_config(0.5)):
            loaded = load(str(tmp_path / f'{i}.pth'), Config(dict(model=config)))
            assert alphas_of(loaded) == alphas_of(model)
            assert torch.equal(loaded._forward(image), model._forward(image))


def test_mmengine_loads_them_and_keeps_them_without(model, tmp_path):
    torch.save(freeze_pools(model).state_dict(), tmp_path / 'frozen.pth')
    loaded = build_frozen(0.5)
    load_checkpoint(loaded, str(tmp_path / 'frozen.pth'), 'cpu', strict=True)
    assert alphas_of(loaded) == alphas_of(model)
    torch.save(frozen_by_version_0_3(model).state, tmp_path / 'old.pth')
    load_checkpoint(loaded, str(tmp_path / 'old.pth'), 'cpu', strict=True)
    assert alphas_of(loaded) == alphas_of(model)


def test_weights_frozen_by_0_3_belong_to_one_set_of_scales(model):
    checkpoint = frozen_by_version_0_3(model)
    scales = {name: tuple(pair) for name, pair in scales_of(model).items()}
    for same in (build_frozen(scales), freeze_pools(model), model):
        checkpoint.verify(same)
    other = dict(scales, stream2=(scales['stream2'][0], scales['stream2'][1] * 1.001))
    for network, words in ((build_frozen(other), "this config's are {'stream1': "),
                           (MODELS.build(segmentor_config()), "config's are {'stream1': [0.5, 0.5"),
                           (stock(), "are the stock network's; use the config.py")):
        with pytest.raises(ValueError, match=r'was frozen at the scales \{') as error:
            checkpoint.verify(network)
        assert words in str(error.value)
    Checkpoint('file.pth', dict(checkpoint.content, meta={})).verify(build_frozen(other))


def test_a_stock_checkpoint_fits_but_where_scales_are_required(model):
    checkpoint = of(stock())
    checkpoint.verify(model)
    checkpoint.verify(build_frozen(0.5), scales=True)
    with pytest.raises(ValueError, match=r'holds no learned scale .*stream1.alpha, ...\)'):
        checkpoint.verify(model, scales=True)
    of(model).verify(model, scales=True)
    of(freeze_pools(model)).verify(model, scales=True)


def test_scales_that_would_be_lost_are_named(model):
    for source in (model, freeze_pools(model)):
        with pytest.raises(ValueError, match=r'holds learned scales \(backbone.dynopools.stream1'
                           r".alpha, ...\), and this config's network is the stock one"):
            of(source).verify(stock())
    three = nn.ModuleDict(dict(dynopools=nn.ModuleDict({n: DynOPool() for n in 'abc'})))
    two = nn.ModuleDict(dict(dynopools=nn.ModuleDict({n: FixedDynOPool() for n in 'ac'})))
    of(two).verify(three)
    with pytest.raises(ValueError, match=r'scales \(dynopools.b.alpha, .* network lacks them'):
        of(three).verify(two)
    of(three).verify(two, part='head.')


class Head(nn.Module):
    """Has weights of its own that are named as a pooling's are."""

    def __init__(self, pool):
        super().__init__()
        self.pool = self.alias = pool
        self.alpha = nn.Parameter(torch.ones(3))
        self.logit = nn.Parameter(torch.ones(3))


class UsersPool(ResizingPool):
    """One of a user, with a parameter and a buffer of names of their own."""

    bounds = (0.25, 1.0)
    macs_per_value = 1

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([2.0, 2.0]))
        self.register_buffer('steps', torch.zeros(1))

    @property
    def parameter(self):
        return self.gain

    def bounded_alpha(self):
        return self.gain


POOLS = dict(alpha=DynOPool, logit=ShapeAdaptor, gain=UsersPool)


@pytest.mark.parametrize('pool', [*POOLS.values(), FixedDynOPool])
@pytest.mark.parametrize('name', ['alpha', 'logit'])
def test_a_missing_weight_that_is_no_scale_is_named(name, pool):
    head = Head(pool())
    state = head.state_dict()
    del state[name]
    with pytest.raises(ValueError, match=f'1 weights missing .*{name} is missing'):
        Checkpoint('file.pth', dict(state_dict=state)).verify(head)
    stock = {key: value for key, value in head.state_dict().items() if '.' not in key}
    Checkpoint('file.pth', dict(state_dict=stock)).verify(head)


def test_a_stock_network_s_weights_load_without_a_word_on_scales(capsys):
    head = Head(DynOPool())
    checkpoint = Checkpoint('file.pth', dict(state_dict={
        key: value + 1 for key, value in head.state_dict().items() if '.' not in key}))
    checkpoint.load_into(head)
    assert capsys.readouterr().out == '' and head.pool.scale.tolist() == [0.5, 0.5]
    assert all(torch.equal(head.state_dict()[key], value)
               for key, value in checkpoint.state.items())


@pytest.mark.parametrize('own', POOLS)
@pytest.mark.parametrize('other', POOLS)
def test_scales_of_another_kind_are_named(own, other):
    head, checkpoint = Head(POOLS[own]()), of(Head(POOLS[other]()))
    if own != other:
        kind = POOLS[own].__name__
        with pytest.raises(ValueError, match=rf"trained with another pooling: it has 'pool.{other}'"
                           rf', which a {kind} has not'):
            checkpoint.verify(head)
    else:
        head.pool.parameter.data.mul_(1.5)
        checkpoint.verify(head, scales=True)
        checkpoint.load_into(head)
        assert torch.equal(head.pool.parameter, POOLS[own]().parameter)
    if own == 'logit':
        with pytest.raises(ValueError, match=r"it has 'pool.logit', which a FixedDynOPool has not"):
            of(head).verify(Head(FixedDynOPool()))


def test_a_scale_of_another_shape_or_not_finite_is_named():
    head = Head(FixedDynOPool())
    for value, words in ((torch.ones(3), r'pool.alpha is \(3,\), not \(2,\)'),
                         (torch.tensor([2, float('inf')]), r'infinity in 2 weights \(pool.alpha')):
        state = dict(head.state_dict(), **{'pool.alpha': value, 'alias.alpha': value})
        with pytest.raises(ValueError, match=words):
            Checkpoint('file.pth', dict(state_dict=state)).verify(head)


def test_a_training_at_constant_scales_saves_and_resumes_them(tmp_path):
    """With moving averages of all that is in a state."""
    scales = dict(stream1=(0.43, 0.61))
    fixed = segmentor(type='EncoderDecoder', backbone=dict(
        dynopool=dict(scale=scales, learn=False)))
    key = 'backbone.dynopools.stream1.alpha'
    alpha = FixedDynOPool(scales['stream1']).read_alpha()
    average = [dict(type='EMAHook', momentum=0.5, update_buffers=True)]
    train(tmp_path, fixed, 2, average, hook=False)
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    for state in (saved['state_dict'][key], saved['ema_state_dict'][f'module.{key}']):
        assert tuple(state.tolist()) == alpha
    at_half = segmentor(type='EncoderDecoder', backbone=dict(dynopool=dict(learn=False)))
    runner = train(tmp_path / 'on', at_half, 3, average, hook=False, resume=tmp_path / 'iter_2.pth')
    assert runner.model.backbone.dynopools['stream1'].read_alpha() == alpha
    saved = torch.load(tmp_path / 'on' / 'iter_3.pth', weights_only=False)
    for state in (saved['state_dict'][key], saved['ema_state_dict'][f'module.{key}']):
        assert tuple(state.tolist()) == alpha


def test_a_file_that_names_a_shared_scale_once_sets_it():
    """As files do that hold each tensor once."""
    head, other = Head(DynOPool(0.25)), Head(DynOPool())
    state = {key: value for key, value in head.state_dict().items() if key != 'alias.alpha'}
    Checkpoint('file.pth', dict(state_dict=state)).load_into(other)
    assert other.alias.scale.tolist() == [0.25, 0.25]
