"""The command lines in a project whose data, types and runner are not mmseg's: support.bands."""

import contextlib
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.resume.latest import checkpoint_differences
from support.bands import bands_config, write_bands
from support.commands import own_environment, own_singletons, tool
from support.toys import ROOT

NOTES = ["it's {{ fileDirname }}", '{{$HOME:here}}', 'two\nlines', 1e400]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The project with a run of two iterations, and its log."""
    folder = tmp_path_factory.mktemp('project')
    cfg = bands_config(write_bands(folder / 'data'), runner_type='support.bands.OwnRunner',
                       notes=NOTES)
    cfg.model.backbone.update(type='support.bands.Worded', pretrained='dino')
    cfg.train_dataloader.sampler = dict(type='support.bands.HouseSampler')
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
    cfg.default_hooks.checkpoint.by_epoch = True
    (folder / 'net.py').write_text(config_text(cfg))
    return folder, tool('train', 'net.py', '--work-dir', 'run', cwd=folder)


def maps(folder):
    return np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                     for path in sorted(folder.glob('*.png'))])


def test_it_trains_with_its_own_runner_and_resumes_bit_for_bit(trained):
    folder, log = trained
    assert 'a runner of its own trains' in log and log.count('Iter(val) [2/2]') == 2
    shutil.copytree(folder / 'run', folder / 'killed')
    (folder / 'killed' / 'epoch_2.pth').unlink()
    (folder / 'killed' / 'last_checkpoint').unlink()
    log = tool('train', 'net.py', '--work-dir', 'killed', '--resume', cwd=folder)
    assert 'resumed epoch: 1' in log and log.count('Iter(val) [2/2]') == 1
    assert checkpoint_differences(*(folder / run / 'epoch_2.pth' for run in ('run', 'killed'))
                                  ) == []


def test_it_is_tested_segmented_and_frozen(trained):
    folder, log = trained
    tested = tool('test', 'net.py', 'run/epoch_2.pth', '--work-dir', 'test', '--out', 'maps',
                  cwd=folder)
    miou = [re.findall(r'\bmIoU: (\d+\.\d+)', text)[-1] for text in (log, tested)]
    assert miou[0] == miou[1] and 'cost of one image: 0.0' in tested
    tool('infer', 'net.py', 'run/epoch_2.pth', 'data/images/val', '--out', 'out', cwd=folder)
    found = maps(folder / 'out' / 'labels')
    assert found.shape == (4, 48, 64) and np.array_equal(found, maps(folder / 'maps'))
    printed = tool('freeze', 'net.py', 'run/epoch_2.pth', '--out', "it's frozen", cwd=folder)
    assert 'bit for bit' in printed
    frozen = folder / "it's frozen"
    cfg = Config.fromfile(frozen / 'config.py')
    assert cfg.load_from == str(frozen / 'checkpoint.pth') and cfg.notes == NOTES
    tool('infer', frozen / 'config.py', frozen / 'checkpoint.pth', 'data/images/val', '--out',
         'again', cwd=folder)
    assert np.array_equal(found, maps(folder / 'again' / 'labels'))
    log = tool('train', frozen / 'config.py', '--work-dir', 'on', '--cfg-options',
               'train_cfg.max_epochs=1', cwd=folder)
    assert f'Load checkpoint from {frozen}' in log.replace('Loads', 'Load')
    assert tool('report', 'run', '--repeats', 1, cwd=folder).strip().endswith('run/report.html')


LAZY = """
from mmcv.transforms import BaseTransform
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import IterBasedTrainLoop
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.models import CrossEntropyLoss, FCNHead, ResNet, SegDataPreProcessor
from torch.nn import SyncBatchNorm
from torch.optim import AdamW

from mmseg_dynopool import DynOPoolEncoderDecoder, DynOPoolHook
from support.bands import BandsDataset, ReadBands

