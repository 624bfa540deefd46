"""Labels painted on images."""

import cv2
import numpy as np

from mmseg_dynopool.report.comparison import draw_comparison, paint_on_gray


def test_ignored_pixels_stay_gray():
    image = np.full((2, 2, 3), 100, np.uint8)
    palette = [[200, 0, 0], [0, 0, 200]]
    painted = paint_on_gray(image, np.array([[0, 1], [255, 7]]), palette, 255)
    assert painted[0, 0].tolist() == [165, 35, 35] and painted[0, 1].tolist() == [35, 35, 165]
    assert painted[1, 0].tolist() == [100, 100, 100]
    assert painted[1, 1].tolist() == [35, 35, 165]  # beyond the palette: its last color


def test_comparison_shows_the_image_and_its_labels(tmp_path):
    image = np.full((40, 30, 3), (50, 100, 150), np.uint8)  # BGR
    labels = {'truth': np.zeros((40, 30), int), 'network': np.ones((40, 30), int)}
    meta = dict(classes=('a', 'b'), palette=[[200, 0, 0], [0, 0, 200]])
    draw_comparison(image, labels, meta, tmp_path / 'new' / 'picture.png')
    drawn = cv2.imread(str(tmp_path / 'new' / 'picture.png'))
    third = drawn.shape[1] // 3
    gray = 0.299 * 150 + 0.587 * 100 + 0.114 * 50
    mix = [[round(0.35 * gray + 0.65 * c) for c in color] for color in ([0, 0, 200], [200, 0, 0])]
    for i, color in enumerate(([50, 100, 150], *mix)):
        panel = drawn[:, i * third:(i + 1) * third].reshape(-1, 3).astype(int)
        near = (abs(panel - color) <= 1).all(1)
        assert near.mean() > 0.3, color
