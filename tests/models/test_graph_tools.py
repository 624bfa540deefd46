"""DynOPoolHRNet and whole segmentors in the tools that make a graph of a network."""

import warnings

import onnxruntime
import pytest
import torch
from mmengine.analysis import FlopAnalyzer, get_model_complexity_info
from mmengine.registry import init_default_scope
from mmseg.models.backbones import HRNet
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from mmseg_dynopool.costs import GMACsCounter
from mmseg_dynopool.layers import freeze_pools
from mmseg_dynopool.models import DynOPoolHRNet
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.networks import learned
from support.toys import (
    LAST_STAGE,
    ONE_STAGE,
    converted_config,
    hrnet_extra,
    segmentor_config,
)


@pytest.fixture(autouse=True)
def _quiet():
    """torch.jit is deprecated, and says that alphas, once read, are constants in a trace."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def image(size=(64, 96), batch=1):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def built(config, frozen=False):
    init_default_scope('mmseg')
    model = MODELS.build(config)
    model.eval()
    return freeze_pools(model) if frozen else model


@pytest.mark.parametrize('options, frozen', [
    (dict(scale=0.4), False), (dict(scale=0.6, stem=True), True), (dict(image=True), True)],
    ids=str)
def test_hrnet(tmp_path, options, frozen):
    model = DynOPoolHRNet(hrnet_extra(modules=LAST_STAGE), dynopool=options)
    model.eval()
    if 'image' in options:
        model.dynopools['image'].set_alpha_((1.3, 1.1))
    model = freeze_pools(model) if frozen else model
    traced = torch.jit.trace(model, image())
    torch.onnx.export(model, (image(), ), tmp_path / 'net.onnx', dynamo=False,
                      input_names=['image'], dynamic_axes=dict(image={2: 'height', 3: 'width'}))
    session = onnxruntime.InferenceSession(tmp_path / 'net.onnx',
                                           providers=['CPUExecutionProvider'])
    for x in (image(), image((75, 110))):  # sizes follow the image's
        expected = model(x)
        assert all(map(torch.equal, traced(x), expected))
        for a, b in zip(session.run(None, dict(image=x.numpy())), expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(a), b.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('config', [
    segmentor_config(modules=ONE_STAGE), converted_config(rule='after')], ids=['hrnet', 'resnet'])
def test_tensorboards_graph_of_a_segmentor(tmp_path, config):
    model = built(config)
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(model, image())
    events = EventAccumulator(str(tmp_path), size_guidance=dict(graph=0))
    events.Reload()
    nodes = [n for n in events.Graph().node if n.op == 'aten::max_pool2d']
    pooled = []
    for pool in model.backbone.dynopools.values():
        pool.register_forward_hook(lambda *_: pooled.append(1))
    model(image())
    assert len([n for n in nodes if 'dynopools' in n.name or 'DynOPool' in n.name]) == len(pooled)


def flops(model):
    """What mmseg's get_flops.py does."""
    shape = image().shape[2:]
    sample = SegDataSample(metainfo=dict(ori_shape=shape, pad_shape=shape))
    data = model.data_preprocessor(dict(inputs=[image()[0]], data_samples=[sample]))
    return get_model_complexity_info(model, input_shape=None, inputs=data['inputs'],
                                     show_table=False, show_arch=False)['flops']


@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('kind', ['ResNet', 'UNet'])
def test_mmsegs_flops_are_the_stock_networks_and_those_of_the_poolings(kind, frozen):
    config = converted_config(kind, rule='before')
    stock = dict(config, type='EncoderDecoder')
    stock.pop('dynopool')
    model = built(config, frozen)
    calls = GMACsCounter(model, (64, 96), forward=forward_without_postprocessing).calls()
    assert flops(model) - flops(built(stock)) == sum(
        call.macs for call in calls if call.op == 'dynopool') > 0


def test_mmsegs_flops_of_hrnets_convolutions_are_the_stock_networks():
    """Its fusion resizes once where the stock network does so twice."""
    ours, stock = (kind(hrnet_extra(modules=LAST_STAGE)) for kind in (DynOPoolHRNet, HRNet))
    for model in (ours, stock):
        model.eval()
    count, expected = (FlopAnalyzer(m, image()).by_operator() for m in (ours, stock))
    assert count['conv'] == expected['conv'] > 0


def test_a_segmentor_whose_scales_were_learned():
    model = learned(3, highest=3.2, make=converted_config, kind='ResNet7', rule='after')
    model.eval()
    for network in (model, freeze_pools(model)):
        traced = torch.jit.trace(network, image())
        for x in (image(), image((70, 81), 2)):
            assert torch.equal(traced(x), network(x))
