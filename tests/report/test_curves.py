"""Curves of the picture equal the log's numbers."""

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mmseg_dynopool.analysis.logs import RunLog
from mmseg_dynopool.hooks.shape_scalar import ShapeScalar
from mmseg_dynopool.report.curves import (
    draw_evolution,
    draw_report_panel,
    evolution,
    evolution_size,
    report_panels,
)
from mmseg_dynopool.report.figures import AXIS_COLORS, ORANGE


def make(name, slope, gmacs=True, sizes=True, steps=(10, 20, 30)):
    series = {}
    if gmacs:
        series['gmacs'] = [(i, 100 - slope * i) for i in steps]
        series['gmacs_ratio'] = [(i, 1 - slope * i / 100) for i in steps]
    for stream in ('stream1', 'stream2'):
        for sign, axis in ((1, 'h'), (-1, 'w')):
            def put(quantity, points, stream=stream, axis=axis):
                series[ShapeScalar(stream, quantity, axis).key] = points
            put('scale', [(i, 0.5 + sign * slope * i / 1000) for i in steps])
            if sizes:
                put('size', [(i, 64 + sign * i) for i in steps])
            put('grad_snr', [(i, slope / i) for i in steps if i > 10])
    return RunLog(name, series)


def learned(name='run', cost='gmacs', target=0.5):
    """As a run with a learner and a budget of that kind of cost logs."""
    steps = (10, 20, 30)
    series = {cost: [(i, 80 - i) for i in steps],
              f'{cost}_ratio': [(i, 1 - i / 100) for i in steps],
              f'{cost}_plan': [(10, 1.0), (20, 0.7), (30, target)],
              f'{cost}_slope': [(i, -i / 1e4) for i in steps],
              'loss': [(10, 2.0), (20, 1.5), (30, 1.25)]}
    for k, stream in enumerate(('stream1', 'stream2'), 1):
        for sign, axis in ((1, 'h'), (-1, 'w')):
            def put(quantity, points, stream=stream, axis=axis):
                series[ShapeScalar(stream, quantity, axis).key] = points
            put('scale', [(i, 0.5 + sign * k * i / 1000) for i in steps])
            put('slope', [(20, sign * 0.1 * k), (30, sign * 0.2 * k)])
            put('slope_noise', [(20, 0.04), (30, 0.02)])
    return RunLog(name, series)


def bands(axis):
    """Of each band, iterations with the lowest and the highest value, and its colour."""
    found = []
    for band in axis.collections:
        ends = {}
        for step, value in band.get_paths()[0].vertices:
            low, high = ends.get(step, (value, value))
            ends[step] = min(low, value), max(high, value)
        found.append((ends, to_hex(band.get_facecolor()[0][:3]).upper()))
    return found


def draw(runs):
    figure = Figure(layout='constrained')
    draw_evolution(figure, runs)
    figure.draw_without_rendering()
    return figure


def kinds(rows):
    return [(panel.quantity, panel.instance) for row in rows for panel in row]


def test_lines_equal_the_log():
    runs = [make('one', 1.0), make('two', 2.0)]
    figure = draw(runs)
    expected = [(quantity, stream) for quantity in ('scale', 'size', 'grad_snr')
                for stream in ('stream1', 'stream2')] + [('gmacs', ''), ('gmacs_ratio', '')]
    assert kinds(evolution(runs)) == expected and len(figure.axes) == len(expected)
    for (quantity, stream), axis in zip(expected, figure.axes):
        lines = {line.get_label(): line for line in axis.lines}
        assert ('stride 2' in lines) == (quantity == 'scale')
        lines.pop('stride 2', None)
        assert axis.get_yscale() == ('log' if quantity == 'grad_snr' else 'linear')
        assert len(lines) == (4 if stream else 2)
        for run, style in zip(runs, ('-', '--')):
            for side in 'hw' if stream else ('', ):
                line = lines[f'{run.name} {side}'.strip()]
                key = ShapeScalar(stream, quantity, side).key if side else quantity
                assert list(zip(*line.get_data())) == run.get(key) and len(run.get(key)) >= 2
                assert line.get_linestyle() == style
                assert line.get_drawstyle() == ('steps-post' if quantity == 'size' else 'default')
                if side:
                    assert to_hex(line.get_color()).upper() == AXIS_COLORS[side]


