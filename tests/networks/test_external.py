"""Conversion of networks from torchvision, timm and segmentation_models_pytorch."""

import copy
import pickle
import re
import resource
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

pytest.importorskip('timm', reason='make test-networks has an environment with these libraries')

from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from support.zoo import EXTERNAL

RULES = ('before', 'after')
SIZES = ((128, 192), (192, 128))  # multiples of the total stride, large enough for InceptionV3
REFUSED = 'refused'
# Total strides that are learned, by rule before.
FROM_2 = (2, 4, 8, 16, 32)
FROM_4 = (4, 8, 16, 32)
EXPECTED = {
    'torchvision VGG-16': FROM_2,
    'torchvision ResNet-18': FROM_2,
    'torchvision ResNet-50': FROM_2,
    'torchvision MobileNetV2': FROM_2,
    'torchvision EfficientNet-B0': FROM_2,
    'torchvision ConvNeXt-T': FROM_4,
    'torchvision DenseNet-121': FROM_2,
    'torchvision InceptionV3': REFUSED,  # unpadded convolutions beside each other
    'torchvision Swin-T': REFUSED,  # merges patches by slicing
    'timm VGG-16': FROM_2,
    'timm ResNet-18': FROM_2,
    'timm ResNet-50': FROM_2,
    'timm MobileNetV2': FROM_2,
    'timm EfficientNet-B0': FROM_2,
    'timm ConvNeXt-T': FROM_4,
    'timm DenseNet-121': FROM_2,
    'timm InceptionV3': REFUSED,
    'timm Swin-T': REFUSED,
    'smp Unet': FROM_2,
    'smp Unet MobileNetV2': FROM_2,
    'smp FPN': REFUSED,  # F.interpolate(scale_factor=2) in the decoder
    'smp DeepLabV3Plus': (2, 4, 8, 16),
    'smp Linknet': FROM_2,
    'timm EfficientNet-B0 SAME': FROM_2,
    'timm EfficientNetV2-S': FROM_2,
    'timm HRNet-W18': FROM_2,
    'timm MobileNetV3-large': FROM_2,
    'timm RegNetY-400MF': FROM_2,
    'timm ResNeSt-50': FROM_2,
    'timm ResNet-34 features': FROM_2,
    'timm ResNet-50-D': FROM_2,
    'timm ViT-S': REFUSED,  # joins the tokens with the class's
}
# Where nothing reads what lies between the stem's convolution and its pooling, the two are one
# step by rule after. (In a U-Net the decoder does, and ResNet-D's stem has three convolutions.)
MERGED = {f'{library} {network}' for library in ('torchvision', 'timm')
          for network in ('ResNet-18', 'ResNet-50', 'DenseNet-121')} | {'smp DeepLabV3Plus'}
CONVERTED = [name for name, strides in EXPECTED.items() if strides != REFUSED]


def test_table_is_whole():
    assert set(EXPECTED) == set(EXTERNAL)


def build(name):
    torch.manual_seed(0)
    return EXTERNAL[name]()


def image(size=SIZES[0]):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def outputs(model, size=SIZES[0]):
    """All output tensors in a list."""
    output = model(image(size))
    return [output] if isinstance(output, torch.Tensor) else list(output)


def shapes(tensors):
    return [tensor.shape for tensor in tensors]


def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


@pytest.fixture(scope='module', params=[(name, rule) for name in CONVERTED for rule in RULES],
                ids='-'.join)
def converted(request):
    """A stock network, its weights converted by one of the rules, and what that took."""
    name, rule = request.param
    stock = build(name)
    model = copy.deepcopy(stock)
    before, start = peak_bytes(), time.process_time()
    result = convert_dynopool(model, rule=rule)
    seconds = time.process_time() - start
    assert result is model
    return SimpleNamespace(name=name, rule=rule, stock=stock, model=model, seconds=seconds,
                           extra_bytes=peak_bytes() - before)


