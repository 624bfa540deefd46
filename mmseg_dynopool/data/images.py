"""Images on the disk: found, read whole or not at all, and painted with labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.npy', '.png', '.tif', '.tiff', '.webp')


def find_images(path: str | Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The image at ``path``, or all files in this folder that end in one of ``suffixes``."""
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f'there is no image or folder {str(path)!r}')
    images = sorted(p for p in path.iterdir() if not p.is_dir() and not p.name.startswith('.')
                    and p.name.lower().endswith(tuple(map(str.lower, suffixes))))
    if not images:
        named = ', '.join(filter(None, suffixes))
        which = f' ({named})' if named else ''
        raise ValueError(f'the folder {str(path)!r} holds no image{which}')
    return images


def check_image(path: str | Path) -> None:
    """Raise a ValueError for damage that OpenCV ignores or fills in, as a JPEG's missing end."""
    try:
        if not Path(path).stat().st_size:
            raise ValueError(f'the image {path} is empty; copy it again')
        with Image.open(path, formats=['JPEG']) as image:
            image.load()
    except Image.UnidentifiedImageError:
        return  # OpenCV decides
    except OSError as error:
        if error.strerror:
            raise ValueError(f'the image {path} cannot be opened: {error.strerror}') from error
        if 'truncated' in str(error).lower():
            raise ValueError(f'the image {path} is cut off: a JPEG without its end; copy it '
                             'again') from error
        raise ValueError(f'{path} cannot be read as an image: it is damaged ({error}); copy it '
                         'again') from error


def to_picture(image: np.ndarray) -> np.ndarray:
    """What a person can look at: any image ``(H, W)`` or ``(H, W, C)`` as ``(H, W, 3)``, 8 bits.

    Of three channels or more the first three; of fewer the first one, as gray. Whole numbers from 0
    to 255 stay as they are, others are stretched to that range, but for the outer 2 % at each end.
    """
    image = np.asarray(image)
    image = image.reshape(*image.shape[:2], -1)
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, 2)
    if image.dtype == np.uint8:
        return image
    image = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = image.min(initial=0), image.max(initial=0)
    if low < 0 or high > 255 or not np.array_equal(image, image.round()):
        low, high = np.percentile(image, (2, 98))
        image = 255 * (image - low) / max(high - low, np.finfo(float).tiny)
    return image.clip(0, 255).round().astype(np.uint8)


def paint_labels(image: np.ndarray, label: np.ndarray, palette: Sequence | np.ndarray,
                 opacity: float, ignore_index: int | None = None) -> np.ndarray:
    """Blend an image ``(H, W, C)``, 8 bits, with the colors of its labels ``(H, W)``.

    The ``palette`` has a color in the image's order of channels for each class; labels beyond it
    get the last one. Pixels of ``ignore_index`` stay as they are. ``opacity`` is from 0 to 1.
    """
    label = np.asarray(label).astype(int)  # of a head with one channel they are floats
    colors = np.asarray(palette, float)[np.minimum(label, len(palette) - 1)]
    painted = (1 - opacity) * image + opacity * colors
    if ignore_index is not None:
        painted = np.where((label == ignore_index)[..., None], image, painted)
    return painted.round().astype(np.uint8)
