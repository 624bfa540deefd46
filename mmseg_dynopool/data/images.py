"""Images on the disk: found and read, whole or not at all."""

from pathlib import Path

import cv2
import numpy as np

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
    left out.

    Raises:
        ValueError: it cannot be read, or is a JPEG whose end is missing: OpenCV would fill up
            what it lacks.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f'the image {path} cannot be opened: {error.strerror}') from error
    if not content:
        raise ValueError(f'the image {path} is empty; copy it again')
    if _is_cut_jpeg(content):
        raise ValueError(f'the image {path} is cut off: a JPEG without its end; copy it again')
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} cannot be read as an image: it is damaged, or of a kind that '
                         'OpenCV does not read; convert it to PNG with 8 or 16 bits')
    return image


def _is_cut_jpeg(content: bytes) -> bool:
    """Whether ``content`` is a JPEG without the marker of its end.

    Segments before the pixels, which may hold a whole thumbnail, are stepped over.
    """
    if not content.startswith(b'\xff\xd8'):
        return False
    at = 2
    while content[at:at + 2] != b'\xff\xda':  # start of the pixels
        if at >= len(content):
            return True
        if content[at] != 0xff:
            return False  # not as the standard says: let the decoder judge
        at += 2 + int.from_bytes(content[at + 2:at + 4], 'big')
    return b'\xff\xd9' not in content[at:]
