"""tools/visualize.py shapes, of the log of a real run: the files show what it learned."""

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mmseg_dynopool.analysis.logs import read_log
from mmseg_dynopool.report.curves import draw_evolution, evolution_size
from mmseg_dynopool.report.figures import AXIS_COLORS, SKY_BLUE
from support.commands import tool
from support.runs import segmentor, train


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """The folder, the trained network, and what the command printed."""
    folder = tmp_path_factory.mktemp('shapes')
    runner = train(folder / 'run', segmentor(gmacs_weight=3000., backbone=dict(
        dynopool=dict(scale=(0.6, 0.4)))), 8, alpha_lr=0.02)
    printed = tool('visualize', 'shapes', 'run', '--out', 'pictures', cwd=folder)
    return folder, runner.model, printed


def read(folder, name):
    return cv2.imread(str(folder / 'pictures' / name))[..., ::-1].astype(int)


def is_color(pixels, color):
    return (abs(pixels - 255 * np.array(to_rgb(color))) < 3).all(-1)


def test_files_are_named(made):
    folder, _, printed = made
    assert printed.splitlines()[-2:] == ['pictures/evolution.png', 'pictures/network.png']
    assert sorted(path.name for path in (folder / 'pictures').iterdir()) == [
        'evolution.png', 'network.png']


def test_curves_end_at_the_learned_scales(made):
    """In the file, at the last iteration and the trained network's scale, is the axis's colour."""
    folder, model, _ = made
    picture = read(folder, 'evolution.png')
    log = read_log(folder / 'run')
    # The same layout, to know where a value lies.
    figure = Figure(evolution_size([log]), layout='constrained')
    draw_evolution(figure, [log])
    figure.draw_without_rendering()
    axes = {axis.get_title(): axis for axis in figure.axes if axis.get_title()}
    assert list(axes) == list(model.backbone.dynopools) == ['stream1', 'stream2', 'stream3']
    for name, pool in model.backbone.dynopools.items():
        for axis, scale in zip('hw', pool.scale.tolist()):
            x, y = axes[name].transData.transform((8, scale)).round().astype(int)
            spot = picture[len(picture) - y - 2:len(picture) - y + 2, x - 2:x + 2]
            assert is_color(spot, AXIS_COLORS[axis]).any(), (name, axis, scale)


def test_feature_maps_have_the_learned_areas(made):
    folder, model, _ = made
    picture = read(folder, 'network.png')
    sizes = model.backbone.feature_sizes((64, 96))
    learned = sum(np.prod(size) for size in sizes.values())
    stock = sum(16 * 24 / 4**k for k in range(4))
    areas = [is_color(picture, color).sum() for color in (SKY_BLUE, '0.85')]
    assert areas[0] / areas[1] == pytest.approx(learned / stock, rel=0.06)
    assert learned != stock and min(areas) > 10_000
