"""tools/convert.py: the plan of a config's backbone, its cost, what is refused."""

import json
from dataclasses import asdict

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.conversion import plan_conversion
from mmseg_dynopool.models import count_network_gmacs
from support.commands import tool
from support.parts_network import RESNET, parts_config
from support.toys import SIZE, converted_config


@pytest.fixture
def config(tmp_path):
    """A config whose network is converted, and one of the stock network."""
    model = converted_config('ResNet7', rule='after', skip=['layer3.*'])
    stock = dict(model, type='EncoderDecoder')
    del stock['dynopool']
    for name, settings in (('converted', model), ('stock', stock)):
        (tmp_path / f'{name}.py').write_text(Config(dict(model=settings)).pretty_text)
    return tmp_path


def result(*args, cwd):
    printed = tool('convert', *args, '--json', cwd=cwd)
    return json.loads(printed[printed.index('{'):])


def test_plan_and_cost(config):
    found = result('stock.py', cwd=config)
    stock = MODELS.build(Config.fromfile(config / 'stock.py').model)
    plan = plan_conversion(stock.backbone)
    assert found['changes'] == json.loads(json.dumps([asdict(c) for c in plan.changes]))
    assert found['shape'] == list(SIZE)
    assert found['stock_gmacs'] == pytest.approx(count_network_gmacs(stock, SIZE), rel=1e-12)
    converted = MODELS.build(converted_config('ResNet7'))
    assert found['gmacs'] == pytest.approx(converted.count_gmacs(), rel=1e-12)
    assert str(plan) in tool('convert', 'stock.py', cwd=config)


def test_options_of_the_config_and_of_the_command_line(config):
    found = result('converted.py', cwd=config)
    assert (found['rule'], list(found['scales'])) == ('after', ['stride4', 'stride8'])
    assert set(found['left']) == {'layer3.0.conv1', 'layer3.0.downsample.0'}
    model = MODELS.build(Config.fromfile(config / 'converted.py').model)
    assert found['gmacs'] == pytest.approx(model.count_gmacs(), rel=1e-12)
    assert found['gmacs'] > 1.2 * found['stock_gmacs']
    other = result('converted.py', '--rule', 'before', '--merge', '--skip', 'layer2.*',
                   '--shape', 128, 96, cwd=config)
    assert (other['rule'], list(other['scales'])) == ('before', ['stride4', 'stride16'])
    assert other['shape'] == [128, 96]


def test_a_network_that_is_refused(config):
    swin = Config.fromfile(config / 'stock.py').model
    swin.backbone = dict(type='SwinTransformer', embed_dims=12, depths=(1, 1, 1, 1),
                         num_heads=(1, 1, 1, 1))
    swin.decode_head.update(in_channels=96, c1_in_channels=12)
    (config / 'swin.py').write_text(Config(dict(model=swin)).pretty_text)
    printed = tool('convert', 'swin.py', cwd=config, ok=False)
    assert 'refused: stages.0.downsample.sampler: ' in printed
    assert 'a strided convolution' in printed
    assert 'GMACs of one image of 64 x 96: stock ' in printed


def test_a_part_of_another_name(tmp_path):
    """The config's converted one by default; in a stock config it is to be named."""
    cfg = parts_config(data_preprocessor=dict(type='SegDataPreProcessor', size=SIZE))
    cfg.dump(tmp_path / 'converted.py')
    stock = MODELS.build(dict(cfg.model, image_encoder=RESNET))
    cfg.model.image_encoder = RESNET
    cfg.dump(tmp_path / 'stock.py')
    found = result('converted.py', cwd=tmp_path)
    assert found == result('stock.py', '--part', 'image_encoder', cwd=tmp_path)
    assert list(found['scales']) == [f'stride{2**k}' for k in range(1, 6)]
    assert found['stock_gmacs'] == pytest.approx(count_network_gmacs(stock, SIZE), rel=1e-12)
    printed = tool('convert', 'stock.py', cwd=tmp_path, ok=False)
    assert "the network has no 'backbone'" in printed and 'image_encoder, others, head' in printed
