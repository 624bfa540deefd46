"""The parts of a report on numbers that are known."""

import numpy as np
import pytest
from mmengine.config import ConfigDict

from mmseg_dynopool.analysis.cost import Cost, stock_model
from mmseg_dynopool.analysis.evaluation import Evaluation
from mmseg_dynopool.analysis.scalars import Scalars
from mmseg_dynopool.report import pictures


def evaluation(iou):
    """Images of 100 pixels of union in each class; NaN where it does not occur."""
    iou = np.array(iou, float)
    union = np.where(np.isnan(iou), 0.0, 100.0)
    return Evaluation(['a', 'b'], [[0, 0, 0]] * 2, [f'{i}.png' for i in range(len(iou))],
                      100 * np.nan_to_num(iou), union, union, union, dataset=None)


def test_miou_of_images_leaves_out_what_does_not_occur():
    found = evaluation([[0.5, 0.7], [0.2, np.nan], [np.nan, np.nan]])
    assert found.image_miou() == pytest.approx([60, 20, np.nan], nan_ok=True)
    assert found.class_iou() == pytest.approx({'a': 35.0, 'b': 70.0})
    assert found.miou() == pytest.approx(52.5)
    assert found.extremes(5) == ([0], [1])


def test_extremes_name_no_image_twice():
    found = evaluation([[x, x] for x in (0.3, 0.9, 0.1, 0.5, 0.7)])
    assert found.extremes(2) == ([1, 4], [2, 0])
    assert found.extremes(9) == ([1, 4, 3], [2, 0])


def test_charts_hold_the_series_and_the_drawing_shows_them():
    run = Scalars({'loss': [(1, 3.0), (2, 2.0)], 'loss_gmacs': [(1, 1.0), (2, 0.5)],
                   'mIoU': [(2, 40.0)], 'dynopool/stream1/scale_h': [(1, 0.5), (2, 0.4)],
                   'dynopool/stream1/scale_w': [(1, 0.5), (2, 0.7)]})
    stock = Scalars({'loss': [(1, 2.5), (2, 2.4)], 'mIoU': [(2, 30.0)]})
    charts = {chart.title: chart for chart in pictures.charts(run, stock)}
    assert list(charts) == ['Task loss (without the cost)', 'Validation during training',
                            'Scale of stream1']
    loss = charts['Task loss (without the cost)']
    assert [(line.label, line.points) for line in loss.lines] == [
        ('this run', [(1, 2.0), (2, 1.5)]), ('baseline', [(1, 2.5), (2, 2.4)])]
    figure = pictures.draw_chart(loss)
    axes, = figure.axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[2.0, 1.5], [2.5, 2.4]]
    assert axes.get_title() == loss.title and axes.get_xlabel() == 'iteration'
    assert axes.get_ylabel() == 'loss'
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['this run', 'baseline']
    scales, = pictures.draw_chart(charts['Scale of stream1']).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in scales.get_lines()}
    assert lines == {'height (h)': [0.5, 0.4], 'width (w)': [0.5, 0.7], 'stock: 0.5': [0.5, 0.5]}
    assert scales.get_ylim() == pytest.approx((0.38, 0.72))
    assert charts['Scale of stream1'].describe() == (
        'Scale of stream1: height (h) from 0.5 to 0.4 at iteration 2; '
        'width (w) from 0.5 to 0.7 at iteration 2')


def test_paint_keeps_ignored_pixels_gray():
    image = np.full((2, 2, 3), 100, np.uint8)
    painted = pictures.paint(image, np.array([[0, 1], [255, 7]]), [[200, 0, 0], [0, 0, 200]])
    assert painted[0, 0].tolist() == [165, 35, 35] and painted[0, 1].tolist() == [35, 35, 165]
    assert painted[1, 0].tolist() == [100, 100, 100]
    assert painted[1, 1].tolist() == [35, 35, 165]  # beyond the palette: its last color


def test_slow_moments_of_the_machine_stay_out_of_the_ratio():
    """One round ran ten times as slowly, and half of another one."""
    stock = Cost(1, 1.0, [], [1.0, 1.0, 10.0, 1.0, 1.0])
    run = Cost(1, 0.8, [], [0.8, 0.8, 8.0, 8.0, 0.8])
    assert run.time_ratio(stock) == pytest.approx((0.8, 0.8, 0.8))
    assert stock.time_ratio(stock) == (1, 1, 1)
    low, middle, high = Cost(1, 1.0, [], [3.0, 1.0, 2.0]).time_ratio(Cost(1, 1.0, [], [1.0] * 3))
    assert (low, middle, high) == (1.5, 2.0, 2.5)


def test_the_stock_network_of_a_config():
    learned = ConfigDict(type='DynOPoolCascadeEncoderDecoder', gmacs_budget=dict(target=0.5),
                         backbone=dict(type='DynOPoolHRNet', extra=dict(a=1),
                                       dynopool=dict(scale=0.4), init_cfg=dict(type='Kaiming')))
    assert stock_model(learned) == dict(
        type='CascadeEncoderDecoder',
        backbone=dict(type='HRNet', extra=dict(a=1), init_cfg=None))
    assert learned.backbone.type == 'DynOPoolHRNet'
    assert stock_model(ConfigDict(type='EncoderDecoder', backbone=dict(type='UNet'))) is None
