"""Importing the package with and without the OpenMMLab stack."""

import ast
import importlib
import re
import runpy
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

import mmseg_dynopool
from support.toys import ROOT

# From the bottom up; a room may import from those before it.
HOUSE = ['version', 'stack', 'needs_stack', 'installed', 'files', 'ops', 'layers', 'costs',
         'conversion', 'learning', 'search', 'complexity', 'latency', 'config', 'config_text',
         'scopes', 'models', 'data', 'checkpoints', 'resume', 'hooks', 'budget', 'classification',
         'export', 'analysis', 'cli', 'report', 'fit']
# The paths of public names in version 0.3, for one version: new names by the old ones.
OLD_PATHS = dict(
    complexity={name: f'costs.{name}' for name in (
        'ComplexityModel', 'GMACsCounter', 'LayerCost', 'count_gmacs', 'probe_complexity')}
    | dict(ScaleTerms='costs.Posynomial'),
    latency={name: f'costs.{name}' for name in (
        'LatencyModel', 'device_name', 'fit_latency', 'measure_latency', 'time_alternately')},
    budget=dict(GMACsBudget='costs.GMACsBudget', LatencyBudget='costs.LatencyBudget',
                GMACsBudgetHook='hooks.names_of_0_3.GMACsBudgetHook',
                LatencyBudgetHook='hooks.names_of_0_3.LatencyBudgetHook'))


@pytest.fixture(scope='module')
def torch_alone(tmp_path_factory):
    """A folder with everything that is installed but the OpenMMLab packages."""
    folder = tmp_path_factory.mktemp('site')
    for entry in Path(sysconfig.get_paths()['purelib']).iterdir():
        hidden = entry.name.startswith(('mm', 'onedl', '__editable__'))
        if not hidden and entry.suffix != '.pth':
            (folder / entry.name).symlink_to(entry)
    return folder


def python(code, site, *arguments):
    """Run code with the packages of ``site`` and of the repository, and no others."""
    return subprocess.run([sys.executable, '-S', '-c', code, *arguments], text=True,
                          capture_output=True,
                          env=dict(PYTHONPATH=f'{site}:{ROOT}', PATH='/usr/bin:/bin'))


def test_a_name_that_needs_mmseg_says_which_extra_to_install(torch_alone):
    done = python('import mmseg_dynopool\nmmseg_dynopool.DynOPoolHook', torch_alone)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: mmseg_dynopool.DynOPoolHook needs mmsegmentation')
    assert 'mmseg_dynopool[mmlab]' in last and 'not installed: mmseg, mmcv, mmengine' in last
    done = python('from mmseg_dynopool import DynOPoolHRNet', torch_alone)
    assert 'mmseg_dynopool.DynOPoolHRNet needs mmsegmentation' in done.stderr
    for part in ('models', 'budget'):
        done = python(f'import mmseg_dynopool.{part}', torch_alone)
        assert 'ImportError: this part of mmseg_dynopool needs mmsegmentation' in done.stderr
    done = python('import mmseg_dynopool\nmmseg_dynopool.nothing', torch_alone)
    assert "AttributeError: module 'mmseg_dynopool' has no attribute 'nothing'" in done.stderr


@pytest.mark.skipif(find_spec('mmpretrain') is not None, reason='mmpretrain is installed')
def test_a_classifier_says_which_extra_to_install():
    for code in ('mmseg_dynopool.DynOPoolImageClassifier', 'import mmseg_dynopool.classification'):
        with pytest.raises(ImportError, match=r'mmseg_dynopool\[mmlab,classification\]'):
            exec(code, dict(mmseg_dynopool=mmseg_dynopool))
    exec('from mmseg_dynopool import *', {})  # needs mmseg alone


