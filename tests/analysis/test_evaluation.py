"""mIoU by class and by image on areas that are known."""

import numpy as np
import pytest

from mmseg_dynopool.analysis.evaluation import Evaluation


def evaluation(iou):
    """Images of 100 pixels of union in each class; NaN where it does not occur."""
    iou = np.array(iou, float)
    union = np.where(np.isnan(iou), 0.0, 100.0)
    return Evaluation(['a', 'b'], [[0, 0, 0]] * 2, [f'{i}.png' for i in range(len(iou))],
                      100 * np.nan_to_num(iou), union, union, union, dataset=None)


def test_miou_of_images_leaves_out_what_does_not_occur():
    found = evaluation([[0.5, 0.7], [0.2, np.nan], [np.nan, np.nan]])
    assert found.image_miou() == pytest.approx([60, 20, np.nan], nan_ok=True)
    assert found.class_scores() == pytest.approx({'a': 35.0, 'b': 70.0})
    assert found.score() == pytest.approx(52.5)
    assert found.extremes(5) == ([0], [1])


def test_extremes_name_no_image_twice():
    found = evaluation([[x, x] for x in (0.3, 0.9, 0.1, 0.5, 0.7)])
    assert found.extremes(2) == ([1, 4], [2, 0])
    assert found.extremes(9) == ([1, 4, 3], [2, 0])
