"""The five-line config in somebody else's project."""

import sys

import pytest

from support.commands import process, scalars, tool
from support.toys import write_project

MMSEG_ALONE = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile(sys.argv[1])
cfg.work_dir = 'run'
runner = Runner.from_cfg(cfg)
runner.train()
print(type(runner.model).__name__, type(runner.model.backbone).__name__)
print('lr of alpha', [g['initial_lr'] if 'initial_lr' in g else g['lr']
                      for g in runner.optim_wrapper.param_groups if 'lr_mult' in g])
"""


def test_five_lines_in_an_existing_project(cityscapes, tmp_path):
    """Through mmengine's runner, as mmseg's own train.py uses it, from another folder."""
    write_project(tmp_path / 'project', cityscapes)
    script = tmp_path / 'train.py'
    script.write_text(MMSEG_ALONE)
    (tmp_path / 'elsewhere').mkdir()
    printed = process(sys.executable, script, tmp_path / 'project' / 'my_dynopool_config.py',
                      cwd=tmp_path / 'elsewhere')
    assert 'DynOPoolEncoderDecoder DynOPoolHRNet' in printed
    assert 'lr of alpha [0.002, 0.002, 0.002]' in printed
    assert (tmp_path / 'elsewhere' / 'run' / 'iter_3.pth').is_file()
    *steps, validated = scalars(tmp_path / 'elsewhere' / 'run')
    assert [line['dynopool/stream3/scale_w'] for line in steps] == pytest.approx([0.5] * 3, abs=0.1)
    assert f"mIoU: {validated['mIoU']:.4f}" in printed


def test_mixed_precision_on_the_cpu(cityscapes, tmp_path):
    write_project(tmp_path, cityscapes)
    printed = tool('train', 'my_dynopool_config.py', '--amp', '--work-dir', 'run', cwd=tmp_path)
    assert 'CPUAmpOptimWrapper' in printed
    tool('train', 'my_dynopool_config.py', '--work-dir', 'plain', cwd=tmp_path)
    half, full = ([line['loss'] for line in scalars(tmp_path / name) if 'loss' in line]
                  for name in ('run', 'plain'))
    assert half != full and half == pytest.approx(full, rel=0.02)