def test_titles_labels_and_legend():
    figure = draw([make('one', 1.0), make('two', 2.0)])
    assert [axis.get_title() for axis in figure.axes[:3]] == ['stream1', 'stream2', '']
    assert [axis.get_ylabel() for axis in figure.axes] == [
        'scale r = 1 / alpha', '', 'feature size (pixels)', '', "alpha's gradient\n|mean| / std",
        '', 'GMACs ($10^9$ multiply-adds)\nbefore rounding of sizes',
        'GMACs / GMACs\nat the initial scales']
    # Scales and gradients of the instances are drawn to one axis, sizes each to its own.
    shared = [a.get_shared_y_axes().joined(a, b) for a, b in zip(*[iter(figure.axes)] * 2)]
    assert shared == [True, False, True, False]
    assert [axis.get_xlabel() for axis in figure.axes[-2:]] == ['iteration'] * 2
    legend, = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        'height h', 'width w', 'stride 2', 'one', 'two']
    assert figure.get_suptitle()
    reference, = (x for x in figure.axes[0].lines if x.get_label() == 'stride 2')
    assert set(reference.get_ydata()) == {0.5}


def test_panels_of_what_was_logged():
    """A log without cost and sizes, beside one that has them; instances of either."""
    old, new = make('old', 1.0, gmacs=False, sizes=False, steps=(10, )), make('new', 1.0)
    assert kinds(evolution([old])) == [('scale', 'stream1'), ('scale', 'stream2')]
    panels = {(p.quantity, p.instance): p for row in evolution([old, new]) for p in row}
    assert [curve.label for curve in panels['gmacs', ''].curves] == ['new']
    assert [curve.label for curve in panels['size', 'stream2'].curves] == ['new h', 'new w']
    assert len(panels['scale', 'stream1'].curves) == 4
    single = draw([old]).axes[0].lines[0]
    assert single.get_marker() == 'o'  # a single point would be no line


def test_too_many_runs():
    with pytest.raises(ValueError, match='at most 8 runs, got 9'):
        draw([make(str(i), 1.0) for i in range(9)])


@pytest.mark.parametrize('count', [1, 3, 8])
def test_the_whole_legend_lies_on_the_page(count):
    """Names as long as configs have them; a dollar in one is no formula."""
    runs = [make(f'hrnet_w48_dynopool_cityscapes_lr$\\frac_seed{k}', 1.0) for k in range(count)]
    figure = Figure(evolution_size(runs), layout='constrained')
    draw_evolution(figure, runs)
    figure.draw_without_rendering()
    legend, = figure.legends
    texts = legend.get_texts()
    assert [text.get_text() for text in texts][3:] == [run.name for run in runs]
    page = figure.bbox
    for part in (legend.get_frame(), *texts):
        box = part.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0


def test_stems_come_first_whichever_run_has_them():
    plain, stem = make('plain', 1.0), make('stem', 1.0)
    stem.series.update({ShapeScalar('stem1', 'scale', axis).key: [(10, 0.5)] for axis in 'hw'})
    scales, *_ = evolution([plain, stem])
    assert [panel.instance for panel in scales] == ['stem1', 'stream1', 'stream2']


def of_image(name='image run', scales=(1.0, 0.8, 0.7)):
    run = make(name, 1.0)
    for axis, less in (('h', 0.0), ('w', 0.1)):
        run.series[ShapeScalar('image', 'scale', axis).key] = [
            (step, scale - less) for step, scale in zip((10, 20, 30), scales)]
    return run


def test_the_image_comes_first_and_starts_at_one():
    runs = [make('plain', 1.0), of_image()]
    scales, *_ = evolution(runs)
    assert [panel.instance for panel in scales] == ['image', 'stream1', 'stream2']
    image, stream = draw(runs).axes[:2]
    assert [(line.get_label(), {*line.get_ydata()}) for line in image.lines][-1] == (
        'whole image', {1})
    assert 'stride 2' in [line.get_label() for line in stream.lines]
    for logs, level in ((runs, 'stride 2, whole image'), (runs[:1], 'stride 2')):
        texts = [text.get_text() for text in draw(logs).legends[0].get_texts()]
        assert texts[2] == level


def test_the_image_in_a_report():
    panels = {panel.title: panel for panel in report_panels(of_image(scales=(0.8, 0.7, 0.6)))}
    panel = panels['Scale of image']
    axis, = draw_report_panel(panel).axes
    assert {*axis.get_lines()[-1].get_ydata()} == {1}
    assert axis.get_ylim() == panels['Scale of stream1'].limits
    assert axis.get_ylim()[1] == pytest.approx(1.02)  # the whole image is in sight


