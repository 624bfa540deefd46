"""A network drawn to scale: feature maps as rectangles, beside those of the stock network."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle

from mmseg_dynopool.analysis.network_sizes import STOCK, NetworkSizes, Size, compare_sizes

from .figures import SKY_BLUE

STOCK_COLOR = '0.85'
_WIDTH = 9.0  # inches for the rectangles, at most
_HEIGHT = 6.0
_TEXT = 0.24  # inches for a line of text
_CHARACTER = 0.085
_GAP = 0.35
_LABELS = 0.85


class _Layout:
    """Where the rectangles go, in inches from the upper left."""

    def __init__(self, columns: dict[str, dict[str, Size]]):
        streams = list(columns[STOCK])
        stock_width = max(w for _, w in columns[STOCK].values())
        widest = {name: max(stock_width, *(w for _, w in sizes.values()))
                  for name, sizes in columns.items()}
        tallest = {stream: max(sizes[stream][0] for sizes in columns.values() if stream in sizes)
                   for stream in streams}
        self.inch = min(_WIDTH / sum(widest.values()), _HEIGHT / sum(tallest.values()))
        self.left, self.top = {}, {}
        x = _LABELS
        for name, sizes in columns.items():
            self.left[name] = x
            texts = [name, *(_text(name, sizes[s], columns[STOCK][s]) for s in sizes)]
            x += max(widest[name] * self.inch, _CHARACTER * max(map(len, texts))) + _GAP
        y = 1.5 * _TEXT
        for stream in streams:
            self.top[stream] = y
            y += tallest[stream] * self.inch + _TEXT + _GAP / 2
        self.width, self.height = x, y + 0.6


def network_size(networks: Sequence[NetworkSizes]) -> tuple[float, float]:
    """Width and height in inches that `draw_network` needs."""
    layout = _Layout(compare_sizes(networks))
    return max(layout.width, 6.0), layout.height + 0.6


def draw_network(figure: FigureBase, networks: Sequence[NetworkSizes]) -> None:
    """Draw networks of one input size, all in one scale, their sizes written in or below."""
    columns = compare_sizes(networks)
    layout = _Layout(columns)
    axis = figure.add_subplot(xlim=(0, layout.width), ylim=(layout.height, 0), aspect='equal')
    axis.set_axis_off()
    for name, sizes in columns.items():
        axis.text(layout.left[name], 0.9 * _TEXT, name, fontsize=10, fontweight='bold',
                  parse_math=False)
        for stream, size in sizes.items():
            _draw_map(axis, layout, name, stream, size, columns[STOCK][stream])
    for stream, top in layout.top.items():
        axis.text(0, top, stream, fontsize=10, va='top')
    _draw_scale_bar(axis, layout, columns)
    figure.suptitle('Feature maps drawn to scale, height x width in pixels, for an input of '
                    '{} x {}'.format(*networks[0].input_size), fontsize=11)


def _text(name: str, size: Size, stock: Size) -> str:
    """``'13 x 40'``, of a learned size with its area relative to the stock one's."""
    text = '{} x {}'.format(*size)
    if name != STOCK:
        text += f' ({size[0] * size[1] / (stock[0] * stock[1]):.0%})'
    return text


def _draw_map(axis: Axes, layout: _Layout, name: str, stream: str, size: Size, stock: Size
              ) -> None:
    corner = layout.left[name], layout.top[stream]
    height, width = (n * layout.inch for n in size)
    look: dict[str, Any] = dict(
        facecolor=STOCK_COLOR, edgecolor='0.4') if name == STOCK else dict(
        facecolor=SKY_BLUE, edgecolor='black')
    axis.add_patch(Rectangle(corner, width, height, lw=0.8, label=f'{name} {stream}', **look))
    text = _text(name, size, stock)
    if name != STOCK:
        axis.add_patch(Rectangle(corner, *(n * layout.inch for n in reversed(stock)),
                                 fill=False, lw=0.8, ls='--', edgecolor='0.4',
                                 label=f'outline {name} {stream}'))
    if width > _CHARACTER * len(text) + 0.1 and height > 1.2 * _TEXT:
        axis.text(corner[0] + width / 2, corner[1] + height / 2, text, fontsize=9, ha='center',
                  va='center')
    else:
        below = max(height, stock[0] * layout.inch) if name != STOCK else height
        axis.text(corner[0], corner[1] + below + 0.05, text, fontsize=9, va='top')


def _draw_scale_bar(axis: Axes, layout: _Layout, columns: dict[str, dict[str, Size]]) -> None:
    widest = max(w for _, w in columns[STOCK].values())
    length = max(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= max(1, widest / 2))
    y = layout.height - 0.35
    axis.plot([_LABELS, _LABELS + length * layout.inch], [y, y], color='black', lw=2,
              solid_capstyle='butt', label='scale bar')
    axis.text(_LABELS, y + 0.06, f'{length} pixels of a feature map. Dashed: the stock outline; '
              'in brackets: area relative to it', fontsize=9, va='top')