PARTS = [
    'import mmseg_dynopool; assert mmseg_dynopool.__version__',
    'from mmseg_dynopool import ops; ops.pooled_size((65, 64), (2.0, 3.0))',
    'import mmseg_dynopool.ops',
    'from mmseg_dynopool.ops import dynopool2d',
    'import mmseg_dynopool.layers.dynopool',
    'from mmseg_dynopool.costs import probe_complexity',
    'from mmseg_dynopool.costs import LatencyBudget, fit_latency',
    'from torch import nn; from mmseg_dynopool.layers import DynOPool\n'
    'from mmseg_dynopool.learning import LearnedScales\n'
    'assert LearnedScales(nn.Sequential(DynOPool())).read().shape == (2, )',
    'from mmseg_dynopool.learning import ScaleLearner, add_cost_gradient',
    'from mmseg_dynopool.complexity import ScaleTerms, probe_complexity',
    'from mmseg_dynopool.layers import measure_alpha_gradient',
    'import importlib; importlib.import_module("mmseg_dynopool.layers")',
    'from torch import nn; from mmseg_dynopool.conversion import convert_dynopool\n'
    'model = convert_dynopool(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1)))\n'
    'assert list(model.dynopools) == ["stride2"]',
    'from mmseg_dynopool.latency import fit_latency',
    'import torch, pickle; from mmseg_dynopool.layers import DynOPool\n'
    'pickle.loads(pickle.dumps(DynOPool()))(torch.ones(1, 1, 4, 4))',
]
# Each part in a process of its own, a copy of one that has imported torch alone.
EACH = """
import os, sys, torch._dynamo, traceback
for code in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            exec(code, {})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_parts_on_torch_alone(torch_alone):
    done = python(EACH, torch_alone, *PARTS)
    assert done.stdout.split() == ['0'] * len(PARTS), done.stderr


def test_tools_by_name(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['mmseg_dynopool', *arguments])
        runpy.run_module('mmseg_dynopool', run_name='__main__')

    run()
    listed = capsys.readouterr().out
    assert set(re.findall(r'\w+', listed)) >= {path.stem for path in ROOT.glob('tools/*.py')}
    run('--version')
    assert capsys.readouterr().out == f'{mmseg_dynopool.__version__}\n'
    with pytest.raises(SystemExit, match="no tool 'conver'; nearest to it: convert, "):
        run('conver')
    with pytest.raises(SystemExit) as left:
        run('convert', '--help')
    assert left.value.code == 0 and 'usage: convert.py' in capsys.readouterr().out


def test_version():
    """One version: of the package, the changelog's newest entry and the citation."""
    newest = re.search(r'^## (\S+)', (ROOT / 'CHANGELOG.md').read_text(), re.M)[1]
    cited = re.search(r'^version: (\S+)$', (ROOT / 'CITATION.cff').read_text(), re.M)[1]
    assert mmseg_dynopool.__version__ == newest == cited


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_imports_point_downwards():
    """Each room imports from those before it alone; the first ones know torch, not OpenMMLab."""
    package = ROOT / 'mmseg_dynopool'
    checked = 0
    for path in package.rglob('*.py'):
        room = path.relative_to(package).with_suffix('').parts[0]
        if room in ('__init__', '__main__'):
            continue
        for name in imports(path):
            checked += 1
            if name.startswith('mmseg_dynopool'):
                lower = name.split('.')[1]
                assert HOUSE.index(lower) < HOUSE.index(room), f'{path}: {name}'
                assert lower not in OLD_PATHS, f'{path}: {name}'
            if HOUSE.index(room) < HOUSE.index('config'):
                assert not name.startswith(('mmseg.', 'mmengine', 'mmcv')), f'{path}: {name}'
    assert checked > 100
    rooms = {p.stem for p in package.iterdir()} - {'__pycache__', '__init__', '__main__', 'py'}
    assert rooms == set(HOUSE)


@pytest.mark.parametrize('path', OLD_PATHS)
def test_an_old_path_has_the_names_of_now_and_nothing_else(path):
    room = importlib.import_module(f'mmseg_dynopool.{path}')
    assert set(room.__all__) == set(OLD_PATHS[path])
    for old, new in OLD_PATHS[path].items():
        place, _, name = new.rpartition('.')
        assert getattr(room, old) is getattr(
            importlib.import_module(f'mmseg_dynopool.{place}'), name)
    docstring, *body = ast.parse(Path(room.__file__).read_text()).body
    assert isinstance(docstring, ast.Expr)
    for node in body:  # imports, a name for another one, __all__
        assert isinstance(node, (ast.Import, ast.ImportFrom)) or (
            isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.List)))


def test_the_house_is_described_in_its_order():
    """The page of how it is built has each room of the package, from the top down."""
    page = (ROOT / 'docs' / 'house.md').read_text()
    rooms = re.findall(r'^\| `(\w+)(?:/|\.py)` \|', page, re.M)
    assert rooms == [room for room in reversed(HOUSE)
                     if room not in ('version', 'stack', 'needs_stack', 'installed', 'files')]
