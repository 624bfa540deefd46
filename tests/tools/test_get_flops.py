"""tools/get_flops.py: at the learned sizes of a checkpoint."""

import json

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from support.commands import tool, tool_process
from support.toys import ROOT

DEMO = ROOT / 'configs' / 'demo_dynopool_mni152.py'


def test_checkpoint_counts(tmp_path):
    model = MODELS.build(Config.fromfile(DEMO).model)
    with torch.no_grad():
        model.backbone.dynopools['stream1'].alpha.copy_(torch.tensor([4.0, 2.5]))
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'learned.pth')
    shape = ['--shape', 128, 160]
    start, learned = (
        json.JSONDecoder().raw_decode(printed[printed.index('{'):])[0] for printed in (
            tool('get_flops', DEMO, *shape, '--json', cwd=tmp_path),
            tool_process('get_flops', DEMO, 'learned.pth', *shape, '--json', cwd=tmp_path)))
    assert learned['stock_gmacs'] == start['stock_gmacs'] < start['gmacs']
    assert learned['gmacs'] == pytest.approx(model.count_gmacs((128, 160)))
    assert learned['gmacs'] < 0.9 * start['gmacs']
    assert learned['instances']['stream1']['output_size'] == [8, 16]
    assert learned['instances']['stream1']['scale'] == pytest.approx([0.25, 0.4])


def test_table_and_default_shape(tmp_path):
    printed = tool('get_flops', DEMO, cwd=tmp_path)
    for words in ('at 160 x 160', 'learned', 'stock', 'stream1 x stream2', 'backbone.stage3',
                  '20 x 20'):
        assert words in printed


def test_a_network_without_dynopool_is_named(tmp_path):
    printed = tool('get_flops', ROOT / 'configs' / 'demo_fixed_mni152.py', cwd=tmp_path,
                   ok=False)
    assert 'holds no DynOPool' in printed
    printed = tool('get_flops', 'lost.py', cwd=tmp_path, ok=False)
    assert "there is no config 'lost.py'" in printed
