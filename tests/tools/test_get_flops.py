"""tools/get_flops.py: at the learned sizes of a checkpoint."""

import json
from collections import Counter

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.costs import GMACsCounter
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.commands import tool, tool_process
from support.parts_network import RESNET, parts_config
from support.toys import ROOT, converted_config

DEMO = ROOT / 'configs' / 'demo_dynopool_mni152.py'


def test_checkpoint_counts(tmp_path):
    model = MODELS.build(Config.fromfile(DEMO).model)
    with torch.no_grad():
        model.backbone.dynopools['image'].alpha.copy_(torch.tensor([1.25, 1.0]))
        model.backbone.dynopools['stream1'].alpha.copy_(torch.tensor([4.0, 2.5]))
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'learned.pth')
    shape = ['--shape', 128, 160]
    start, learned = (
        json.JSONDecoder().raw_decode(printed[printed.index('{'):])[0] for printed in (
            tool('get_flops', DEMO, *shape, '--json', cwd=tmp_path),
            tool_process('get_flops', DEMO, 'learned.pth', *shape, '--json', cwd=tmp_path)))
    assert learned['stock_gmacs'] == start['stock_gmacs'] < start['gmacs']
    assert learned['gmacs'] == pytest.approx(count_network_gmacs(model, (128, 160)))
    assert learned['gmacs'] < 0.75 * start['gmacs']
    assert learned['instances']['image'] == dict(
        scale=pytest.approx([0.8, 1]), input_size=[128, 160], output_size=[104, 160])  # of 102.4
    assert learned['instances']['stream1']['output_size'] == [7, 16]
    assert learned['instances']['stream1']['scale'] == pytest.approx([0.25, 0.4])


def test_table_and_default_shape(tmp_path):
    printed = tool('get_flops', DEMO, cwd=tmp_path)
    for words in ('at 160 x 160', 'learned', 'stock', 'image x stream1 x stream2',
                  'backbone.stage3', '20 x 20'):
        assert words in printed


def test_a_network_without_dynopool(tmp_path):
    """Its totals are those that stand beside the network that learns."""
    fixed, learned = (ROOT / 'configs' / f'demo_{kind}_mni152.py' for kind in ('fixed', 'dynopool'))
    printed = tool('get_flops', fixed, '--json', cwd=tmp_path)
    found = json.JSONDecoder().raw_decode(printed[printed.index('{'):])[0]
    printed = tool('get_flops', learned, '--json', cwd=tmp_path)
    beside = json.JSONDecoder().raw_decode(printed[printed.index('{'):])[0]
    assert found == dict(shape=beside['shape'], params=beside['stock_params'],
                         gmacs=pytest.approx(beside['stock_gmacs'], rel=1e-9))
    printed = tool('get_flops', fixed, cwd=tmp_path)
    assert f'{found["params"]:,} parameters, {found["gmacs"]:.4g} GMACs' in printed
    printed = tool('get_flops', 'lost.py', cwd=tmp_path, ok=False)
    assert "there is no config 'lost.py'" in printed


@pytest.mark.parametrize('kind, rule', [('ResNet7', 'after'), ('UNet', 'before')])
def test_the_stock_column_of_a_converted_network(tmp_path, kind, rule):
    """It is the stock network's own count, also where a convolution ran before its DynOPool."""
    model = converted_config(kind, rule=rule)
    (tmp_path / 'net.py').write_text(f"default_scope = 'mmseg'\nmodel = {model!r}\n")
    printed = tool('get_flops', 'net.py', '--shape', 64, 96, '--json', cwd=tmp_path)
    found = json.JSONDecoder().raw_decode(printed[printed.index('{'):])[0]
    stock = MODELS.build(dict({k: v for k, v in model.items() if k not in (
        'gmacs_weight', 'dynopool')}, type='EncoderDecoder'))
    calls = GMACsCounter(stock, (64, 96), 3, forward_without_postprocessing).calls()
    by_module = Counter()
    for call in calls:
        by_module['.'.join(call.module.split('.')[:2])] += call.macs / 1e9
    assert found['stock_gmacs'] == pytest.approx(sum(by_module.values()))
    assert {name: row['stock_gmacs'] for name, row in found['by_module'].items()
            if name != 'backbone.dynopools'} == pytest.approx(by_module)
    assert sum(row['stock_gmacs'] for row in found['by_resolution'].values()) == pytest.approx(
        found['stock_gmacs'])
    assert found['stock_params'] == sum(p.numel() for p in stock.parameters())
    assert found['gmacs'] / found['stock_gmacs'] > (1.5 if rule == 'after' else 1)
    sizes = [row['output_size'] for row in found['instances'].values()]
    assert sizes == ([[16, 24], [8, 12], [4, 6]] if kind == 'ResNet7' else [[32, 48], [16, 24]])


def test_a_network_without_backbone(tmp_path):
    """Its class takes nothing but its parts."""
    cfg = parts_config()
    cfg.dump(tmp_path / 'net.py')
    printed = tool('get_flops', 'net.py', '--shape', 64, 96, '--json', cwd=tmp_path)
    found = json.JSONDecoder().raw_decode(printed[printed.index('{'):])[0]
    stock, learned = (MODELS.build(dict(cfg.model, image_encoder=encoder))
                      for encoder in (RESNET, cfg.model.image_encoder))
    assert [found['stock_gmacs'], found['gmacs']] == pytest.approx(
        [count_network_gmacs(network, (64, 96)) for network in (stock, learned)])
