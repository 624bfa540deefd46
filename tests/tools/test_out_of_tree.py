"""The four-line config in somebody else's project."""

import pytest
from mmengine.config import Config

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.models import count_network_gmacs
from support.commands import scalars, script, tool
from support.toys import readme_config, write_project

MMSEG_ALONE = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
cfg = Config.fromfile(sys.argv[1])
cfg.work_dir = 'run'
runner = Runner.from_cfg(cfg)
runner.train()
print(type(runner.model).__name__, type(runner.model.backbone).__name__)
print('groups of the optimizer', len(runner.optim_wrapper.param_groups))
"""


def test_four_lines_in_an_existing_project(cityscapes, tmp_path):
    """Through mmengine's runner, as mmseg's own train.py uses it, from another folder."""
    write_project(tmp_path / 'project', cityscapes)
    (tmp_path / 'project' / 'my_dynopool_config.py').write_text(readme_config())
    mmseg_alone = tmp_path / 'train.py'
    mmseg_alone.write_text(MMSEG_ALONE)
    (tmp_path / 'elsewhere').mkdir()
    printed = script(mmseg_alone, tmp_path / 'project' / 'my_dynopool_config.py',
                     cwd=tmp_path / 'elsewhere')
    assert '\nEncoderDecoder DynOPoolHRNet' in printed
    assert 'groups of the optimizer 1' in printed
    *steps, validated = scalars(tmp_path / 'elsewhere' / 'run')
    assert [line['gmacs_plan'] for line in steps] == pytest.approx(
        [1, 0.5**((1 / 3 - 0.1) / 0.4), 0.5])
    config = Config.fromfile(tmp_path / 'project' / 'my_dynopool_config.py')
    networks = [load_network(config, path) for path in (
        None, str(tmp_path / 'elsewhere' / 'run' / 'iter_3.pth'))]
    start, end = (count_network_gmacs(network, (64, 64)) for network in networks)
    # Steps of 4 of 64 pixels are coarse, and the log says what they leave.
    assert end / start == pytest.approx(0.5, rel=0.05)
    assert f'the scales have settled at {end:.4g} GMACs as counted' in printed
    assert next(iter(networks[1].backbone.dynopools)) == 'image'
    for name, pool in networks[1].backbone.dynopools.items():
        assert [steps[-1][f'dynopool/{name}/scale_{axis}'] for axis in 'hw'] == pytest.approx(
            pool.scale.tolist(), rel=1e-6)
    assert f"mIoU: {validated['mIoU']:.4f}" in printed


def test_mixed_precision_on_the_cpu(cityscapes, tmp_path):
    write_project(tmp_path, cityscapes)
    printed = tool('train', 'my_dynopool_config.py', '--amp', '--work-dir', 'run', cwd=tmp_path)
    assert 'CPUAmpOptimWrapper' in printed
    tool('train', 'my_dynopool_config.py', '--work-dir', 'plain', cwd=tmp_path)
    half, full = ([line['loss'] for line in scalars(tmp_path / name) if 'loss' in line]
                  for name in ('run', 'plain'))
    assert half != full and half == pytest.approx(full, rel=0.02)
