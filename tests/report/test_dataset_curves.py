"""The picture of a data set's analysis shows its numbers."""

import numpy as np
import pytest

from mmseg_dynopool.analysis.data_set import analyze
from mmseg_dynopool.report.dataset_curves import describe, draw_analysis


@pytest.fixture(scope='module')
def result():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(48, 96, 1)).repeat(2, 0)
    return analyze([('noise', image, (image[..., 0] > 0).astype(int), 255)])


def test_curves_and_texts(result):
    figure = draw_analysis(result)
    assert f'contents {result["stretch"]:.2f} times' in figure.get_suptitle()
    assert len(figure.axes) == 4
    for axis, part in zip(figure.axes[:2], ('image', 'label')):
        lines = {line.get_label(): line for line in axis.lines}
        for name, i in (('along the height', 0), ('along the width', 1)):
            shares = [row['share'][i] for row in result[part]['energy_above']]
            scales = [row['scale'] for row in result[part]['energy_above']]
            drawn = np.interp(scales, *lines[name].get_data())
            assert drawn == pytest.approx(100 * np.array(shares))
        assert 'r / 2 cycles/pixel (%)' in axis.get_ylabel()
        assert [t.get_text() for t in axis.get_xticklabels()] == [
            '1/2', '1/4', '1/8', '1/16', '1/32', '1']
    for axis, part in zip(figure.axes[2:], ('image', 'label')):
        height, width, moved = axis.lines
        stretch = result[part]['stretch']
        assert moved.get_xdata() == pytest.approx(height.get_xdata() / stretch)
        assert f'{stretch:.2f}' in moved.get_label()
        assert 'pixels' in axis.get_xlabel()
        assert width.get_color() != height.get_color()


def test_a_part_without_numbers_is_left_out(result):
    assert len(draw_analysis({**result, 'label': None}).axes) == 2


def test_describe():
    assert describe(1.5, 0.042) == '1.50 ± 0.04 times'
    assert describe(1.5) == '1.50 times'
    assert describe(None) == 'unknown times'
