"""ShapeAdaptor as a layer."""

import copy
import pickle

import pytest
import torch

from mmseg_dynopool.layers import DynOPoolConv2d, ShapeAdaptor, learned_pools
from mmseg_dynopool.ops import shape_adaptor2d


def test_module_equals_function():
    image = torch.randn(2, 3, 19, 26)
    for options in (dict(), dict(pooling='mean'), dict(align_corners=True)):
        layer = ShapeAdaptor(0.7, ratios=(0.5, 1.0), **options)
        logit = layer.logit.detach().clone().requires_grad_()
        expected = shape_adaptor2d(image, logit.double().sigmoid(), ratios=(0.5, 1.0), **options)
        assert torch.equal(layer(image), expected)
        layer(image).square().sum().backward()
        expected.square().sum().backward()
        assert torch.equal(layer.logit.grad, logit.grad) and logit.grad != 0


@pytest.mark.parametrize('pooling', ['max', 'mean'])
def test_a_mean_is_taken_in_the_branches(pooling):
    """Whatever the instance's own pooling, which 'max' stands for."""
    image = torch.randn(2, 3, 19, 26)
    layer = ShapeAdaptor(0.7, pooling=pooling)
    for reduce, expected in (('max', pooling), ('mean', 'mean')):
        assert torch.equal(layer(image, reduce=reduce), shape_adaptor2d(
            image, layer.weight, ratios=(0.25, 1.0), pooling=expected))


@pytest.mark.parametrize('scale', [0.26, 0.3, 0.5, 0.625, 0.75, 0.9, 0.99])
def test_scale_and_alpha(scale):
    layer = ShapeAdaptor(scale)
    assert layer.initial_scale == (scale, scale)
    torch.testing.assert_close(layer.bounded_alpha().detach(), torch.tensor([1 / scale] * 2),
                               rtol=2e-7, atol=0)
    torch.testing.assert_close(layer.scale, torch.tensor([scale, scale]))
    assert {k: v.shape for k, v in layer.state_dict().items()} == {'logit': ()}
    low, high = layer.alpha_bounds
    assert (low, high) == (1.0, 4.0)


def test_at_half_the_sizes_are_those_of_a_strided_convolution():
    """On a tie of the rounding, too: alpha is exactly 2, though w is rounded."""
    layer = ShapeAdaptor(0.5)
    assert layer.bounded_alpha().tolist() == [2.0, 2.0]
    conv = torch.nn.Conv2d(1, 1, 3, stride=2, padding=1)
    for size in ((64, 48), (65, 33), (7, 1)):
        image = torch.rand(1, 1, *size)
        assert layer(image).shape == conv(image).shape
        assert layer.output_size(size) == tuple(conv(image).shape[2:])


def test_the_scale_never_leaves_its_ratios():
    layer = ShapeAdaptor(0.5)
    for logit, scale in ((-1e9, 0.25), (1e9, 1.0)):
        with torch.no_grad():
            layer.logit.fill_(logit)
        layer.project_()
        assert layer.scale.tolist() == [scale, scale]


def test_alpha_is_a_differentiable_function_of_the_parameter():
    layer = ShapeAdaptor(0.5)
    layer.bounded_alpha().sum().backward()
    w = layer.weight.item()
    # alpha = 1 / s twice, s = 0.25 + 0.75 w, w = sigmoid.
    assert layer.logit.grad.item() == pytest.approx(-2 / 0.5**2 * 0.75 * w * (1 - w))


def test_in_a_learner_s_trial_it_has_another_scale_and_a_gradient_of_zero():
    layer, other = ShapeAdaptor(0.5), ShapeAdaptor(0.7)
    image = torch.randn(1, 2, 40, 60, requires_grad=True)
    layer.trial_alpha = other.bounded_alpha().detach()
    assert torch.equal(layer.bounded_alpha(), other.bounded_alpha())
    torch.testing.assert_close(layer(image), other(image))
    expected, = torch.autograd.grad(other(image).square().sum(), image)
    layer(image).square().sum().backward()
    torch.testing.assert_close(image.grad, expected)
    assert layer.logit.grad == 0
    layer.trial_alpha = None
    assert torch.equal(layer(image), ShapeAdaptor(0.5)(image))


def test_shared_by_convolutions_and_copied():
    layer = ShapeAdaptor(0.5)
    net = torch.nn.ModuleDict(dict(pool=layer, a=DynOPoolConv2d(layer, 1, 1, 1, shared=True),
                                   b=DynOPoolConv2d(layer, 1, 1, 1, shared=True)))
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert copied['a'].pool is copied['b'].pool is copied['pool']
        assert list(learned_pools(copied)) == ['pool']
    assert net['a'](torch.rand(1, 1, 9, 9)).shape == (1, 1, 5, 5)


def test_compiles_without_a_break_where_the_size_is_given():
    layer = ShapeAdaptor(0.5)
    compiled = torch.compile(layer, backend='eager', fullgraph=True)
    image = torch.randn(1, 2, 20, 30)
    for size in ((10, 15), (9, 14), (12, 11)):
        torch.testing.assert_close(compiled(image, size), layer(image, size))


@pytest.mark.parametrize('options, words', [
    (dict(scale=(0.5, 0.4)), ['both axes', '(0.5, 0.4)']),
    (dict(scale=0.25), ['between', '0.25']),
    (dict(scale=0.5, ratios=(0.5, 1.0)), ['never reaches', '(0.5, 1.0)']),
    (dict(scale=-1), ['positive', '-1']),
    (dict(ratios=(1.0, 0.5)), ['ratios', '(1.0, 0.5)']),
    (dict(pooling='min'), ['pooling', "'min'"]),
])
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError) as error:
        ShapeAdaptor(**options)
    for word in words:
        assert word in str(error.value)
