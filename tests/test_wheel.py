"""The wheel, built from the sdist, in a folder of its own: nothing of the clone is there."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.toys import ROOT

pytestmark = pytest.mark.slow
PARTS = ['configs', 'mmseg_dynopool', 'tools', 'pyproject.toml', 'setup.py', 'MANIFEST.in',
         'model-index.yml', 'README.md', 'LICENSE', 'CHANGELOG.md', 'CITATION.cff', 'Makefile']


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel's content, by way of the sdist."""
    folder = tmp_path_factory.mktemp('wheel')
    (folder / 'clone').mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / 'clone' / part)
        else:
            shutil.copy(ROOT / part, folder / 'clone')
    build(folder / 'clone', 'sdist')
    sdist, = (folder / 'clone').glob('*.tar.gz')
    with tarfile.open(sdist) as file:
        file.extractall(folder, filter='data')
    source = folder / sdist.name.removesuffix('.tar.gz')
    build(source, 'wheel')
    file, = source.glob('*.whl')
    zipfile.ZipFile(file).extractall(folder / 'content')
    return folder / 'content'


def build(source, kind):
    subprocess.run([sys.executable, '-c', 'from setuptools import build_meta; '
                    f'build_meta.build_{kind}(".")'], cwd=source, check=True, capture_output=True)


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """``installed(*arguments)`` runs Python on the wheel and what it needs, in an empty folder.

    ``hidden``: beginnings of the names of packages that are not installed. ``site``: the wheel's
    content. It returns what was printed to stdout and to stderr.
    """
    def run(*arguments, hidden=(), site=wheel):
        folder = tmp_path_factory.mktemp('run')
        packages = folder / 'packages'
        packages.mkdir()
        for entry in Path(sysconfig.get_paths()['purelib']).iterdir():
            if entry.suffix != '.pth' and not entry.name.startswith(('__editable__', *hidden)):
                (packages / entry.name).symlink_to(entry)
        environment = dict(os.environ, PYTHONPATH=f'{site}:{packages}')
        (folder / 'empty').mkdir()
        (folder / 'empty' / 'own.py').write_text(
            "_base_ = __import__('mmseg_dynopool').config_path('unet_dynopool_cityscapes.py')\n")
        done = subprocess.run([sys.executable, '-S', *arguments], cwd=folder / 'empty', text=True,
                              env=environment, capture_output=True)
        return done.stdout, done.stderr

    return run


def test_the_wheel_carries_every_config_and_the_users_tools(wheel):
    mim = wheel / 'mmseg_dynopool' / '.mim'
    names = {str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('*.py')}
    assert {str(path.relative_to(mim)) for path in (mim / 'configs').rglob('*.py')} == names
    tools = {path.stem for path in (mim / 'tools').glob('*.py')}
    assert {'train', 'test', 'infer', 'convert', 'freeze', 'export', 'latency'} <= tools
    assert not (mim / 'tools' / 'study').exists()
    assert (wheel / 'mmseg_dynopool' / 'py.typed').is_file()
    assert (wheel / 'mmseg_dynopool' / 'report' / 'page.html.jinja').is_file()


def test_a_config_of_ones_own_inherits_from_the_wheels(installed):
    """By the package's tool, which counts the stock network and the converted one."""
    printed, errors = installed('-m', 'mmseg_dynopool', 'convert', 'own.py')
    assert 'GMACs of one image of 512 x 1024: stock 405.3, converted 405.5' in printed, errors


def test_a_tool_finds_a_config_by_its_name_and_names_the_nearest(installed):
    _, errors = installed('-m', 'mmseg_dynopool', 'convert', 'unet_dynopol_cityscapes.py')
    assert errors.splitlines()[-1].startswith(
        "there is no such file, and there is no config 'unet_dynopol_cityscapes.py' in "
        'mmseg_dynopool; nearest to it: unet_dynopool_cityscapes.py, ')


def test_without_the_extra(installed):
    """One sentence on one line, whatever a user tries first."""
    hidden = ('mm', 'onedl')
    needed = ('needs mmsegmentation with its mmcv and mmengine, and these are not installed: '
              "mmseg, mmcv, mmengine. Install them with pip install 'mmseg_dynopool[mmlab]'")
    _, errors = installed('-m', 'mmseg_dynopool', 'train', 'own.py', hidden=hidden)
    assert len(errors.splitlines()) == 1 and f'the tool train {needed}' in errors
    _, errors = installed('-c', 'from mmseg_dynopool import DynOPoolHRNet', hidden=hidden)
    assert f'ImportError: mmseg_dynopool.DynOPoolHRNet {needed}' in errors.splitlines()[-1]


def test_without_the_configs(wheel, installed, tmp_path):
    shutil.copytree(wheel / 'mmseg_dynopool', tmp_path / 'mmseg_dynopool',
                    ignore=shutil.ignore_patterns('.mim'))
    _, errors = installed('-m', 'mmseg_dynopool', 'train', 'own.py', site=tmp_path)
    assert 'FileNotFoundError: mmseg_dynopool was installed without its tools' in errors
    assert 'install its wheel, or a clone by pip install -e' in errors
