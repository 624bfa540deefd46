"""tools/visualize.py aggregation, by its command line."""

import cv2

from mmseg_dynopool.analysis.aggregation import compute_aggregations
from support.commands import tool


def test_picture_and_what_is_printed(tmp_path):
    printed = tool('visualize', 'aggregation', '--size', 6, 10, '--scale', 0.75, '--cell', 1, 2,
                   '--out', 'new/picture.png', cwd=tmp_path)
    assert 'ok: new/picture.png' in printed
    for found in compute_aggregations((6, 10), 0.75):
        bins, rows, columns = found.reach((1, 2))
        assert f'{found.title}: {bins} bins in a block of {rows} x {columns}' in printed
    height, width = cv2.imread(str(tmp_path / 'new' / 'picture.png')).shape[:2]
    assert width > height > 300
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['picture.png']
