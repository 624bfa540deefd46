"""tools/benchmark.py, of a converted network whose first level has the stock scale 0.25."""

import json

import pytest

from support.commands import tool
from support.toys import converted_config


@pytest.mark.parametrize('whole', [False, True])
def test_scales_are_relative_to_the_stock_ones(tmp_path, whole):
    model = converted_config('ResNet7', rule='after', scale=0.7)
    (tmp_path / 'net.py').write_text(f"default_scope = 'mmseg'\nmodel = {model!r}\n")
    printed = tool('benchmark', '--config', 'net.py', '--shape', 64, 96, '--batch', 2, '--repeats',
                   1, '--scales', 0.5, 0.4, '--json', 'result.json', *['--whole'] * whole,
                   cwd=tmp_path)
    assert printed.count('r = 0.4') == 2
    result = json.loads((tmp_path / 'result.json').read_text())
    prefix = 'backbone.' * whole
    assert list(result['scales']) == ['stock', 'r = 0.5', 'r = 0.4']
    assert result['scales']['stock'] == {}
    for scale in (0.5, 0.4):
        assert result['scales'][f'r = {scale}'] == {
            f'{prefix}dynopools.{name}': pytest.approx([part * scale] * 2)
            for name, part in (('stride4', 0.5), ('stride8', 1), ('stride16', 1))}
    for run in ('train_step', 'eval_pass'):
        assert result[f'{run} stock']['ratio'] == 1
        assert result[f'{run} r = 0.4']['ratio'] == pytest.approx(
            result[f'{run} r = 0.4']['median_s'] / result[f'{run} stock']['median_s'])


def test_a_network_without_a_stock_one_is_named(tmp_path):
    model = converted_config()
    del model['dynopool']
    (tmp_path / 'net.py').write_text(f'model = {model!r}\n')
    assert 'neither an HRNet nor a converted network' in tool(
        'benchmark', '--config', 'net.py', cwd=tmp_path, ok=False)