@pytest.fixture
def random_scales(converted):
    """The converted network with scales apart from each other, in their bounds, for one test."""
    model = converted.model
    pools = model.dynopools.values()
    alphas = [pool.alpha.detach().clone() for pool in pools]
    generator = torch.Generator().manual_seed(2)
    for pool in pools:
        low, high = pool.bounds
        scale = (0.6 + 0.5 * torch.rand(2, generator=generator)) / pool.alpha.detach()
        pool.alpha.data = 1 / scale.clamp(low, high)
    yield model
    for pool, alpha in zip(pools, alphas):
        pool.alpha.data = alpha


def test_strides(converted):
    strides = EXPECTED[converted.name]
    if converted.rule == 'after' and converted.name in MERGED:
        strides = strides[1:]
    assert list(converted.model.dynopools) == [f'stride{s}' for s in strides]
    for pool in converted.model.dynopools.values():
        assert pool.alpha.shape == (2, )
        assert pool.alpha.requires_grad


@pytest.mark.parametrize('size', SIZES, ids='{0[0]}x{0[1]}'.format)
def test_stock_shapes(converted, size):
    assert shapes(outputs(converted.model, size)) == shapes(outputs(converted.stock, size))


def test_only_alphas_are_new(converted):
    model, stock = converted.model, converted.stock.state_dict()
    alphas = [f'dynopools.{name}.alpha' for name in model.dynopools]
    state = model.state_dict()
    assert [key for key in state if key in stock] == list(stock)
    assert [key for key in state if key not in stock] == alphas
    for key, value in stock.items():
        assert torch.equal(state[key], value)
    missing, unexpected = model.load_state_dict(stock, strict=False)
    assert missing == alphas
    assert unexpected == []


def test_forward_at_other_scales(converted, random_scales):
    """A class vector or a map of the image's size: no scale changes their shapes."""
    result, stock = outputs(random_scales), outputs(converted.stock)
    if 'features' in converted.name:  # their sizes are what is learned
        assert [y.shape[:2] for y in result] == [y.shape[:2] for y in stock]
        assert all(y.shape != z.shape for y, z in zip(result, stock))
    else:
        assert shapes(result) == shapes(stock)
    assert all(tensor.isfinite().all() for tensor in result)


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
                         ids=['deepcopy', 'pickle'])
def test_copies(random_scales, duplicate):
    twin = duplicate(random_scales)
    for a, b in zip(outputs(twin), outputs(random_scales), strict=True):
        assert_close(a, b)
    for pool in twin.dynopools.values():  # a copy follows its own alphas
        pool.alpha.data = 1.5 * pool.alpha.data
    assert not torch.equal(outputs(twin)[0], outputs(random_scales)[0])


def test_conversion_is_cheap(converted):
    """Some 3 s are meant; a busy machine may take three times as long."""
    assert converted.seconds < 10
    assert converted.extra_bytes < 2**30


def named_in(message, model):
    """Names of the model's modules that the message mentions, or the root's type."""
    names = {name for name, _ in model.named_modules() if name} | {type(model).__name__}
    return names & set(re.findall(r'[A-Za-z_][\w.]*\w', message))


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', [name for name in EXPECTED if name not in CONVERTED])
def test_refused(name, rule):
    model = build(name)
    stock, result = copy.deepcopy(model), outputs(model)
    refusals = plan_conversion(model, rule=rule).refusals
    assert refusals
    with pytest.raises(ValueError) as error:
        convert_dynopool(model, rule=rule)
    assert all(str(refusal) in str(error.value) for refusal in refusals)
    assert named_in(str(error.value), stock), error.value
    assert [(n, type(m)) for n, m in model.named_modules()] == [
        (n, type(m)) for n, m in stock.named_modules()]
    assert list(model.state_dict()) == list(stock.state_dict())
    for a, b in zip(outputs(model), result, strict=True):
        assert_close(a, b)
