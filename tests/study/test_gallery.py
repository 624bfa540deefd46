"""The gallery: pictures that our tools draw of a demo."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from support.commands import tool, tool_process
from support.demo import run_demo
from support.toys import ROOT


@pytest.fixture
def one_process_per_tool(monkeypatch):
    """The gallery starts a process for the first command of a tool alone.

    Training has processes of its own in other tests.
    """
    started, start = {'train'}, subprocess.run

    def run(command, **options):
        name = Path(command[1]).stem
        if command[0] != sys.executable:
            return start(command, **options)
        run_tool = tool if name in started else tool_process
        started.add(name)
        return subprocess.CompletedProcess(command, 0, run_tool(name, *command[2:], cwd=Path.cwd()))

    monkeypatch.setattr(subprocess, 'run', run)


def test_the_gallery_of_what_was_learned(tmp_path_factory, tmp_path, one_process_per_tool):
    """Each picture is new, each command named is one that ran, and docs/gallery says the same."""
    cwd, _ = run_demo(tmp_path_factory)
    out = tmp_path / 'gallery'
    printed = tool(
        'gallery', '--out', out, '--cfg-options', 'train_cfg.max_iters=8',
        'train_cfg.val_interval=8', 'train_dataloader.batch_size=2', 'param_scheduler.0.end=8',
        'default_hooks.logger.interval=1',
        'optim_wrapper.optimizer.lr=0.02', 'val_dataloader.dataset.indices=6', cwd=cwd)
    page = (out / 'README.md').read_text()
    commands = re.findall(r'^python tools/.+', page, re.MULTILINE)
    assert len(commands) == 7 and all(f'$ {command}' in printed for command in commands)
    committed = ROOT / 'docs' / 'gallery'
    shown = re.findall(r'\]\((.+?)\)', (committed / 'README.md').read_text())
    assert sorted(shown) == sorted(path.name for path in committed.glob('*.png'))
    chromium = any(map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome')))
    for name in shown:
        if chromium or not name.startswith('report_'):
            assert cv2.imread(str(out / name)).std() > 5
            assert cv2.imread(str(committed / name)).shape[1] >= 390
    assert re.search(r'contents \d\.\d\d ± \d\.\d\d times as long in height', page)
    assert re.search(r'(stream \d|logit) +│ learned', page), page
    assert prose(page) == prose((committed / 'README.md').read_text())


def prose(page):
    """A page without its commands, what they print, and its pictures."""
    return [line for line in re.sub('```.*?```', '', page, flags=re.DOTALL).splitlines()
            if line and not line.startswith('![')]
