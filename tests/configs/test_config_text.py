"""Configs as text are read back as they were, whatever their values contain."""

import math
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from torch import nn

from mmseg_dynopool.checkpoints.runner import build_runner
from mmseg_dynopool.config_text import config_text
from support.bands import bands_config, write_bands

NASTY = [
    "it's", '"quoted"', '"""', "'''", '{{ fileDirname }}', '{{fileBasename}}', '{{{{ x }}}}', '{{{',
    '{{$HOME:/nowhere}}', "{{'$HOME:1'}}", '{{ _base_.model }}', '{% raw %}', '{# no comment', '%s',
    '100 %', 'two\nlines\r\n', '\ttab', 'back\\slash\\', '\\{{ fileDirname }}', '\N{SNOWMAN} é 中',
    '\u2028', '\x00\x7f', '\udcff', '', ' ', '$a^b$', '#', 'import os', '_base_ = 1', 'lambda: 0']


def read_back(cfg, folder, name='config.py'):
    (folder / name).write_bytes(config_text(cfg).encode())
    return Config.fromfile(folder / name).to_dict()


def test_any_text_as_a_value_and_as_a_key(tmp_path):
    cfg = Config(dict(
        values=NASTY, keys={text: i for i, text in enumerate(NASTY)}, deep=dict(
            model=[dict(prompt=text, pair=(text, [text])) for text in NASTY])))
    cfg['my-key'], cfg['class'], cfg["it's {{ fileDirname }}"] = 1, 2, 3
    assert read_back(cfg, tmp_path) == cfg.to_dict()


def test_names_that_python_has_too(tmp_path):
    cfg = Config({'set': 'train', 'dict': 1, 'float': 2, 'locals': 3, 'my-key': {4}, 'top': dict(
        letters={'b'}, limit=math.inf)})
    assert read_back(cfg, tmp_path) == cfg.to_dict()


def test_names_of_folders(tmp_path):
    folder = tmp_path / 'it\'s "a" {{b}} 100% é'
    folder.mkdir()
    cfg = Config(dict(work_dir=str(folder)))
    assert read_back(cfg, folder) == dict(work_dir=str(folder))


def test_values_of_every_kind(tmp_path):
    values = dict(
        none=None, yes=True, whole=-3, tiny=1e-300, limit=math.inf, low=-math.inf, empty=[],
        pair=(1, ), nothing=(), nested=dict(), by_number={1: 'a', (2, 3): 'b', None: 'c'},
        keywords={'lambda': 1, 'from': 2}, letters={'b', 'a'}, raw=b'{{ fileDirname }}\x00\xff',
        steps=range(3), part=slice(1, None), name=Config.__name__, builtin=[len, dict],
        long=[dict(type='Normalize', mean=[123.675, 116.28, 103.53], to_rgb=True)] * 3)
    found = read_back(Config(dict(values)), tmp_path)
    assert found == values
    assert str(read_back(Config(dict(x=[math.nan])), tmp_path)['x']) == '[nan]'


def test_what_becomes_a_text_or_a_list(tmp_path):
    cfg = Config(dict(kind=nn.Conv2d, function=nn.functional.relu, path=Path('a') / "b's",
                      color=np.uint8(7), scale=np.float64(0.5), table=np.eye(2)))
    assert read_back(cfg, tmp_path) == dict(
        kind='torch.nn.modules.conv.Conv2d', function='torch.nn.functional.relu', path="a/b's",
        color=7, scale=0.5, table=[[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize('value', [object(), lambda x: x, nn.ReLU()])
def test_what_no_config_can_say_is_named(value):
    with pytest.raises(ValueError, match=r'^model\.0\.act=.* cannot be written in a config; give'):
        config_text(Config(dict(model=[dict(act=value)])))


def test_a_run_writes_its_config_so_that_it_is_read_back(tmp_path):
    """mmengine's own text would have the braces replaced by the folder of the copy."""
    cfg = bands_config(write_bands(tmp_path / 'data'), work_dir=str(tmp_path / "it's a run"),
                       prompts=NASTY)
    (tmp_path / 'net.py').write_bytes(config_text(cfg).encode())
    runner = build_runner(Config.fromfile(tmp_path / 'net.py'))
    copied = Config.fromfile(tmp_path / "it's a run" / 'net.py')
    assert copied.prompts == NASTY and copied.to_dict() == runner.cfg.to_dict()
