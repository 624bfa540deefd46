"""The command shapes: which files it writes, and what it says."""

import argparse
import json

import cv2
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.report import shapes
from support.toys import ROOT

DEMO = str(ROOT / 'configs' / 'demo_dynopool_mni152.py')


def call(*args):
    parser = argparse.ArgumentParser()
    shapes.add_options(parser)
    shapes.run(parser.parse_args([str(arg) for arg in args]))


def write_run(folder, sizes=True):
    path = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    with path.open('w') as file:
        for step in (10, 20):
            line = dict(iter=step, step=step)
            for axis, size in (('h', 160), ('w', 160)):
                line[f'dynopool/stream1/scale_{axis}'] = 0.5 - step / 1000
                if sizes:
                    line |= {f'dynopool/input/size_{axis}': size,
                             f'dynopool/stream0/size_{axis}': size // 4,
                             f'dynopool/stream1/size_{axis}': size // 9}
            file.write(json.dumps(line) + '\n')
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    model = MODELS.build(Config.fromfile(DEMO).model)
    with torch.no_grad():
        model.backbone.dynopools['stream1'].alpha.copy_(torch.tensor([4.0, 2.5]))
    path = tmp_path / 'learned.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


@pytest.fixture
def drawn(monkeypatch):
    """Sizes of the networks handed to the drawing."""
    seen = []
    draw = shapes.draw_network
    monkeypatch.setattr(shapes, 'draw_network', lambda figure, networks: (
        seen.extend(networks), draw(figure, networks)))
    return seen


def test_a_folder_or_one_file(tmp_path, capsys):
    log = write_run(tmp_path / 'run')
    call(log, '--out', tmp_path / 'out')
    call(log, '--out', tmp_path / 'both.png')
    call(log, '--out', tmp_path / 'both.SVG')
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*')
             if path.is_file() and path.suffix != '.json'}
    assert found == {'out/evolution.png', 'out/network.png', 'both.png', 'both.SVG'}
    heights = {path.name: cv2.imread(str(path)).shape[0] for path in tmp_path.rglob('*.png')}
    assert heights['both.png'] == pytest.approx(heights['evolution.png'] + heights['network.png'],
                                                abs=2)
    assert '<svg' in (tmp_path / 'both.SVG').read_text()
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / name) for name in ('out/evolution.png', 'out/network.png', 'both.png',
                                          'both.SVG')]


def test_a_checkpoint_beside_logs_without_sizes(tmp_path, checkpoint, drawn, capsys):
    log = write_run(tmp_path / 'old', sizes=False)
    call(log, '--config', DEMO, '--checkpoint', checkpoint, '--out', tmp_path / 'out')
    network, = drawn
    assert network.name == 'learned.pth' and network.input_size == (160, 160)
    assert network.sizes == dict(image=(160, 160), stream0=(40, 40), stream1=(10, 16),
                                 stream2=(5, 8), stream3=(3, 4))
    assert 'their logs hold no sizes: old; give --config' in capsys.readouterr().out


def test_a_network_alone_at_another_size(tmp_path, drawn):
    """The option's size, else that at which its cost counts, else the crop."""
    for options in (['--shape', 64, 96], ['--cfg-options', 'custom_hooks.0.gmacs_shape=(64,96)'],
                    []):
        call('--config', DEMO, '--out', tmp_path, *options)
    assert [network.sizes['stream1'] for network in drawn] == [(8, 12), (8, 12), (20, 20)]
    assert [path.name for path in tmp_path.iterdir()] == ['network.png']


@pytest.mark.parametrize('args, message', [
    (['--out', 'out'], 'nothing to draw'),
    (['--checkpoint', 'x.pth', 'run', '--out', 'out'], 'needs --config'),
    (['run', '--out', 'picture.gif'], r'suffixes \.png, \.pdf, \.svg'),
    (['run', '--out', 'run/20260101_000000/vis_data/scalars.json/x'], 'is a file'),
    (['lost', '--out', 'out'], "no work dir or log 'lost'"),
    (['run', '--config', DEMO, '--shape', '64', '96', '--out', 'out'], 'inputs of one size'),
    (['--config', DEMO.replace('dynopool', 'fixed'), '--out', 'out'], 'holds no DynOPool'),
    (['--config', DEMO, '--checkpoint', 'lost.pth', '--out', 'out'], 'lost.pth'),
    (['--config', DEMO, '--cfg-options', 'model.data_preprocessor.size=None', '--out', 'out'],
     'names no training crop; give --shape H W'),
])
def test_bad_input_is_named_and_nothing_written(tmp_path, monkeypatch, args, message):
    write_run(tmp_path / 'run')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        call(*args)
    assert [path.name for path in tmp_path.iterdir()] == ['run']
