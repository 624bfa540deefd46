"""Importing the package with and without the OpenMMLab stack."""

import ast
import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from toys import ROOT

import mmseg_dynopool

# From the bottom up; a room may import from those before it.
HOUSE = ['ops', 'layers', 'complexity', 'datasets', 'models', 'export', 'engine',
         'visualization']


@pytest.fixture(scope='module')
def torch_alone(tmp_path_factory):
    """A folder with everything that is installed but the OpenMMLab packages."""
    folder = tmp_path_factory.mktemp('site')
    for entry in Path(sysconfig.get_paths()['purelib']).iterdir():
        hidden = entry.name.startswith(('mm', 'onedl', '__editable__'))
        if not hidden and entry.suffix != '.pth':
            (folder / entry.name).symlink_to(entry)
    return folder


def python(code, site):
    """Run code with the packages of ``site`` and of the repository, and no others."""
    return subprocess.run([sys.executable, '-S', '-c', code], text=True, capture_output=True,
                          env=dict(PYTHONPATH=f'{site}:{ROOT}', PATH='/usr/bin:/bin'))


def test_import_without_mmseg_says_which_extra_to_install(torch_alone):
    done = python('import mmseg_dynopool', torch_alone)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError') and 'mmseg_dynopool[mmlab]' in last
    assert 'not installed: mmseg, mmcv, mmengine' in last


@pytest.mark.parametrize('code', [
    'import mmseg_dynopool.ops',
    'from mmseg_dynopool.ops import dynopool2d',
    'import mmseg_dynopool.layers.dynopool',
    'from mmseg_dynopool.complexity import probe_complexity',
    'import importlib; importlib.import_module("mmseg_dynopool.layers")',
    'import torch, pickle; from mmseg_dynopool.layers import DynOPool\n'
    'pickle.loads(pickle.dumps(DynOPool()))(torch.ones(1, 1, 4, 4))',
])
def test_parts_on_torch_alone(torch_alone, code):
    done = python(code, torch_alone)
    assert done.returncode == 0, done.stderr


def test_names_of_mmseg_are_explained_when_only_torch_is_there(torch_alone):
    done = python('import mmseg_dynopool.ops as o, mmseg_dynopool as m\nm.DynOPoolHook',
                  torch_alone)
    assert 'ImportError: mmseg_dynopool needs mmsegmentation' in done.stderr
    done = python('import mmseg_dynopool.ops as o, mmseg_dynopool as m\nm.nothing', torch_alone)
    assert 'AttributeError' in done.stderr


def test_version():
    assert importlib.metadata.version('mmseg_dynopool') == mmseg_dynopool.__version__


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_imports_point_downwards():
    """The house of the design: ops, layers and complexity know nothing of OpenMMLab."""
    package = ROOT / 'mmseg_dynopool'
    checked = 0
    for floor, room in enumerate(HOUSE):
        for path in (package / room).rglob('*.py'):
            for name in imports(path):
                checked += 1
                if name.startswith('mmseg_dynopool.') and name != 'mmseg_dynopool.version':
                    assert HOUSE.index(name.split('.')[1]) < floor, f'{path}: {name}'
                if floor < 3:
                    assert not name.startswith(('mmseg.', 'mmengine', 'mmcv')), f'{path}: {name}'
    assert checked > 40
    rooms = {p.name for p in package.iterdir() if p.is_dir() and p.name != '__pycache__'}
    assert rooms == set(HOUSE)
