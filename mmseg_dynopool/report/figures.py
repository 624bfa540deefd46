"""What all pictures share: Okabe and Ito's colors for the color-blind, legends, and files."""

import base64
import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure, FigureBase

from mmseg_dynopool.files import write_file

BLUE = '#0072B2'
VERMILION = '#D55E00'
SKY_BLUE = '#56B4E9'
ORANGE = '#E69F00'
# Height and width of an image, a feature map or a scale.
AXIS_COLORS = dict(h=BLUE, w=VERMILION)


def draw_legend(figure: FigureBase, **options: Any) -> None:
    """A legend below a figure, in which names of runs and classes are not parsed as formulas."""
    for text in figure.legend(loc='outside lower center', **options).get_texts():
        text.set_parse_math(False)


def encode_figure(figure: Figure, dpi: int = 100, suffix: str = '.png') -> bytes:
    """A figure as the content of a file with that suffix."""
    content = io.BytesIO()
    figure.savefig(content, dpi=dpi, format=suffix[1:].lower())
    return content.getvalue()


def save_figure(figure: Figure, path: str | Path, dpi: int = 100) -> None:
    """Write a figure atomically, in the format of the file's suffix."""
    write_file(path, encode_figure(figure, dpi, Path(path).suffix))


def data_url(png: bytes) -> str:
    """The content of a PNG file as the source of an image on a page."""
    return f'data:image/png;base64,{base64.b64encode(png).decode()}'
