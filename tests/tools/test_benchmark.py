"""tools/benchmark.py, of a converted network whose first level has the stock scale 0.25."""

import json

import pytest

from support.commands import tool
from support.toys import converted_config, segmentor_config


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


def test_pairs_and_the_stem(tmp_path):
    (tmp_path / 'net.py').write_text(f"default_scope = 'mmseg'\nmodel = {segmentor_config()!r}\n")
    tool('benchmark', '--config', 'net.py', '--shape', 64, 96, '--batch', 2, '--repeats', 1,
         '--scales', '0.4x0.3', 'stem:0.4', '--channels-last', '--json', 'result.json',
         cwd=tmp_path)
    result = json.loads((tmp_path / 'result.json').read_text())
    pair, stem = result['scales']['r = 0.4x0.3'], result['scales']['r = stem:0.4']
    assert list(pair.values()) == [pytest.approx([0.4, 0.3])] * 3
    assert list(stem.values()) == [pytest.approx([0.4, 0.4])] * 5
    ratios = [result[f'eval_pass {name}']['gmacs_ratio'] for name in (
        'stock', 'r = 0.4x0.3', 'r = stem:0.4')]
    assert ratios[0] == 1 > ratios[1] > ratios[2]


def test_the_image_is_whole_but_where_it_is_named(tmp_path):
    model = converted_config('ResNet7', image=True, scale=dict(image=0.5))
    (tmp_path / 'net.py').write_text(f"default_scope = 'mmseg'\nmodel = {model!r}\n")
    tool('benchmark', '--config', 'net.py', '--shape', 64, 96, '--batch', 2, '--repeats', 1,
         '--scales', '0.4', 'image:0.5x1', '--json', 'result.json', cwd=tmp_path)
    result = json.loads((tmp_path / 'result.json').read_text())
    inner, image = (list(result['scales'][f'r = {text}'].values())
                    for text in ('0.4', 'image:0.5x1'))
    assert inner[0] == [1, 1] and inner[1:] == [pytest.approx([0.4, 0.4])] * 3
    assert image[0] == pytest.approx([0.5, 1]) and image[1:] == [[0.5, 0.5]] * 3
    ratio = result['eval_pass r = image:0.5x1']['gmacs_ratio']
    assert ratio == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize('scale', ['0', '0.4x', 'steam:0.4', '0.4x0.3x0.2'])
def test_a_scale_that_is_none_is_named(tmp_path, scale):
    assert (f'must be a scale such as 0.4, or 0.4x0.36, or stem:0.42, or image:0.7, got {scale!r}'
            in tool('benchmark', '--scales', scale, cwd=tmp_path, ok=False))


def test_a_network_without_a_stock_one_is_named(tmp_path):
    model = converted_config()
    del model['dynopool']
    (tmp_path / 'net.py').write_text(f'model = {model!r}\n')
    assert 'neither an HRNet nor a converted network' in tool(
        'benchmark', '--config', 'net.py', cwd=tmp_path, ok=False)
