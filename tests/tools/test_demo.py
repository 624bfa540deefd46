"""The demo: its data, its learning and its pictures."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.commands import tool, tool_process
from support.shared import made_once
from support.toys import ROOT


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """The demo's folder and what it printed; one for all workers, for it takes long."""

    def make(folder):
        printed = tool_process(
            'demo', '--images', 2, '--repeats', 1, '--cfg-options', 'train_cfg.max_iters=20',
            'train_cfg.val_interval=20', 'train_dataloader.batch_size=2',
            'param_scheduler.0.end=20', 'default_hooks.logger.interval=1',
            'optim_wrapper.optimizer.lr=0.02', 'val_dataloader.dataset.indices=6', cwd=folder)
        (folder / 'printed').write_text(printed)

    folder = made_once(tmp_path_factory, 'demo', make)
    return folder, (folder / 'printed').read_text()


def test_data_are_real_slices_split_by_blocks(demo):
    cwd, _ = demo
    data = cwd / 'data' / 'mni152'
    positions = {}
    for split in ('train', 'val'):
        images = sorted((data / 'images' / split).glob('*.png'))
        labels = sorted((data / 'labels' / split).glob('*.png'))
        assert [p.name for p in images] == [p.name for p in labels]
        positions[split] = [int(p.stem[-3:]) for p in images]
    assert len(positions['train']) > 80 and len(positions['val']) > 20
    distance = min(abs(a - b) for a in positions['train'] for b in positions['val'])
    assert distance > 2, 'validation slices must not touch training slices'
    image = cv2.imread(str(data / 'images/val' / images[12].name), cv2.IMREAD_GRAYSCALE)
    label = cv2.imread(str(data / 'labels/val' / images[12].name), cv2.IMREAD_GRAYSCALE)
    assert image.shape == label.shape == (192, 160)
    assert set(np.unique(label)) == {0, 1, 2}
    # In T1, white matter is brighter than grey matter, and that than the background.
    means = [image[label == k].mean() for k in range(3)]
    assert means[2] > means[1] > means[0]


def test_loss_falls(demo):
    cwd, _ = demo
    for network in ('fixed', 'smaller', 'dynopool'):
        path, = (cwd / 'work_dirs/demo' / network).glob('*/vis_data/scalars.json')
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        losses = [line['decode.loss_ce'] for line in lines if 'decode.loss_ce' in line]
        assert len(losses) == 20
        # 20 steps: four seeds gave 0.73 to 0.88, and the stacks draw differently at one seed.
        assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3]), losses


def test_prints_what_it_learned_and_draws(demo):
    cwd, printed = demo
    for words in ('mIoU', 'GMACs', '160 x 160', '112 x 112', '40 x 40', '28 x 28'):
        assert words in printed
    stock, smaller, learned = (float(gmacs) for _, gmacs in table(printed).values())
    assert smaller / stock == pytest.approx(0.5, abs=0.005)
    assert learned / stock == pytest.approx(0.5, rel=0.03)
    pictures = sorted((cwd / 'work_dirs' / 'demo').glob('axial_*.png'))
    assert len(pictures) == 2
    picture = cv2.imread(str(pictures[0]))
    assert picture.shape[1] > 1300 and picture.std() > 20  # five panels


def table(printed):
    """``{network: (mIoU, GMACs)}`` as printed."""
    return {name: re.search(rf'{re.escape(name)}\s*│\s*(\S+)\s*│\s*(\S+)', printed).groups()
            for name in ('stock', 'smaller input', 'image + DynOPool')}


def test_ends_with_a_report_of_all(demo):
    cwd, printed = demo
    assert 'Report, to open in a browser: work_dirs/demo/report.html' in printed
    page = (cwd / 'work_dirs' / 'demo' / 'report.html').read_text()
    assert '<h1>dynopool, beside fixed and smaller</h1>' in page
    assert 'fixed (the stock network)' in page and 'resized first, of this run to' in page
    assert 'of smaller to 112 x 112.' in page
    assert page.count('grey matter') > 1 and page.count('data:image/png;base64,') > 20
    # The networks' GMACs and mIoU, as in the table that was printed.
    for miou, gmacs in table(printed).values():
        assert f'>{float(gmacs):.4g}<' in page and f'>{miou}<' in page


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


def test_the_gallery_of_what_was_learned(demo, tmp_path, one_process_per_tool):
    """Each picture is new, each command named is one that ran, and docs/gallery says the same."""
    cwd, _ = demo
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
