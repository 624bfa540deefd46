"""Rectangles of the picture have the data's sizes."""

import pytest
from matplotlib.figure import Figure

from mmseg_dynopool.analysis.network_sizes import STOCK, NetworkSizes, compare_sizes
from mmseg_dynopool.report.network import draw_network, network_size

LEARNED = NetworkSizes('run', (512, 1024), dict(stream0=(128, 256), stream1=(50, 122),
                                                stream2=(60, 20), stream3=(1, 90)))


def draw(*networks):
    figure = Figure(network_size(networks), layout='constrained')
    draw_network(figure, networks)
    figure.draw_without_rendering()
    return figure


def test_rectangles_and_texts_equal_the_sizes():
    other = NetworkSizes('other', (512, 1024), dict(LEARNED.sizes, stream1=(64, 128)))
    figure = draw(LEARNED, other)
    axis, = figure.axes
    boxes = {patch.get_label(): patch for patch in axis.patches}
    columns = compare_sizes([LEARNED, other])
    assert list(columns) == [STOCK, 'run', 'other']
    assert columns[STOCK] == dict(stream0=(128, 256), stream1=(64, 128), stream2=(32, 64),
                                  stream3=(16, 32))
    scale = boxes[f'{STOCK} stream0'].get_width() / 256
    for name, sizes in columns.items():
        for stream, (height, width) in sizes.items():
            box = boxes[f'{name} {stream}']
            assert box.get_height() == pytest.approx(height * scale)
            assert box.get_width() == pytest.approx(width * scale)
            # The picture's own pixels, which a wrong aspect of the axes would stretch.
            seen = box.get_window_extent()
            assert seen.width / seen.height == pytest.approx(width / height, rel=1e-3)
            if name != STOCK:
                outline = boxes[f'outline {name} {stream}']
                assert outline.get_xy() == box.get_xy() and not outline.get_fill()
                assert outline.get_height() == boxes[f'{STOCK} {stream}'].get_height()
                assert outline.get_width() == boxes[f'{STOCK} {stream}'].get_width()
    assert len(boxes) == 4 * 3 + 4 * 2
    texts = [text.get_text() for text in axis.texts]
    for expected in ('128 x 256', '16 x 32', '50 x 122 (74%)', '60 x 20 (59%)', '1 x 90 (18%)',
                     '64 x 128 (100%)', 'stream0', 'stream3', STOCK, 'run', 'other'):
        assert expected in texts
    assert 'for an input of 512 x 1024' in figure.get_suptitle()
    bar, = axis.lines
    length = int(next(t for t in texts if 'pixels of a feature map' in t).split()[0])
    assert bar.get_xdata()[1] - bar.get_xdata()[0] == pytest.approx(length * scale)


@pytest.mark.parametrize('input_size, sizes', [
    ((512, 1024), LEARNED.sizes),
    ((1024, 256), dict(stem1=(600, 100), stream0=(300, 70), stream1=(290, 12))),
    ((32, 32), dict(stream0=(8, 8), stream1=(1, 1), stream2=(1, 1))),
])
def test_texts_lie_inside_the_picture_and_cover_neither_each_other_nor_a_box(input_size, sizes):
    figure = draw(NetworkSizes('a_rather_long_name_of_a_run', input_size, sizes),
                  NetworkSizes('b', input_size, sizes))
    axis, = figure.axes
    page = figure.bbox
    texts = [(t.get_text(), t.get_window_extent()) for t in axis.texts]
    boxes = [p.get_window_extent() for p in axis.patches if p.get_fill()]
    for i, (text, place) in enumerate(texts):
        assert page.x0 <= place.x0 and place.x1 <= page.x1, text
        assert page.y0 <= place.y0 and place.y1 <= page.y1, text
        assert not any(place.overlaps(other) for _, other in texts[i + 1:]), text
        for box in boxes:
            inside = box.x0 <= place.x0 and place.x1 <= box.x1 and (
                box.y0 <= place.y0 and place.y1 <= box.y1)
            assert inside or not place.overlaps(box), text
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1:])
