"""Images on the disk: found, read whole or not at all, and painted with labels."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def find_images(path: str | Path) -> list[Path]:
    """The image at ``path``, or all images in the folder ``path``.

    Raises:
        ValueError: there is nothing at ``path``, or a folder without images.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f'there is no image or folder {str(path)!r}')
    images = sorted(p for p in path.iterdir()
                    if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir())
    if not images:
        raise ValueError(f'the folder {str(path)!r} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    return images


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as ``(H, W, 3)``, BGR, 8 bits.

    Gray images get three equal channels, 16 bits are cut to their upper 8, an alpha channel is
    dropped.

    Raises:
        ValueError: it cannot be read, or is a JPEG whose end is missing: OpenCV would fill in
            what is missing.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f'the image {path} cannot be opened: {error.strerror}') from error
    if not content:
        raise ValueError(f'the image {path} is empty; copy it again')
    _check_jpeg(content, path)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} cannot be read as an image: it is damaged, or of a kind that '
                         'OpenCV does not read; convert it to PNG with 8 or 16 bits')
    return image


def _check_jpeg(content: bytes, path: str | Path) -> None:
    """Let Pillow decode a JPEG: unlike OpenCV it refuses one that is cut off or broken."""
    if not content.startswith(b'\xff\xd8'):
        return
    try:
        with Image.open(io.BytesIO(content), formats=['JPEG']) as image:
            image.load()
    except Image.UnidentifiedImageError:
        return  # not a header that Pillow knows: OpenCV decides
    except OSError as error:
        if 'truncated' in str(error).lower():
            raise ValueError(f'the image {path} is cut off: a JPEG without its end; copy it '
                             'again') from error
        raise ValueError(f'{path} cannot be read as an image: it is damaged ({error}); copy it '
                         'again') from error


def paint_labels(image: np.ndarray, label: np.ndarray, palette: Sequence | np.ndarray,
                 opacity: float, ignore_index: int | None = None) -> np.ndarray:
    """Blend an image ``(H, W, C)``, 8 bits, with the colors of its labels ``(H, W)``.

    The ``palette`` has a color in the image's order of channels for each class; labels beyond it
    get the last one. Pixels of ``ignore_index`` stay as they are. ``opacity`` is from 0 to 1.
    """
    colors = np.asarray(palette, float)[np.minimum(label, len(palette) - 1)]
    painted = (1 - opacity) * image + opacity * colors
    if ignore_index is not None:
        painted = np.where((label == ignore_index)[..., None], image, painted)
    return painted.round().astype(np.uint8)