def test_panels_of_a_report_hold_the_series_and_the_drawing_shows_them():
    run = RunLog('run', {'loss': [(1, 3.0), (2, 2.0)], 'loss_gmacs': [(1, 1.0), (2, 0.5)],
                   'mIoU': [(2, 40.0)], 'dynopool/stream1/scale_h': [(1, 0.5), (2, 0.4)],
                   'dynopool/stream1/scale_w': [(1, 0.5), (2, 0.7)]})
    stock = RunLog('stock', {'loss': [(1, 2.5), (2, 2.4)], 'mIoU': [(2, 30.0)]})
    panels = {panel.title: panel for panel in report_panels(run, dict(baseline=stock))}
    assert list(panels) == ['Task loss (without the cost)', 'Validation during training',
                            'Scale of stream1']
    loss = panels['Task loss (without the cost)']
    assert [(line.label, line.points) for line in loss.curves] == [
        ('this run', [(1, 2.0), (2, 1.5)]), ('baseline', [(1, 2.5), (2, 2.4)])]
    figure = draw_report_panel(loss)
    axes, = figure.axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[2.0, 1.5], [2.5, 2.4]]
    assert axes.get_title() == loss.title and axes.get_xlabel() == 'iteration'
    assert axes.get_ylabel() == 'loss'
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['this run', 'baseline']
    scales, = draw_report_panel(panels['Scale of stream1']).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in scales.get_lines()}
    assert lines == {'height (h)': [0.5, 0.4], 'width (w)': [0.5, 0.7], 'stride 2': [0.5, 0.5]}
    assert scales.get_ylim() == pytest.approx((0.38, 0.72))
    assert panels['Scale of stream1'].describe() == (
        'Scale of stream1: height (h) from 0.5 to 0.4 at iteration 2; '
        'width (w) from 0.5 to 0.7 at iteration 2')


def test_the_plan_lies_over_the_cost():
    """In the report beside the baseline, and in the picture of runs for each."""
    run, other = learned(), learned('other', target=0.6)
    panels = {panel.quantity: panel for panel in report_panels(run, dict(baseline=other))}
    panel = panels['gmacs_ratio']
    drawn = {line.get_label(): line for line in draw_report_panel(panel).axes[0].get_lines()}
    assert list(drawn) == ['this run', 'baseline', 'plan']
    assert list(zip(*drawn['plan'].get_data())) == [(10, 1.0), (20, 0.7), (30, 0.5)]
    assert list(zip(*drawn['this run'].get_data())) == [(10, 0.9), (20, 0.8), (30, 0.7)]
    assert drawn['plan'].get_linestyle() == '--' and drawn['plan'].get_color() == ORANGE
    assert panel.describe().endswith('; plan from 1 to 0.5 at iteration 30')
    figure = draw([run, other])
    plans = [line for line in figure.axes[5].get_lines() if line.get_label() == 'plan']
    assert [list(line.get_ydata()) for line in plans] == [[1.0, 0.7, 0.5], [1.0, 0.7, 0.6]]
    assert {(line.get_linestyle(), line.get_color()) for line in plans} == {('--', ORANGE)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        'height h', 'width w', 'stride 2', 'plan', 'run', 'other']


def test_two_baselines():
    others = {'$a': learned('a', target=0.6), 'b': learned('b', target=0.7)}
    panels = {panel.title: panel for panel in report_panels(learned(), others)}
    for title, level in (('Task loss (without the cost)', []), ('Scale of stream2', ['stride 2'])):
        figure = draw_report_panel(panels[title])
        drawn = [(line.get_label(), line.get_linestyle()) for line in figure.axes[0].get_lines()]
        names = [(f'{name}{axis}', style) for name, style in (('$a', '--'), ('b', ':'))
                 for axis in ([', h', ', w'] if level else [''])]
        assert [pair for pair in drawn if pair[0][0] in '$b'] == names
        assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())


def test_slopes_are_drawn_with_their_noise():
    panels = {panel.title: panel for panel in report_panels(learned())}
    assert list(panels)[-2:] == [f'Slope of the loss by log(scale), stream{k}' for k in (1, 2)]
    for k in (1, 2):
        panel = panels[f'Slope of the loss by log(scale), stream{k}']
        axis, = draw_report_panel(panel).axes
        lines = {line.get_label(): list(zip(*line.get_data())) for line in axis.get_lines()[:2]}
        assert lines == {'height (h)': [(20, 0.1 * k), (30, 0.2 * k)],
                         'width (w)': [(20, -0.1 * k), (30, -0.2 * k)]}
        assert bands(axis) == [
            ({20: pytest.approx((sign * 0.1 * k - 0.04, sign * 0.1 * k + 0.04)),
              30: pytest.approx((sign * 0.2 * k - 0.02, sign * 0.2 * k + 0.02))}, AXIS_COLORS[side])
            for sign, side in ((1, 'h'), (-1, 'w'))]
        assert set(axis.get_lines()[2].get_ydata()) == {0}  # no slope
        assert axis.get_ylim() == pytest.approx((-0.42, 0.42))  # the same for all instances
        assert axis.get_ylabel() == 'slope of the loss\nby log(scale)'
    assert panel.describe() == (
        'Slope of the loss by log(scale), stream2: height (h) from 0.2 to 0.4 ± 0.02 at iteration '
        '30; width (w) from -0.2 to -0.4 ± 0.02 at iteration 30')
    per_cost, = draw_report_panel(panels['Slope of the loss per 1 % of the cost (gmacs)']).axes
    assert list(zip(*per_cost.get_lines()[0].get_data())) == [
        (10, -0.001), (20, -0.002), (30, -0.003)]
    assert per_cost.get_ylabel() == 'slope of the loss\nper 1 % of the cost'


