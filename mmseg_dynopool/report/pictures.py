"""The report's pictures: curves, feature maps to scale, labels painted on images."""

import io
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from matplotlib.figure import Figure

from .colors import AXIS_COLORS, BLUE

GRAY = '#767676'
_MAX_SIDE = 480


@dataclass
class Line:
    """One line of a chart: its label, its points ``(iteration, value)`` and how it looks."""

    label: str
    points: list[tuple[int, float]]
    color: str = BLUE
    dashed: bool = False


@dataclass
class Chart:
    """What a chart shows; ``limits`` of its y-axis, by default those of the data."""

    title: str
    ylabel: str
    lines: list[Line]
    limits: tuple[float, float] | None = None

    def describe(self) -> str:
        """The chart in words, for those who cannot see it."""
        parts = [f'{line.label} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g} '
                 f'at iteration {line.points[-1][0]}' for line in self.lines if line.points]
        return f'{self.title}: {"; ".join(parts)}'


def charts(run, baseline=None) -> list[Chart]:
    """The curves of a run and its baseline, from their ``Scalars``; empty ones are left out."""
    runs = [('this run', run, BLUE, False)]
    if baseline is not None:
        runs.append(('baseline', baseline, GRAY, True))

    def chart(title, ylabel, read):
        lines = [Line(label, read(scalars), color, dashed)
                 for label, scalars, color, dashed in runs]
        return Chart(title, ylabel, [line for line in lines if line.points])

    found = [
        chart('Task loss (without the cost)', 'loss', lambda s: s.task_loss()),
        chart('Validation during training', 'mIoU (%)', lambda s: s.get('mIoU')),
        chart('Multiply-adds before rounding, relative to the start', 'GMACs / GMACs at the start',
              lambda s: s.get('gmacs_ratio')),
    ]
    other = baseline.scales() if baseline is not None else {}
    values = [r for scales in (run.scales(), other) for axes in scales.values()
              for series in axes.values() for _, r in series] + [0.5]
    limits = min(values) - 0.02, max(values) + 0.02  # of all instances, to compare them
    for name, axes in run.scales().items():
        lines = [Line(f'height ({axis})' if axis == 'h' else f'width ({axis})', axes[axis], color)
                 for axis, color in AXIS_COLORS.items()]
        if name in other:
            lines += [Line(f'baseline, {axis}', other[name][axis], color, True)
                      for axis, color in AXIS_COLORS.items()]
        found.append(Chart(f'Scale of {name}', 'scale factor r', lines, limits))
    return [c for c in found if c.lines]


def draw_chart(chart: Chart) -> Figure:
    """Draw a chart over the iterations."""
    figure = Figure(figsize=(4.6, 3.3), layout='constrained')
    axes = figure.subplots()
    axes.xaxis.get_major_locator().set_params(integer=True)
    for line in chart.lines:
        x, y = zip(*line.points, strict=True)
        # Few points would hardly show as a line.
        axes.plot(x, y, label=line.label, color=line.color, lw=1.8,
                  ls='--' if line.dashed else '-', marker='o' if len(x) < 12 else None, ms=4)
    if chart.limits:
        axes.set_ylim(chart.limits)
        axes.axhline(0.5, color=GRAY, lw=1, ls=':', label='stock: 0.5')
    axes.set_title(chart.title, fontsize=11)
    axes.set_xlabel('iteration')
    axes.set_ylabel(chart.ylabel)
    axes.grid(alpha=0.25)
    axes.spines[['top', 'right']].set_visible(False)
    if len(axes.get_lines()) > 1:
        figure.legend(loc='outside lower center', ncols=3, frameon=False, fontsize=9)
    return figure


def png(figure: Figure, dpi: int = 150) -> bytes:
    """A figure as the content of a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, dpi=dpi, format='png')
    return content.getvalue()


def sizes_svg(sizes: dict[str, tuple[int, int]], pixel: float, label: str) -> str:
    """Feature maps drawn to scale on one centre, with this run's below.

    Args:
        sizes: ``(H, W)`` in feature pixels, by kind: ``'run'``, ``'stock'``, ``'baseline'``.
        pixel: side of one feature pixel on the screen.
        label: the picture in words.

    Returns:
        An SVG element; its rectangles have the class ``KIND`` and their sizes in data-h, data-w.
    """
    height = pixel * max(h for h, _ in sizes.values()) + 4
    width = pixel * max(w for _, w in sizes.values()) + 4
    rectangles = ''.join(
        f'<rect class="{escape(kind)}" data-h="{h}" data-w="{w}" '
        f'x="{(width - pixel * w) / 2:.2f}" y="{(height - pixel * h) / 2:.2f}" '
        f'width="{pixel * w:.2f}" height="{pixel * h:.2f}"/>'
        for kind, (h, w) in sorted(sizes.items(), key=lambda item: item[0] != 'run'))
    return (f'<svg role="img" aria-label="{escape(label)}" width="{width:.0f}" '
            f'height="{height:.0f}" viewBox="0 0 {width:.2f} {height:.2f}">{rectangles}</svg>')


def paint(image: np.ndarray, label: np.ndarray, palette: list, ignore_index: int = 255
          ) -> np.ndarray:
    """Labels painted on the gray image; what is ignored stays gray.

    Args:
        image: ``(H, W, 3)``, RGB.
        label: ``(h, w)``.
        palette: RGB colors.

    Returns:
        ``(h, w, 3)``, RGB.
    """
    image = cv2.resize(image, label.shape[::-1], interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    colors = np.array(palette, np.float32)[np.minimum(label, len(palette) - 1)]
    counted = (label != ignore_index)[..., None]
    return np.where(counted, 0.35 * gray + 0.65 * colors, gray).round().astype(np.uint8)


def png_of_image(image: np.ndarray) -> bytes:
    """An RGB image as the content of a PNG file, its longer side at most 480 pixels."""
    shrink = _MAX_SIDE / max(image.shape[:2])
    if shrink < 1:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return cv2.imencode('.png', image[..., ::-1])[1].tobytes()
