"""A network drawn to scale: each stream's feature map as a rectangle, beside the stock one's."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle
from mmseg.models import BaseSegmentor

from mmseg_dynopool.analysis.logs import RunLog, stock_sizes
from mmseg_dynopool.layers import all_pools

from .colors import SKY_BLUE

STOCK = 'stock: stride 2'
STOCK_COLOR = '0.85'
_WIDTH = 9.0  # inches for the rectangles, at most
_HEIGHT = 6.0
_TEXT = 0.24  # inches for a line of text
_CHARACTER = 0.085
_GAP = 0.35
_LABELS = 0.85


@dataclass(frozen=True)
class NetworkSizes:
    """Feature sizes of one network.

    Attributes:
        name: of the run or checkpoint.
        input_size: ``(H, W)`` of the image in pixels.
        sizes: ``{'stem1' (if it learns), 'stream0', 'stream1', ...: (h, w)}``.
    """

    name: str
    input_size: tuple[int, int]
    sizes: dict[str, tuple[int, int]]

    @classmethod
    def of_log(cls, run: RunLog) -> 'NetworkSizes | None':
        """By the last line of a log; None where sizes were not logged."""
        sizes = run.last_sizes()
        if not sizes:
            return None
        return cls(run.name, sizes.pop('input'), sizes)

    @classmethod
    def of_model(cls, name: str, model: BaseSegmentor, input_size: Sequence[int]) -> 'NetworkSizes':
        """Of a network with DynOPools, learned or frozen, at its alphas of the moment.

        Raises:
            ValueError: it has none.
        """
        if not all_pools(model) or not hasattr(model.backbone, 'feature_sizes'):
            raise ValueError(f'the network of {name!r} holds no DynOPool: its sizes are the stock '
                             'ones; give the config and checkpoint of a DynOPoolHRNet')
        sizes = model.backbone.feature_sizes(tuple(input_size))
        sizes.pop('stem2', None)  # stream0 has the same
        return cls(name, tuple(input_size), sizes)


def to_scale(networks: Sequence[NetworkSizes]) -> dict[str, dict[str, tuple[int, int]]]:
    """The sizes of a picture: the stock network's, then each network's.

    Returns:
        ``{column: {stream: (h, w)}}``.

    Raises:
        ValueError: the networks have inputs of different sizes.
    """
    inputs = {network.input_size for network in networks}
    if len(inputs) > 1:
        found = ', '.join('{} x {}'.format(*size) for size in sorted(inputs))
        raise ValueError(f'networks drawn beside each other need inputs of one size, got {found}; '
                         'draw them one by one')
    streams = list(dict.fromkeys(name for network in networks for name in network.sizes))
    streams.sort(key=lambda name: (name.startswith('stream'), name))
    return {STOCK: stock_sizes(inputs.pop(), streams),
            **{network.name: network.sizes for network in networks}}


class _Layout:
    """Where the rectangles go, in inches from the upper left."""

    def __init__(self, columns: dict[str, dict[str, tuple[int, int]]]):
        streams = list(columns[STOCK])
        stock_width = max(w for _, w in columns[STOCK].values())
        widest = {name: max(stock_width, *(w for _, w in sizes.values()))
                  for name, sizes in columns.items()}
        tallest = {stream: max(sizes[stream][0] for sizes in columns.values() if stream in sizes)
                   for stream in streams}
        self.inch = min(_WIDTH / sum(widest.values()), _HEIGHT / sum(tallest.values()))
        self.left, self.top = {}, {}
        x = _LABELS
        for name in columns:
            self.left[name] = x
            texts = [name, *(_text(name, size, columns[STOCK][stream])
                             for stream, size in columns[name].items())]
            x += max(widest[name] * self.inch, _CHARACTER * max(map(len, texts))) + _GAP
        y = 1.5 * _TEXT
        for stream in streams:
            self.top[stream] = y
            y += tallest[stream] * self.inch + _TEXT + _GAP / 2
        self.width, self.height = x, y + 0.6


def network_size(networks: Sequence[NetworkSizes]) -> tuple[float, float]:
    """Width and height in inches that :func:`draw_network` wants."""
    layout = _Layout(to_scale(networks))
    return max(layout.width, 6.0), layout.height + 0.6


def draw_network(figure: FigureBase, networks: Sequence[NetworkSizes]) -> None:
    """Draw :func:`to_scale`, all rectangles in one scale, their sizes written in or below.

    Args:
        figure: a figure or a part of one, of :func:`network_size`.
        networks: at the same input size.
    """
    columns = to_scale(networks)
    layout = _Layout(columns)
    axis = figure.add_subplot()
    axis.set_xlim(0, layout.width)
    axis.set_ylim(layout.height, 0)
    axis.set_aspect('equal')
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


def _text(name: str, size, stock) -> str:
    """``'13 x 40'``, of a learned size with its area relative to the stock one's."""
    text = '{} x {}'.format(*size)
    if name != STOCK:
        text += f' ({size[0] * size[1] / (stock[0] * stock[1]):.0%})'
    return text


def _draw_map(axis, layout: _Layout, name: str, stream: str, size, stock) -> None:
    corner = layout.left[name], layout.top[stream]
    height, width = (n * layout.inch for n in size)
    own = dict(facecolor=STOCK_COLOR, edgecolor='0.4') if name == STOCK else dict(
        facecolor=SKY_BLUE, edgecolor='black')
    axis.add_patch(Rectangle(corner, width, height, lw=0.8, label=f'{name} {stream}', **own))
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


def _draw_scale_bar(axis, layout: _Layout, columns: dict) -> None:
    widest = max(w for _, w in columns[STOCK].values())
    length = max(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= max(1, widest / 2))
    y = layout.height - 0.35
    axis.plot([_LABELS, _LABELS + length * layout.inch], [y, y], color='black', lw=2,
              solid_capstyle='butt', label='scale bar')
    axis.text(_LABELS, y + 0.06, f'{length} pixels of a feature map. Dashed: the stock outline; '
              'in brackets: area relative to it', fontsize=9, va='top')
