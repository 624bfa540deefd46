"""What the README says exists: files, options and the examples' code."""

import re
import subprocess
import sys

import pytest

from support.toys import ROOT

README = (ROOT / 'README.md').read_text()
BASH = '\n'.join(re.findall(r'```bash\n(.*?)```', README, re.S))
TOOLS = sorted(set(re.findall(r'tools/[\w/]+\.(?:py|sh)', BASH)))


def test_files_of_the_readme_exist():
    named = set(re.findall(r'(?:configs|tools|docs)/[\w/]+\.(?:py|sh|png)', README))
    named |= {f'configs/{name}' for name in re.findall(r'`(\w+\.py)`', README)
              if name.startswith(('hrnet', 'demo'))}
    assert len(named) > 12
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
    configs = {p.name for p in (ROOT / 'configs').glob('*.py')}
    assert {name for name in configs if f'`{name}`' not in README} == set()


@pytest.mark.parametrize('tool', [t for t in TOOLS if t.endswith('.py')])
def test_options_of_the_readme_exist(tool):
    lines = [line for line in BASH.splitlines() if tool in line]
    options = set(re.findall(r'(?<=\s)--[\w-]+', ' '.join(lines)))
    # tools/visualize.py has a help text for each of its commands.
    commands = re.findall(f'{tool} ([a-z][a-z-]+) ', BASH) if 'visualize' in tool else []
    shown = ''.join(
        subprocess.run([sys.executable, ROOT / tool, *command, '--help'], text=True, check=True,
                       capture_output=True).stdout for command in [[], *([c] for c in commands)])
    assert {o for o in options if o not in shown} == set()


@pytest.mark.parametrize('name, arguments, expected', [
    ('dist_train.sh', ['c.py', '8', '--amp'],
     '--nnodes=2 --node_rank=1 --master_addr=10.0.0.1 --master_port=29500 --nproc_per_node=8 '
     'TOOLS/train.py c.py --launcher pytorch --amp'),
    ('dist_test.sh', ['c.py', 'x.pth', '4', '--tta'],
     '--nnodes=2 --node_rank=1 --master_addr=10.0.0.1 --master_port=29500 --nproc_per_node=4 '
     'TOOLS/test.py c.py x.pth --launcher pytorch --tta'),
    ('slurm_train.sh', ['part', 'job', 'c.py', '--resume'],
     '--partition=part --job-name=job --ntasks=16 --ntasks-per-node=8 --gres=gpu:8 '
     '--cpus-per-task=8 --kill-on-bad-exit=1 python -u TOOLS/train.py c.py --launcher slurm '
     '--resume'),
])
def test_launch_scripts_call_the_launchers(tmp_path, name, arguments, expected):
    """With stand-ins for torchrun and srun, which no single machine of a test has in full."""
    for launcher in ('torchrun', 'srun'):
        script = tmp_path / launcher
        script.write_text('#!/bin/sh\necho "$@"\n')
        script.chmod(0o755)
    environment = dict(PATH=f'{tmp_path}:/usr/bin:/bin', NNODES='2', NODE_RANK='1',
                       MASTER_ADDR='10.0.0.1', GPUS='16', GPUS_PER_NODE='8')
    printed = subprocess.run([ROOT / 'tools' / name, *arguments], env=environment, text=True,
                             check=True, capture_output=True).stdout
    assert printed.split() == expected.replace('TOOLS', str(ROOT / 'tools')).split()


def test_python_example_on_torch_alone():
    block = next(b for b in re.findall(r'```python\n(.*?)```', README, re.S)
                 if 'mmseg_dynopool.layers' in b)
    import torch
    scope = {}
    exec(block, scope)
    assert scope['conv'](torch.randn(1, 64, 16, 16)).shape == (1, 128, 8, 8)


def test_make_targets():
    targets = set(re.findall(r'(?:^|`)make (\w+)', README, re.M))
    makefile = (ROOT / 'Makefile').read_text()
    assert {'demo', 'test'} <= targets
    assert all(f'\n{target}:' in makefile for target in targets)
