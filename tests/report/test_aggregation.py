"""The supplement's Figure 1: the picture shows the weights."""

import argparse

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from mmseg_dynopool.analysis.aggregation import compute_aggregations
from mmseg_dynopool.report.aggregation import add_options, draw_aggregations, run


@pytest.mark.parametrize('size, cell', [((8, 8), (1, 1)), ((6, 12), (3, 0)), ((16, 16), (9, 9))])
def test_picture_shows_the_data(size, cell):
    aggregations = compute_aggregations(size, 0.625)
    figure = draw_aggregations(aggregations, cell, 0.625)
    assert str(cell) in figure.get_suptitle() and '0.625' in figure.get_suptitle()
    panels = figure.axes[:2]
    for axis, found in zip(panels, aggregations):
        weights = found.weights[cell]
        shown = np.zeros(size)
        texts = [text for text in axis.texts if text.get_gid() == 'weight']
        for text in texts:
            x, y = text.get_position()
            shown[int(y), int(x)] = float(text.get_text())
        np.testing.assert_allclose(shown, weights, atol=5.001e-4)
        assert len(texts) == np.count_nonzero(weights) == found.reach(cell)[0]
        np.testing.assert_array_equal(axis.images[0].get_array(), weights)
        out_h, out_w = found.weights.shape[:2]
        shaded, = (p for p in axis.patches
                   if isinstance(p, Rectangle) and p.get_gid() == 'cell')
        height, width = size[0] / out_h, size[1] / out_w
        assert (shaded.get_x(), shaded.get_y(), shaded.get_width(), shaded.get_height()) == (
            pytest.approx((cell[1] * width, cell[0] * height, width, height)))
        grid = axis.collections[2:]  # rows and columns of the output, after those of the input
        assert [len(lines.get_segments()) for lines in grid] == [out_h + 1, out_w + 1]
        assert found.title in axis.get_title() and axis.get_xlabel() and axis.get_ylabel()
    assert panels[0].images[0].get_clim() == panels[1].images[0].get_clim()


@pytest.mark.parametrize('out', ['a.jpg', 'picture', '.'])
def test_out_names_a_png_file(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    add_options(parser)
    with pytest.raises(ValueError, match=r'--out must name a \.png file, got'):
        run(parser.parse_args(['--out', out]))
    assert not list(tmp_path.iterdir())
