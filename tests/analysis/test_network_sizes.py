"""Feature sizes by a log, by a network, and of the stock network."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_dynopool.analysis.logs import RunLog
from mmseg_dynopool.analysis.network_sizes import STOCK, NetworkSizes, compare_sizes, stock_sizes
from mmseg_dynopool.hooks.shape_scalar import ShapeScalar
from mmseg_dynopool.layers import freeze_pools
from support.networks import learned
from support.parts_network import HRNET, parts_config
from support.runs import segmentor
from support.toys import converted_config, fcn_head, hrnet_extra


def test_sizes_of_a_network_learned_and_frozen():
    model = MODELS.build(segmentor(backbone=dict(dynopool=dict(stem=True)))).eval()
    with torch.no_grad():
        for pool, alpha in zip(model.backbone.dynopools.values(),
                               ((1.7, 2.2), (2.1, 1.9), (2.9, 1.3), (1.1, 2.4), (2.0, 3.1))):
            pool.alpha.copy_(torch.tensor(alpha))
        features = model.backbone(torch.zeros(1, 3, 100, 120))
    learned = NetworkSizes.of_model('net', model, (100, 120))
    assert list(learned.sizes) == ['stem1', 'stream0', 'stream1', 'stream2', 'stream3']
    assert [learned.sizes[f'stream{k}'] for k in range(4)] == [x.shape[2:] for x in features]
    assert learned.sizes['stem1'] == (59, 55)
    assert NetworkSizes.of_model('net', freeze_pools(model), (100, 120)) == learned


def test_stock_sizes_are_those_of_the_stock_network():
    stock = MODELS.build(dict(type='HRNet', extra=hrnet_extra()))
    features = stock(torch.zeros(2, 3, 65, 122))
    sizes = stock_sizes((65, 122), [f'stream{k}' for k in range(4)])
    assert list(sizes.values()) == [x.shape[2:] for x in features]


def test_sizes_of_a_log():
    sizes = dict(input=(64, 96), stem1=(31, 50), stem2=(16, 25), stream0=(16, 25), stream1=(9, 12))
    series = {ShapeScalar(name, 'size', axis).key: [(1, n), (2, n)]
              for name, size in sizes.items() for axis, n in zip('hw', size)}
    series['dynopool/stream1/size_w'] = [(1, 12), (2, 11)]
    assert NetworkSizes.of_log(RunLog('mine', series)) == NetworkSizes(
        'mine', (64, 96), dict(stem1=(31, 50), stream0=(16, 25), stream1=(9, 11)))
    assert NetworkSizes.of_log(RunLog('old', {})) is None


def test_stock_sizes():
    assert stock_sizes((513, 1024), ['stem1', 'stem2', 'stream0', 'stream1', 'stream3']) == dict(
        stem1=(257, 512), stem2=(129, 256), stream0=(129, 256), stream1=(65, 128),
        stream3=(17, 32))
    for name in ('head', 'stream', 'stem3', '1'):
        with pytest.raises(ValueError, match=f'{name!r} is not the image, no stream'):
            stock_sizes((512, 1024), [name])


def test_the_image_comes_first():
    model = MODELS.build(segmentor(backbone=dict(dynopool=dict(
        image=True, scale=dict(image=(0.5, 0.75)))))).eval()
    net = NetworkSizes.of_model('net', model, (64, 96))
    assert net.sizes == dict(image=(32, 72), stream0=(8, 18), stream1=(4, 9), stream2=(2, 5),
                             stream3=(1, 3))
    plain = NetworkSizes('plain', (64, 96), dict(stream0=(16, 24)))
    columns = compare_sizes([plain, net])
    assert list(columns[STOCK]) == ['image', 'stream0', 'stream1', 'stream2', 'stream3']
    assert columns[STOCK]['image'] == (64, 96)


def test_networks_beside_the_stock_one():
    stem = NetworkSizes('stem', (64, 96), dict(stem1=(31, 50), stream0=(16, 25)))
    plain = NetworkSizes('plain', (64, 96), dict(stream0=(16, 24), stream1=(9, 11)))
    assert compare_sizes([plain, stem]) == {
        STOCK: dict(stem1=(32, 48), stream0=(16, 24), stream1=(8, 12)),
        'plain': plain.sizes, 'stem': stem.sizes}


def test_what_cannot_be_compared():
    sizes = dict(stream0=(128, 256))
    with pytest.raises(ValueError, match='inputs of one size, got 512 x 1024, 513 x 1024'):
        compare_sizes([NetworkSizes('a', (512, 1024), sizes),
                       NetworkSizes('b', (513, 1024), sizes)])
    plain = MODELS.build(dict(
        type='EncoderDecoder', backbone=dict(type='HRNet', extra=hrnet_extra()),
        decode_head=fcn_head((4, 8, 12, 16)), train_cfg=dict(), test_cfg=dict(mode='whole')))
    with pytest.raises(ValueError, match="'plain' holds no DynOPool"):
        NetworkSizes.of_model('plain', plain, (64, 64))


def test_stock_sizes_of_a_converted_network():
    assert stock_sizes((65, 96), ['stride2', 'stride4_2', 'stride4x2', 'stride32x16_3']) == {
        'stride2': (33, 48), 'stride4_2': (17, 24), 'stride4x2': (17, 48),
        'stride32x16_3': (3, 6)}
    sizes = {f'stride{k}': (k, k) for k in (16, 2, 4)}
    assert list(compare_sizes([NetworkSizes('net', (64, 96), sizes)])[STOCK]) == [
        'stride2', 'stride4', 'stride16']


def test_sizes_of_a_converted_network():
    model = learned(make=converted_config).eval()
    found = NetworkSizes.of_model('net', model, (100, 120)).sizes
    features = model.backbone(torch.zeros(1, 3, 100, 120))
    assert list(found) == ['stride2', 'stride4', 'stride8', 'stride16']
    assert [found[name] for name in ('stride4', 'stride8', 'stride16')] == [
        tuple(x.shape[2:]) for x in features[:3]]
    assert NetworkSizes.of_model('net', freeze_pools(model), (100, 120)).sizes == found


def test_sizes_of_parts_of_other_names():
    """What two of them have has its whole name, as in a log."""
    cfg = parts_config(others=[HRNET]).model
    sizes = NetworkSizes.of_model('net', MODELS.build(cfg), (64, 128)).sizes
    assert sizes == dict(stride2=(32, 64), stride4=(16, 32), stride8=(8, 16), stride16=(4, 8),
                         stride32=(2, 4), stream0=(16, 32), stream1=(8, 16))
    cfg.others = [cfg.image_encoder]
    net = NetworkSizes.of_model('net', MODELS.build(cfg), (64, 128))
    assert net.sizes == {f'{part}.dynopools.stride{2**k}': (64 >> k, 128 >> k)
                         for part in ('image_encoder', 'others.0') for k in range(1, 6)}
    assert compare_sizes([net])[STOCK] == net.sizes
