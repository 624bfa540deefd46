"""The five-line config in somebody else's project, and the two-process launch."""

import sys

from support.commands import call, tool
from support.toys import ROOT, write_project

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
    printed = call(sys.executable, script, tmp_path / 'project' / 'my_dynopool_config.py',
                   cwd=tmp_path / 'elsewhere')
    assert 'DynOPoolEncoderDecoder DynOPoolHRNet' in printed
    assert 'lr of alpha [0.005, 0.005, 0.005]' in printed
    assert 'dynopool/stream3/scale_w' in printed and 'mIoU' in printed
    assert (tmp_path / 'elsewhere' / 'run' / 'iter_3.pth').is_file()


def test_two_processes_through_the_launcher(cityscapes, tmp_path):
    write_project(tmp_path, cityscapes)
    config = tmp_path / 'my_dynopool_config.py'
    printed = call('bash', ROOT / 'tools' / 'dist_train.sh', config, 2, '--work-dir', 'run',
                   cwd=tmp_path)
    assert 'Iter(train) [3/3]' in printed
    printed = call('bash', ROOT / 'tools' / 'dist_test.sh', config, 'run/iter_3.pth', 2,
                   '--work-dir', 'run', cwd=tmp_path)
    assert 'mIoU' in printed


def test_mixed_precision_on_the_cpu(cityscapes, tmp_path):
    write_project(tmp_path, cityscapes)
    printed = tool('train', tmp_path / 'my_dynopool_config.py', '--amp', '--work-dir', 'run',
                   cwd=tmp_path)
    assert 'CPUAmpOptimWrapper' in printed and 'Iter(train) [3/3]' in printed
