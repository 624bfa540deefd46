"""Curves of the picture equal the log's numbers."""

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mmseg_dynopool.analysis.logs import RunLog
from mmseg_dynopool.report.colors import AXIS_COLORS
from mmseg_dynopool.report.evolution import draw_evolution, evolution, evolution_size


def make(name, slope, gmacs=True, sizes=True, steps=(10, 20, 30)):
    lines = []
    for step in steps:
        line = dict(iter=step, step=step)
        if gmacs:
            line |= dict(gmacs=100 - slope * step, gmacs_ratio=1 - slope * step / 100)
        for stream in ('stream1', 'stream2'):
            for sign, axis in ((1, 'h'), (-1, 'w')):
                key = f'dynopool/{stream}'
                line[f'{key}/scale_{axis}'] = 0.5 + sign * slope * step / 1000
                if sizes:
                    line[f'{key}/size_{axis}'] = 64 + sign * step
                if step > 10:
                    line[f'{key}/grad_snr_{axis}'] = slope / step
        lines.append(line)
    return RunLog(name, lines, [])


def draw(runs):
    figure = Figure(layout='constrained')
    draw_evolution(figure, runs)
    figure.draw_without_rendering()
    return figure


def curves(axis):
    """Lines of data by (run, axis)."""
    return {tuple(x.get_label().split()): x for x in axis.lines
            if not x.get_label().startswith('_')}


def test_lines_equal_the_log():
    runs = [make('one', 1.0), make('two', 2.0)]
    figure = draw(runs)
    panels = evolution(runs)
    expected = [f'{row} {stream}' for row in ('scale', 'size', 'grad_snr')
                for stream in ('stream1', 'stream2')] + ['gmacs', 'gmacs_ratio']
    assert list(panels) == expected and len(figure.axes) == len(expected)
    for panel, axis in zip(expected, figure.axes):
        row, _, stream = panel.partition(' ')
        found = curves(axis)
        sides = 'hw' if stream else ('', )
        assert len(found) == 2 * len(sides)
        for run, style in zip(runs, ('-', '--')):
            for side in sides:
                line = found[(run.name, side) if side else (run.name, )]
                key = f'dynopool/{stream}/{row}_{side}' if side else row
                points = [(x['step'], x[key]) for x in run.train if key in x]
                assert list(zip(*line.get_data())) == points and len(points) >= 2
                assert line.get_linestyle() == style
                if side:
                    assert to_hex(line.get_color()).upper() == AXIS_COLORS[side]


def test_titles_labels_and_legend():
    figure = draw([make('one', 1.0), make('two', 2.0)])
    assert [axis.get_title() for axis in figure.axes[:3]] == ['stream1', 'stream2', '']
    assert [axis.get_ylabel() for axis in figure.axes] == [
        'scale r = 1 / alpha', '', 'feature size (pixels)', '', "alpha's gradient\n|mean| / std",
        '', 'GMACs ($10^9$ multiply-adds)\nbefore rounding of sizes', 'GMACs / GMACs at the start']
    assert [axis.get_xlabel() for axis in figure.axes[-2:]] == ['iteration'] * 2
    legend, = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        'height h', 'width w', 'stride 2', 'one', 'two']
    assert figure.get_suptitle()
    reference = next(x for x in figure.axes[0].lines if x.get_label().startswith('_'))
    assert set(reference.get_ydata()) == {0.5}


def test_panels_of_what_was_logged():
    """A log without cost and sizes, beside one that has them; instances of either."""
    old, new = make('old', 1.0, gmacs=False, sizes=False, steps=(10, )), make('new', 1.0)
    assert list(evolution([old])) == ['scale stream1', 'scale stream2']
    panels = evolution([old, new])
    assert list(panels['gmacs']) == [('new', '')]
    assert list(panels['size stream2']) == [('new', 'h'), ('new', 'w')]
    assert len(panels['scale stream1']) == 4
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
    for line in stem.train:
        line.update({f'dynopool/stem1/scale_{axis}': 0.5 for axis in 'hw'})
    scales = [panel for panel in evolution([plain, stem]) if panel.startswith('scale')]
    assert scales == ['scale stem1', 'scale stream1', 'scale stream2']