def test_slopes_in_the_picture_of_runs():
    """Where the learner of one run is beside the gradients of another."""
    runs = [learned(), make('old', 1.0)]
    figure, expected = draw(runs), kinds(evolution(runs))
    assert expected[4:] == [(quantity, stream) for quantity in ('grad_snr', 'slope')
                            for stream in ('stream1', 'stream2')] + [
        ('gmacs', ''), ('gmacs_ratio', ''), ('gmacs_slope', '')]
    first, second = (figure.axes[expected.index(('slope', f'stream{k}'))] for k in (1, 2))
    assert bands(second)[1] == ({20: pytest.approx((-0.24, -0.16)), 30: pytest.approx(
        (-0.42, -0.38))}, AXIS_COLORS['w'])
    assert [line.get_label() for line in second.get_lines()[:2]] == ['run h', 'run w']
    assert first.get_shared_y_axes().joined(first, second)
    # The three panels of the cost share the width of the two instances.
    edges = [axis.get_subplotspec().colspan for axis in figure.axes[-3:]]
    assert [(edge.start, edge.stop) for edge in edges] == [(0, 2), (2, 4), (4, 6)]


def test_a_cost_of_another_kind():
    run = learned(cost='pixels')
    panels = {panel.quantity: panel for panel in report_panels(run)}
    ratio = panels['pixels_ratio']
    assert ratio.title == 'pixels, share of initial'
    assert [(curve.label, curve.points) for curve in ratio.curves] == [
        ('this run', run.get('pixels_ratio')), ('plan', run.get('pixels_plan'))]
    assert panels['pixels_slope'].title == 'Slope of the loss per 1 % of the cost (pixels)'
    assert {'gmacs_ratio', 'gmacs_slope'}.isdisjoint(panels)
    assert kinds(evolution([run]))[-3:] == [
        ('pixels', ''), ('pixels_ratio', ''), ('pixels_slope', '')]
    axes = draw([run]).axes[-3:]
    assert [axis.get_ylabel() for axis in axes] == [
        'pixels', 'pixels, relative\nto the initial scales',
        'slope of the loss\nper 1 % of the cost']
    assert list(zip(*axes[0].get_lines()[0].get_data())) == [(10, 70), (20, 60), (30, 50)]


def test_logs_of_0_3():
    """With a budget of multiply-adds, and with one of time."""
    run = make('one', 1.0)
    run.series.update({'loss': [(10, 3.0), (20, 2.5)], 'loss_gmacs': [(10, 1.0), (20, -0.5)],
                       'gmacs_lambda': [(10, 0.01), (20, 0.02)], 'dynopool/lr': [(10, 0.02)],
                       ShapeScalar('stream1', 'grad_mean', 'h').key: [(10, 0.1)],
                       ShapeScalar('stream1', 'grad_std', 'h').key: [(10, 0.3)]})
    titles = ['Task loss (without the cost)',
              'Multiply-adds before rounding, share of initial', 'Scale of stream1',
              'Scale of stream2']
    panels = report_panels(run)
    assert [panel.title for panel in panels] == titles
    assert [curve.label for curve in panels[1].curves] == ['this run']
    run.series.update(latency_ms=[(10, 30.0), (20, 21.0)], latency_ratio=[(10, 1.0), (20, 0.7)],
                      latency_lambda=[(10, 0.1), (20, 0.2)], loss_latency=run.get('loss_gmacs'))
    del run.series['loss_gmacs']
    titles.insert(2, 'Time by the latency model, share of initial')
    panels = report_panels(run)
    assert [panel.title for panel in panels] == titles
    assert panels[0].curves[0].points == [(10, 2.0), (20, 3.0)]
    assert panels[2].curves[0].points == [(10, 1.0), (20, 0.7)]
    costs = evolution([run])[3:]
    assert kinds(costs) == [
        ('gmacs', ''), ('gmacs_ratio', ''), ('latency_ms', ''), ('latency_ratio', '')]
    assert [[curve.label for curve in panel.curves] for row in costs for panel in row] == [
        ['one']] * 4
    assert [text.get_text() for text in draw([run]).legends[0].get_texts()] == [
        'height h', 'width w', 'stride 2', 'one']
