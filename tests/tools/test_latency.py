"""tools/latency.py: fits, writes, and compares a trained network with what was written."""

import re

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.costs import LatencyModel
from mmseg_dynopool.layers import learned_pools
from support.commands import tool
from support.toys import segmentor_config


def test_fit_and_comparison(tmp_path):
    config = tmp_path / 'net.py'
    config.write_text(f"default_scope = 'mmseg'\nmodel = {segmentor_config(gmacs_weight=0.1)!r}\n")
    printed = tool('latency', config, '--shape', 64, 96, '--settings', 8, '--repeats', 2,
                   '--batch', 2, cwd=tmp_path)
    for words in ('2 x 64 x 96', 'stream1 x stream2', 'none: constant', 'leave-one-out error',
                  'written: latency.json'):
        assert words in printed
    found = LatencyModel.load(tmp_path / 'latency.json')
    assert (found.shape, found.batch, len(found.settings)) == ((64, 96), 2, 8)
    assert found.start_ms > 0 and found.torch == torch.__version__

    model = MODELS.build(Config.fromfile(config).model)
    with torch.no_grad():
        for pool in learned_pools(model).values():
            pool.alpha.copy_(torch.tensor([4.0, 2.5]))
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'learned.pth')
    printed = tool('latency', config, 'learned.pth', '--against', 'latency.json', cwd=tmp_path)
    said = float(re.search(r'the model says ([\d.]+) ms', printed)[1])
    alphas = {name: pool.alpha.detach() for name, pool in learned_pools(model).items()}
    assert said == pytest.approx(found.milliseconds(alphas).item(), rel=1e-3)