default_scope = None
model = dict(
    type=DynOPoolEncoderDecoder, dynopool=dict(rule='before'),
    data_preprocessor=dict(type=SegDataPreProcessor, size=(48, 64)),
    backbone=dict(type=ResNet, depth=18, in_channels=12, base_channels=8,
                  norm_cfg=dict(type=SyncBatchNorm)),
    decode_head=dict(type=FCNHead, in_channels=64, channels=8, num_classes=2,
                     loss_decode=dict(type=CrossEntropyLoss)),
    test_cfg=dict(mode='whole'))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type=DefaultSampler), dataset=dict(
        type=BandsDataset, data_root='data',
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[dict(type=ReadBands), dict(type=LoadAnnotations), dict(type=PackSegInputs)]))
test_pipeline = train_dataloader['dataset']['pipeline']
optim_wrapper = dict(type=AmpOptimWrapper, optimizer=dict(type=AdamW, lr=0.01))
train_cfg = dict(type=IterBasedTrainLoop, max_iters=1)
default_hooks = dict(logger=dict(type=LoggerHook, interval=1),
                     checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=1))
custom_hooks = [dict(type=DynOPoolHook)]
"""


def test_a_config_of_classes(trained):
    """mmengine's newer way to write them, in mixed precision."""
    folder, _ = trained
    (folder / 'lazy.py').write_text(LAZY)
    log = tool('train', 'lazy.py', '--work-dir', 'lazy', '--amp', cwd=folder)
    assert 'dynopool/stride2/scale_h' in log and 'in its own way' not in log
    assert 'Config' not in Config.fromfile(folder / 'lazy' / 'lazy.py').model.type
    tool('infer', 'lazy.py', 'lazy/iter_1.pth', 'data/images/val/0.npy', '--out', 'one', cwd=folder)
    assert 'bit for bit' in tool('freeze', 'lazy.py', 'lazy/iter_1.pth', '--out', 'ice', cwd=folder)
    cfg = Config.fromfile(folder / 'ice' / 'config.py')
    assert cfg.model.backbone.dynopool.learn is False and cfg.custom_hooks == []


def test_the_lines_of_the_page_over_a_config_of_classes(tmp_path):
    stock = LAZY.replace('DynOPoolEncoderDecoder', 'EncoderDecoder').replace(
        'from mmseg_dynopool import EncoderDecoder, DynOPoolHook',
        'from mmseg.models import EncoderDecoder').replace("dynopool=dict(rule='before'),", '')
    (tmp_path / 'my_config.py').write_text(stock.replace('[dict(type=DynOPoolHook)]', '[]'))
    page = (ROOT / 'docs' / 'adopt.md').read_text()
    lines, = [block for block in re.findall(r'```python\n(.*?)```', page, re.DOTALL)
              if 'read_base' in block]
    (tmp_path / 'child.py').write_text(textwrap.dedent(lines))
    cfg = Config.fromfile(tmp_path / 'child.py')
    model = load_network(cfg, None)
    assert list(model.backbone.dynopools) == [
        'image', 'stride4', 'stride8', 'stride16', 'stride32']
    assert cfg.custom_hooks[0].gmacs_budget == dict(target=0.5)


@pytest.mark.parametrize('name', ['get_flops', 'convert', 'analyze_dataset'])
def test_the_result_alone_goes_to_stdout(trained, name):
    """Whatever a config, or a package that it imports, prints."""
    folder, _ = trained
    (folder / 'loud.py').write_text("_base_ = './net.py'\nprint('loud', {'no': 'result'})\n")
    path = str(ROOT / 'tools' / f'{name}.py')
    out, err = io.StringIO(), io.StringIO()
    with own_singletons(), own_environment(), pytest.MonkeyPatch.context() as patch, \
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, 'argv', [path, 'loud.py', '--json'])
        patch.chdir(folder)
        runpy.run_path(path, run_name='__main__')
    assert isinstance(json.loads(out.getvalue()), dict) and 'loud' in err.getvalue()


def test_in_a_process_of_its_own(trained):
    """Nor do packages print to stdout while they are imported."""
    folder, _ = trained
    done = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'get_flops.py', 'net.py', '--json'], cwd=folder,
        capture_output=True, text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=f'{ROOT}{os.pathsep}{ROOT / "tests"}'))
    assert json.loads(done.stdout)['shape'] == [48, 64], done.stderr[-3000:]
