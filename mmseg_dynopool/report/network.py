"""A network drawn to scale: feature maps as rectangles, beside those of the stock network."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle

from mmseg_dynopool.analysis.network_sizes import STOCK, NetworkSizes, Size, compare_sizes

from .figures import SKY_BLUE

_WIDTH = 9.0  # inches for the rectangles, at most
_HEIGHT = 6.0
_TEXT = 0.24  # inches for a line of text
_CHARACTER = 0.085
_GAP = 0.35
_LABELS = 0.85


class _Layout:
    """Where the rectangles go, in inches from the upper left."""

    def __init__(self, columns: dict[str, dict[str, Size]]):
        self.stock = columns[STOCK]
        self.widest = max(w for _, w in self.stock.values())
        widths = {name: max(self.widest, *(w for _, w in sizes.values()))
                  for name, sizes in columns.items()}
        heights = {stream: max(sizes[stream][0] for sizes in columns.values() if stream in sizes)
                   for stream in self.stock}
        self.inch = min(_WIDTH / sum(widths.values()), _HEIGHT / sum(heights.values()))
        self.left, self.top = {}, {}
        x, y = _LABELS, 1.5 * _TEXT
        for name, sizes in columns.items():
            self.left[name] = x
            texts = [name, *(self.text(name, stream, size) for stream, size in sizes.items())]
            x += max(widths[name] * self.inch, _CHARACTER * max(map(len, texts))) + _GAP
        for stream, height in heights.items():
            self.top[stream] = y
            y += height * self.inch + _TEXT + _GAP / 2
        self.width, self.height = x, y + 0.6

    def text(self, name: str, stream: str, size: Size) -> str:
        """``'13 x 40'``; for a learned size followed by its area relative to the stock one's."""
        text = '{} x {}'.format(*size)
        if name == STOCK:
            return text
        height, width = self.stock[stream]
        return f'{text} ({size[0] * size[1] / (height * width):.0%})'


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
            _draw_map(axis, layout, name, stream, size)
    for stream, top in layout.top.items():
        axis.text(0, top, stream, fontsize=10, va='top')
    length = max(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
                 if n <= max(1, layout.widest / 2))
    y = layout.height - 0.35
    axis.plot([_LABELS, _LABELS + length * layout.inch], [y, y], color='black', lw=2,
              solid_capstyle='butt', label='scale bar')
    axis.text(_LABELS, y + 0.06, f'{length} pixels of a feature map. Dashed: the stock outline; '
              'in brackets: area relative to it', fontsize=9, va='top')
    figure.suptitle('Feature maps drawn to scale, height x width in pixels, for an input of '
                    '{} x {}'.format(*networks[0].input_size), fontsize=11)


def _draw_map(axis: Axes, layout: _Layout, name: str, stream: str, size: Size) -> None:
    corner = x, y = layout.left[name], layout.top[stream]
    height, width = (n * layout.inch for n in size)
    below, text = height, layout.text(name, stream, size)
    face, edge = ('0.85', '0.4') if name == STOCK else (SKY_BLUE, 'black')
    axis.add_patch(Rectangle(corner, width, height, lw=0.8, facecolor=face, edgecolor=edge,
                             label=f'{name} {stream}'))
    if name != STOCK:
        stock_height, stock_width = (n * layout.inch for n in layout.stock[stream])
        below = max(height, stock_height)
        axis.add_patch(Rectangle(corner, stock_width, stock_height, fill=False, lw=0.8, ls='--',
                                 edgecolor='0.4', label=f'outline {name} {stream}'))
    if width > _CHARACTER * len(text) + 0.1 and height > 1.2 * _TEXT:
        axis.text(x + width / 2, y + height / 2, text, fontsize=9, ha='center', va='center')
    else:
        axis.text(x, y + below + 0.05, text, fontsize=9, va='top')
