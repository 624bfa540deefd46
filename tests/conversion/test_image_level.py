"""The image's own size as the first level of a converted network."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers import FixedImageResize, ImageResize, freeze_pools
from support.toy_networks import Run, SamePadConv, ToyResNet, ToyUNet

SIZE = (64, 96)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(),
                         nn.MaxPool2d(2)).eval()


def image(size=SIZE):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))


def test_the_level_and_what_it_leaves():
    plan = plan_conversion(network(), image=True)
    assert plan.scales == {'image': (1.0, 1.0), 'stride4': (0.5, 0.5), 'stride8': (0.5, 0.5)}
    assert plan.left == {'0': 'reads the image, whose own size learns'} and plan.multiple == 2
    assert 'the network, to multiples of 2 pixels' in str(plan)


def test_at_scale_one_it_is_the_network_without_it():
    plain = convert_dynopool(network(), skip='0')
    model = convert_dynopool(network(), image=True)
    assert list(model.dynopools) == ['image', 'stride4', 'stride8']
    for size in (SIZE, (65, 97), (7, 9)):
        assert torch.equal(model(image(size)), plain(image(size)))
    assert model.load_state_dict(plain.state_dict(), strict=False).missing_keys == [
        'dynopools.image.alpha']


def test_at_other_scales_it_is_the_network_on_a_resized_image():
    model = convert_dynopool(network(), image=True, scale=dict(image=(0.7, 0.9), stride8=0.25))
    resized = ImageResize((0.7, 0.9), multiple=2)(image())
    assert resized.shape[2:] == (44, 86)  # of 44.8 x 86.4
    plain = convert_dynopool(network(), skip='0', scale=dict(stride8=0.25))
    assert torch.equal(model(image()), plain(resized))
    assert model.feature_sizes(SIZE) == dict(image=(44, 86), stride4=(11, 22), stride8=(3, 6))
    frozen = freeze_pools(model)
    assert isinstance(frozen.dynopools['image'], FixedImageResize)
    assert torch.equal(frozen(image()), model(image()))


def test_outputs_of_the_images_size_have_it_again():
    def run(net, x):
        return [nn.functional.interpolate(net.a(x), x.shape[2:]), net.a(x)]

    model = Run(run, a=nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)))
    convert_dynopool(model, image=True, scale=dict(image=0.5))
    assert [tuple(output.shape[2:]) for output in model(image())] == [SIZE, (8, 12)]


def test_the_cost_follows_the_image():
    cost = probe_complexity(convert_dynopool(network(), image=True), SIZE)
    everything = cost.initial
    half = {name: torch.tensor([1 / s for s in pair]) * (2 if name == 'dynopools.image' else 1)
            for name, pair in cost.initial_scales.items()}
    assert cost.gmacs(half).item() == pytest.approx(everything / 4)
    assert cost.maps()[0].size == SIZE


def test_the_alpha_gets_zeros():
    model = convert_dynopool(network(), image=True)
    model.train()(image()).square().sum().backward()
    assert model.dynopools['image'].alpha.grad.tolist() == [0.0, 0.0]
    assert model.dynopools['stride4'].alpha.grad.abs().sum() > 0


def windows(net, x):
    """A network that no DynOPool can follow: patches by slicing."""
    return net.a(torch.cat([x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]], 1))


def test_a_pooling_that_reads_features_of_the_images_size_learns():
    """As in UNet and VGG: it does not pool the image. A padded image is one still."""
    plan = plan_conversion(ToyUNet(), image=True)
    assert list(plan.scales) == ['image', 'stride2', 'stride4'] and plan.multiple == 1
    same = nn.Sequential(SamePadConv(3, 4, 3, 2), nn.ReLU(), SamePadConv(4, 4, 3, 2))
    plan = plan_conversion(same, image=True)
    assert list(plan.scales) == ['image', 'stride4'] and list(plan.left) == ['0']


@pytest.mark.parametrize('size', [(1, 1), (3, 5), (1, 90), (33, 66)])
@pytest.mark.parametrize('scale', [1.0, (0.5, 0.9), (0.25, 2.0)])
def test_any_image_size(size, scale):
    model = convert_dynopool(network()[:2], image=True, scale=dict(image=scale))
    resized = ImageResize(scale, multiple=2)(image(size))
    assert torch.equal(model(image(size)), network()[:2](resized))


def test_copies():
    model = convert_dynopool(ToyUNet(), image=True, scale=dict(image=(0.7, 0.9)))
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied.dynopools['image'].set_alpha_([1.5, 1.2])
        assert copied.feature_sizes(SIZE)['image'] == (43, 80)
        assert model.feature_sizes(SIZE)['image'] == (45, 86)
        copied.load_state_dict(model.state_dict())
        assert torch.equal(copied(image()), model(image()))
        assert copied(image()).shape[2:] == SIZE


def test_the_outputs_may_be_labels():
    def run(net, x):
        logits = nn.functional.interpolate(net.a(x), x.shape[2:])
        return logits if net.training else logits.argmax(1)

    model = Run(run, a=nn.Conv2d(3, 4, 3, 2, 1)).eval()
    convert_dynopool(model, levels='image', scale=dict(image=0.5))
    assert model(image()).shape == (2, *SIZE)
    assert model.train()(image()).shape == (2, 4, *SIZE)


@pytest.mark.parametrize('options, levels', [
    (dict(image=True), dict(image=False, stride4=True, stride8=True)),
    (dict(levels='image'), dict(image=False))])
def test_frozen_weights_that_read_the_image_fix_its_scale(options, levels):
    model = network()
    model[0].requires_grad_(False)
    assert 'are frozen: image' in str(plan_conversion(model, **options))
    with pytest.warns(UserWarning, match="image's scale does not learn, as weights .* are frozen"):
        convert_dynopool(model, **options)
    assert {n: p.alpha.requires_grad for n, p in model.dynopools.items()} == levels
    model.train()(image()).sum().backward()
    assert model.dynopools['image'].alpha.grad is None
    model = network()
    model[2].requires_grad_(False)
    assert convert_dynopool(model, **options).dynopools['image'].alpha.requires_grad


@pytest.mark.parametrize('bad, words', [
    (torch.rand(3, 8, 8), 'input must be 4-D'),
    (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 'input must be a floating point tensor'),
    (torch.rand(1, 3, 0, 8), 'input has an empty side')])
def test_bad_images(bad, words):
    with pytest.raises(ValueError, match=words):
        convert_dynopool(network(), image=True)(bad)


def test_the_image_alone():
    model = Run(windows, a=nn.Conv2d(6, 4, 3, 2, 1)).eval()
    plan = plan_conversion(model, levels='image', in_channels=3)
    assert plan.multiple == 4 and not plan.changes
    expected = model(image())
    convert_dynopool(model, levels='image', in_channels=3)
    assert list(model.dynopools) == ['image'] and torch.equal(model(image()), expected)
    model.dynopools['image'].set_alpha_([1.5, 1.2])
    assert model.feature_sizes(SIZE) == dict(image=(44, 80))
    assert torch.equal(model(image()), windows(model, ImageResize(
        (1 / 1.5, 1 / 1.2), multiple=4)(image())))


@pytest.mark.parametrize('build, stride', [
    (ToyUNet, 4),  # whose output has the image's size
    (ToyResNet, 16),
    (lambda: nn.Sequential(network(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1)), 8),
    (lambda: nn.Sequential(*(nn.Conv2d(3, 3, 3, 2, 1) for _ in range(7))), 32)])
def test_alone_it_is_aligned_to_the_total_stride(build, stride):
    assert plan_conversion(build(), levels='image').multiple == stride


def test_more_than_its_strides_may_divide_an_image():
    def run(net, x):
        assert all(n % 8 == 0 for n in x.shape[2:])
        return net.a(x)

    model = Run(run, a=network())
    assert plan_conversion(model, image=True).multiple == 8
    with pytest.raises(ValueError, match='fails at an image of'):
        convert_dynopool(model, image=True, multiple=2)


def test_a_network_of_one_size_is_refused_by_name():
    class Table(nn.Module):

        def __init__(self):
            super().__init__()
            self.positions = nn.Parameter(torch.zeros(1, 3, 704, 832))
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(x + self.positions)

    with pytest.raises(ValueError, match=r'Table cannot be converted, .*it fails at an image of'):
        convert_dynopool(Table(), levels='image')


@pytest.mark.parametrize('options, words', [
    (dict(image=1), 'image must be True or False, got 1'),
    (dict(levels='all of them'), r"levels must be one of \('all', 'image'\)"),
    (dict(image=True, multiple=0), 'multiple must be a whole number of pixels >= 1, got 0'),
    (dict(multiple=8), 'multiple=8 is of the image, whose size does not learn; set image=True'),
    (dict(image=True, forward=lambda net, x: nn.Sequential(*net)(x)),
     'its forward, where the image is resized, does not run; let forward=.* call the network'),
    (dict(image=True, bounds=dict(image=(0.25, 0.5))), 'options of image: .* must hold 1'),
    (dict(image=True, bounds=dict(other=(0.25, 1))), r"bounds names unknown instances \['other'\]"),
    (dict(image=True, learn=dict(image='no')), 'learn must be True or False')])
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        convert_dynopool(network(), **options)


def test_both_axes_are_tied_beside_shape_adaptors():
    model = convert_dynopool(network(), type='ShapeAdaptor', image=True, bounds=dict(
        image=(0.5, 1.0), stride8=(0.3, 1.0)))
    level = model.dynopools['image']
    assert [pool.tied for pool in model.dynopools.values()] == [True] * 3
    assert level.bounds == (0.5, 1.0) and model.dynopools['stride8'].bounds == (0.3, 1.0)
    plain = convert_dynopool(network(), type='ShapeAdaptor', skip='0',
                             bounds=dict(stride8=(0.3, 1.0)))
    torch.testing.assert_close(model(image()), plain(image()))
    level.set_alpha_([1.4, 1.4])
    assert model.feature_sizes(SIZE)['image'] == (46, 68)  # of 45.7 x 68.6
    alone = convert_dynopool(network(), type='ShapeAdaptor', levels='image', learn=False)
    assert isinstance(alone.dynopools['image'], FixedImageResize)
    with pytest.raises(ValueError, match=r'options of image: .* one for both axes'):
        convert_dynopool(network(), type='ShapeAdaptor', image=True, scale=dict(image=(0.7, 0.8)))


def test_options_by_level():
    model = convert_dynopool(network(), image=True, scale=0.4, learn=dict(image=False),
                             bounds=dict(stride4=(0.3, 0.6)))
    assert [pool.learns for pool in model.dynopools.values()] == [False, True, True]
    assert model.dynopools['image'].initial_scale == (1.0, 1.0)
    assert model.dynopools['stride4'].bounds == (0.3, 0.6)
    assert model.dynopools['stride8'].initial_scale == (0.4, 0.4)
