"""The demo: its data, its learning and its pictures."""

import json
import re

import cv2
import numpy as np
import pytest

from support.demo import run_demo


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """The demo's folder and what it printed."""
    return run_demo(tmp_path_factory)


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
