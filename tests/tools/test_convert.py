"""tools/convert.py: the plan of a config's backbone, its cost, what is refused."""

import json
import re
from dataclasses import asdict

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.conversion import plan_conversion
from mmseg_dynopool.models import count_network_gmacs
from support.commands import tool
from support.parts_network import RESNET, parts_config
from support.toys import ROOT, SIZE, converted_config, segmentor_config


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
    plan = plan_conversion(stock.backbone, image=True)
    assert found['changes'] == json.loads(json.dumps([asdict(c) for c in plan.changes]))
    assert list(found['scales']) == ['image', 'stride4', 'stride8', 'stride16']
    assert found['shape'] == list(SIZE)
    assert found['stock_gmacs'] == pytest.approx(count_network_gmacs(stock, SIZE), rel=1e-12)
    converted = MODELS.build(converted_config('ResNet7', image=True))
    assert found['gmacs'] == pytest.approx(converted.count_gmacs(), rel=1e-12)
    assert str(plan) in tool('convert', 'stock.py', cwd=config)


def test_the_page_of_adopting_shows_what_is_printed(tmp_path):
    """Of MobileNetV2 with an FCN head."""
    model = dict(
        type='EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor', size=(160, 160)),
        backbone=dict(type='MobileNetV2', out_indices=(6, )), train_cfg={}, test_cfg={},
        decode_head=dict(type='FCNHead', in_channels=320, in_index=0, channels=64, num_convs=1,
                         concat_input=False, num_classes=3))
    (tmp_path / 'my_config.py').write_text(Config(dict(model=model)).pretty_text)
    page = (ROOT / 'docs' / 'adopt.md').read_text()
    shown = re.search('```\n(level .+?)```', page, re.DOTALL)[1]
    assert shown in tool('convert', 'my_config.py', cwd=tmp_path)


def test_the_image_level(config):
    """By default a stock segmentor's; of another config as it says; an option decides."""
    plain = result('stock.py', '--no-image', cwd=config)
    assert list(plain['scales']) == ['stride2', 'stride4', 'stride8', 'stride16']
    model = MODELS.build(converted_config('ResNet7'))
    assert plain['gmacs'] == pytest.approx(model.count_gmacs(), rel=1e-12)
    asked = result('converted.py', '--image', cwd=config)
    assert (asked['rule'], list(asked['scales'])) == ('after', ['image', 'stride4', 'stride8'])
    # Of an HRNet made by hand it is the option that conversion has, too.
    hrnet = segmentor_config(image=True, multiple=8, scale=dict(stream1=0.3))
    (config / 'hrnet.py').write_text(Config(dict(model=hrnet)).pretty_text)
    found = result('hrnet.py', cwd=config)
    assert list(found['scales'])[:2] == ['image', 'stride4'] and found['multiple'] == 8


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
    printed = tool('convert', 'swin.py', '--no-image', cwd=config, ok=False)
    assert 'refused: stages.0.downsample.sampler: ' in printed
    assert 'a strided convolution' in printed
    assert 'GMACs of one image of 64 x 96: stock ' in printed
    assert "size alone can be learned: model.dynopool=dict(levels='image')" in printed
    assert list(result('swin.py', cwd=config)['scales']) == ['image']


def test_a_part_of_another_name(tmp_path):
    """The config's converted one by default; in a stock config it is to be named."""
    cfg = parts_config(data_preprocessor=dict(type='SegDataPreProcessor', size=SIZE))
    cfg.dump(tmp_path / 'converted.py')
    stock = MODELS.build(dict(cfg.model, image_encoder=RESNET))
    cfg.model.image_encoder = RESNET
    cfg.dump(tmp_path / 'stock.py')
    found = result('converted.py', cwd=tmp_path)
    assert found == result('stock.py', '--part', 'image_encoder', '--no-image', cwd=tmp_path)
    assert list(found['scales']) == [f'stride{2**k}' for k in range(1, 6)]
    assert found['stock_gmacs'] == pytest.approx(count_network_gmacs(stock, SIZE), rel=1e-12)
    printed = tool('convert', 'stock.py', cwd=tmp_path, ok=False)
    assert "the network has no 'backbone'" in printed and 'image_encoder, others, head' in printed
