"""Layers that keep their strides behind a map that is resized first, for trained networks."""

import copy

import pytest
import torch
from mmseg.models.backbones import HRNet, ResNet, UNet
from torch import nn

from mmseg_dynopool.analysis.cost import resized_images
from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from mmseg_dynopool.costs import count_gmacs, probe_complexity
from mmseg_dynopool.layers import FixedImageResize, ImageResize, freeze_pools, learned_pools
from mmseg_dynopool.layers.image import image_levels
from mmseg_dynopool.learning import ScaleLearner
from support.toy_networks import ToyResNet, ToyUNet, as_list, randomize, set_scales
from support.toys import hrnet_extra

BUILD = dict(
    resnet=ToyResNet, unet=ToyUNet, unet_transposed=lambda: ToyUNet(up='transposed'),
    hrnet=lambda: HRNet(hrnet_extra()), mmseg_unet=lambda: UNet(base_channels=4),
    resnet18=lambda: ResNet(18, stem_channels=4, base_channels=4))
ODD = ('resnet', 'hrnet', 'resnet18')  # the others take no such images


def network(name='resnet'):
    torch.manual_seed(0)
    net = randomize(BUILD[name]())
    net.eval()
    return net


def image(height=64, width=96):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('name', BUILD)
@pytest.mark.parametrize('with_image', [False, True])
def test_at_the_start_it_is_the_stock_network_bit_for_bit(name, with_image):
    stock = network(name)
    model = convert_dynopool(network(name), 'keep', image=with_image)
    model.eval()
    assert all(isinstance(pool, ImageResize) for pool in model.dynopools.values())
    assert ('image' in model.dynopools) is with_image and len(model.dynopools) >= 2
    alphas = [f'dynopools.{level}.alpha' for level in model.dynopools]
    assert list(model.state_dict()) == list(stock.state_dict()) + alphas
    with torch.no_grad():
        for size in ((64, 96), *([(54, 37)] if name in ODD else [])):
            for ours, theirs in zip(as_list(model(image(*size))), as_list(stock(image(*size)))):
                assert torch.equal(ours, theirs)


def test_the_image_s_level_is_told_from_inner_ones():
    model = convert_dynopool(network(), 'keep', image=True)
    (name, level), = image_levels(model).items()
    assert name == 'dynopools.image' and level is model.dynopools['image']
    assert resized_images(freeze_pools(model), (64, 96)) == [(64, 96)]
    assert not image_levels(convert_dynopool(network(), 'keep'))


def test_the_table_says_so():
    plan = plan_conversion(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(2)), 'keep')
    assert [(change.module, change.level, change.place, change.padding)
            for change in plan.changes] == [('0', 'stride2', 'before', None),
                                            ('1', 'stride4', 'before', None)]
    assert plan.scales == dict(stride2=(1.0, 1.0), stride4=(1.0, 1.0))


def test_each_level_resizes_in_front_of_its_layers():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1)
    x = image(64, 96)
    with torch.no_grad():
        resized = ImageResize((0.75, 0.5), multiple=2)(first(x))
        assert resized.shape[2:] == (24, 24)
        expected = second(resized)
        model = convert_dynopool(nn.Sequential(first, second), 'keep',
                                 scale=dict(stride4=(0.75, 0.5)))
        assert torch.equal(model(x), expected)
    assert model[1].stride == (2, 2)
    assert model.feature_sizes((64, 96)) == dict(stride2=(64, 96), stride4=(24, 24))
    frozen = freeze_pools(model)
    assert isinstance(frozen.dynopools['stride4'], FixedImageResize)
    assert torch.equal(frozen(x), expected) and copy.deepcopy(model)(x).shape == expected.shape


@pytest.mark.parametrize('name', ['unet', 'unet_transposed', 'mmseg_unet', 'hrnet'])
def test_decoders_lead_back_to_what_was_resized(name):
    model = convert_dynopool(network(name), 'keep')
    model.eval()
    set_scales(model, **{list(model.dynopools)[-1]: (0.5, 0.75)})
    with torch.no_grad():
        ours, theirs = as_list(model(image(96, 96))), as_list(network(name)(image(96, 96)))
    wide = [(a.shape, b.shape) for a, b in zip(ours, theirs) if b.shape[2] >= 24]
    assert wide and all(a == b for a, b in wide)
    assert any(not torch.equal(a, b) for a, b in zip(ours, theirs))


@pytest.mark.parametrize('name', ['resnet', 'unet', 'hrnet', 'resnet18'])
def test_the_cost_model_agrees_with_counting(name):
    model = convert_dynopool(network(name), 'keep')
    shape = (384, 640)
    cost, stock = probe_complexity(model, shape), count_gmacs(network(name), shape)
    assert cost.initial == pytest.approx(stock, rel=0.15)  # and the resizes' own of such a toy
    last = list(model.dynopools)[-1]
    set_scales(model, **{next(iter(model.dynopools)): (0.75, 0.5), last: (0.5, 1.0)})
    alphas = {n: pool.alpha for n, pool in learned_pools(model).items()}
    assert cost.gmacs(alphas).item() == pytest.approx(count_gmacs(model, shape), rel=0.01)


def loss(model):
    return sum(y.square().mean() for y in as_list(model(image())))


def test_the_learner_moves_all_levels():
    model = convert_dynopool(network(), 'keep', image=True)
    cost = probe_complexity(model, (64, 96))
    learner = ScaleLearner(model, steps=12, cost=cost, target=0.5, jitter=0.0)
    for _ in range(12):
        with learner.step(lambda: loss(model)):
            loss(model).backward()
    # All alphas get a gradient, which DDP waits for.
    assert all(pool.alpha.grad is not None for pool in model.dynopools.values())
    counted = cost.counted(model)({
        name: pool.alpha.tolist() for name, pool in learned_pools(model).items()})
    assert counted / cost.initial == pytest.approx(0.5, abs=0.05)
    moved = [pool.scale.tolist() for pool in model.dynopools.values()]
    assert all(min(scale) < 1 for scale in moved)


@pytest.mark.parametrize('backend', ['eager', 'aot_eager'])
def test_it_is_compiled_once_for_all_scales(backend):
    model = convert_dynopool(network(), 'keep')
    torch._dynamo.reset()
    compiled = torch.compile(model, backend=backend)
    with torch.no_grad():
        for scale in ((0.75, 0.5), (0.5, 0.625), (0.375, 0.75)):
            set_scales(model, stride4=scale)
            with torch._dynamo.config.patch(error_on_recompile=scale == (0.375, 0.75)):
                for ours, theirs in zip(compiled(image()), model(image())):
                    assert torch.allclose(ours, theirs, atol=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError, match="rule='keep' takes type='DynOPool', got 'ShapeAdaptor'"):
        convert_dynopool(network(), 'keep', type='ShapeAdaptor')
