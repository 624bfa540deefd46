"""docs/table3.md: the shares in it, counted another way."""

import re

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmpretrain', reason='make test-classification has an environment with it')

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.layers.find import all_pools
from study import table3
from support.toys import ROOT


def test_the_page_is_what_the_tool_writes(tmp_path, monkeypatch):
    page = (ROOT / 'docs' / 'table3.md').read_text()
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.setattr(table3, 'ROOT', tmp_path)
    table3.write_page()
    assert (tmp_path / 'docs' / 'table3.md').read_text() == page
    rows = re.findall(r'\| (\S+) \| (\S+) \| ([\d.]+) \| ([\d.]+) % \| ([\d.]+) % \|', page)
    assert len(rows) == 9
    for network, data, _, ours, printed in rows:
        if network == 'MobileNetV2' or (network == 'ResNet-50' and data != 'CIFAR-100'):
            assert float(ours) == pytest.approx(float(printed), rel=0.04)


@pytest.mark.parametrize('network', ['vgg16', 'mobilenet_v2'])
def test_shares_by_the_sizes_of_real_outputs(network):
    """16 multiply-adds for each value that comes out of a DynOPool."""
    config = Config.fromfile(ROOT / f'configs/classification/{network}_dynopool_s_cifar100.py')
    model = load_network(config, None)
    values = []
    for pool in all_pools(model).values():
        pool.register_forward_hook(lambda module, args, output: values.append(output.numel()))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32), mode='tensor')
    counted = table3.count(network, 'cifar100')
    expected = 16 * sum(values) / 1e9
    assert sum(counted.values()) - counted['rest'] == pytest.approx(expected, rel=1e-9)
    assert table3.percent(counted) == pytest.approx(100 * expected / (
        expected + counted['rest']), rel=1e-9)
    low, high = table3.implied(counted, table3.percent(counted))
    assert low < 16 < high
