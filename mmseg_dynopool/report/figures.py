"""What all pictures share: Okabe and Ito's colours, which the colour-blind can tell apart, and
how a picture becomes a file."""

import base64
import io
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from mmseg_dynopool.files import write_file

BLUE = '#0072B2'
VERMILION = '#D55E00'
SKY_BLUE = '#56B4E9'
ORANGE = '#E69F00'
# Height and width of an image, a feature map or a scale.
AXIS_COLORS = dict(h=BLUE, w=VERMILION)
_LONGEST_SIDE = 480


def encode_figure(figure: Figure, dpi: int = 100, suffix: str = '.png') -> bytes:
    """A figure as the content of a file with that suffix."""
    content = io.BytesIO()
    figure.savefig(content, dpi=dpi, format=suffix[1:].lower())
    return content.getvalue()


def save_figure(figure: Figure, path: str | Path, dpi: int = 100) -> None:
    """Write a figure atomically, in the format of the file's suffix."""
    write_file(path, encode_figure(figure, dpi, Path(path).suffix))


def encode_image(image: np.ndarray) -> bytes:
    """An RGB image as the content of a PNG file, its longer side at most 480 pixels."""
    shrink = _LONGEST_SIDE / max(image.shape[:2])
    if shrink < 1:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return cv2.imencode('.png', image[..., ::-1])[1].tobytes()


def data_url(png: bytes) -> str:
    """The content of a PNG file as the source of an image of a page."""
    return f'data:image/png;base64,{base64.b64encode(png).decode()}'
