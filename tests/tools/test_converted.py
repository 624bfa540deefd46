"""A converted network by the command lines: trained, resumed, frozen, segmented, shown."""

import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmseg_dynopool.analysis.cost import stock_model
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.models import count_network_gmacs
from support.commands import scalars, tool
from support.networks import scatter
from support.toys import write_converted_project

CONFIG = 'my_converted_config.py'


@pytest.fixture(scope='module')
def trained(cityscapes, tmp_path_factory):
    """A training of two iterations with a budget and moving averages, resumed for two more.

    Its checkpoint ``learned.pth`` is as if it had been trained for long.
    """
    folder = tmp_path_factory.mktemp('converted')
    write_converted_project(folder, cityscapes, target=0.7)
    with open(folder / CONFIG, 'a') as config:
        config.write("custom_hooks += [dict(type='EMAHook')]\n")
    for end, flags in ((2, []), (4, ['--resume'])):
        tool('train', CONFIG, '--work-dir', 'run', *flags, '--cfg-options',
             f'train_cfg.max_iters={end}', f'train_cfg.val_interval={end}',
             'default_hooks.checkpoint.interval=2', cwd=folder)
    tool('train', 'my_stock_config.py', '--work-dir', 'stock', cwd=folder)
    path = folder / 'run' / 'iter_4.pth'
    scatter(folder / CONFIG, path, cityscapes / 'leftImg8bit' / 'train' / 'town', path)
    return folder


def test_the_training_goes_on_and_logs_sizes(trained):
    lines = [line for line in scalars(trained / 'run') if 'loss' in line]
    assert [line['iter'] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        sizes = [line[f'dynopool/{name}/size_h'] for name in
                 ('input', 'stride2', 'stride4', 'stride8', 'stride16')]
        scales = [line[f'dynopool/stride{k}/scale_h'] for k in (2, 4, 8, 16)]
        assert sizes[0] == 64
        for before, after, scale in zip(sizes, sizes[1:], scales):
            assert after == pytest.approx(before * scale, abs=0.501)
    # Averages and weights alike end at the budget's scales.
    saved = torch.load(trained / 'run' / 'iter_2.pth', weights_only=False)
    state, averages = (saved[key] for key in ('state_dict', 'ema_state_dict'))
    alphas = [key for key in state if key.endswith('.alpha')]
    for key in (*alphas, 'backbone.stem.0.weight'):
        other = averages[f'module.{key}']
        assert torch.equal(state[key], other) == key.endswith('alpha')
        assert state[key].shape == other.shape
    moved = torch.stack([state[key] for key in alphas]) - 2
    assert moved.shape == (4, 2) and moved.abs().amax(1).median() > 0.01
    networks = [load_network(Config.fromfile(trained / CONFIG), path) for path in (
        None, str(trained / 'run' / 'iter_2.pth'))]
    start, end = (count_network_gmacs(network, (64, 64)) for network in networks)
    assert end / start == pytest.approx(0.7, rel=0.02)


def test_frozen_it_segments_alike(trained, cityscapes):
    with pytest.warns(UserWarning, match='the budget is missed: the network costs .* settled'):
        printed = tool('freeze', CONFIG, 'run/iter_4.pth', '--out', 'frozen', cwd=trained)
    assert 'bit for bit' in printed and 'stride2: scale 0.370370 x 0.625000' in printed
    cfg = Config.fromfile(trained / CONFIG)
    cost, initial = (count_network_gmacs(load_network(cfg, path), (64, 64))
                     for path in (str(trained / 'run' / 'iter_4.pth'), None))
    of = "of the cost at the config's initial scales)"
    assert (f'the network costs {cost:.4g} GMACs ({cost / initial:.3f} {of}, and its budget is '
            f'{0.7 * initial:.4g} GMACs (0.700 {of}\n') in printed
    images = cityscapes / 'leftImg8bit' / 'val' / 'town'
    found = []
    for config, weights, out in ((CONFIG, 'run/iter_4.pth', 'a'),
                                 ('frozen/config.py', 'frozen/weights.safetensors', 'b'),
                                 (CONFIG, 'frozen/checkpoint.pth', 'c'),
                                 ('frozen/config.py', 'run/iter_4.pth', 'd')):
        tool('infer', config, weights, images, '--out', out, cwd=trained)
        found.append(np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                               for path in sorted((trained / out / 'labels').iterdir())]))
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert len(np.unique(found[0])) > 1
    assert 'network is the stock one' in tool(
        'infer', 'my_stock_config.py', 'frozen/checkpoint.pth', images, '--out', 'e', cwd=trained,
        ok=False)


def test_the_report(trained):
    tool('report', 'run', '--baseline', 'stock', '--repeats', 1, '--images', 1, cwd=trained)
    page = (trained / 'run' / 'report.html').read_text()
    assert 'baseline (the stock network)' in page and "rule=&#39;before&#39; (default)" in page
    assert 'ResNetV1c + DepthwiseSeparableASPPHead' in page and 'stream' not in page
    drawn = {kind: [(int(h), int(w)) for h, w in re.findall(
        f'class="{kind}" data-h="(\\d+)" data-w="(\\d+)"', page)] for kind in ('run', 'stock')}
    assert drawn['stock'] == [(16, 16), (8, 8), (4, 4), (4, 4)]
    cfg = Config.fromfile(trained / CONFIG)
    model = load_network(cfg, str(trained / 'run' / 'iter_4.pth'))
    assert drawn['run'] == [tuple(y.shape[2:]) for y in model.backbone(torch.zeros(1, 3, 64, 64))]
    stock = load_network(Config(dict(cfg, model=stock_model(cfg.model))), None)
    for network in (model, stock):
        assert f'{sum(p.numel() for p in network.parameters()):,}' in page


def test_the_pictures(trained, cityscapes):
    image = min((cityscapes / 'leftImg8bit' / 'val' / 'town').iterdir())
    printed = tool('visualize', 'receptive-field', CONFIG, 'run/iter_4.pth', image, '--out',
                   'fields.png', cwd=trained)
    rows = [[cell.strip() for cell in line.split('│')] for line in printed.splitlines()
            if 'output 0' in line]
    assert [row[2:4] for row in rows] == [['learned', '11 x 56'], ['r = 0.5', '20 x 36']]
    tool('visualize', 'shapes', 'run', '--out', 'shapes', cwd=trained)
    tool('visualize', 'shapes', '--config', CONFIG, '--checkpoint', 'run/iter_4.pth', '--out',
         'net.png', cwd=trained)
    for name in ('fields.png', 'shapes/evolution.png', 'shapes/network.png', 'net.png'):
        assert cv2.imread(str(trained / name)).std() > 10
    for name in ('shapes', 'receptive-field'):
        arguments = {'shapes': ['--config', CONFIG, '--checkpoint', 'stock/iter_3.pth'],
                     'receptive-field': [CONFIG, 'stock/iter_3.pth', image]}[name]
        assert 'holds no learned scale' in tool('visualize', name, *arguments, '--out', 'no.png',
                                                cwd=trained, ok=False)
