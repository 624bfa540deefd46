"""Distortions after CIFAR-stretch, CIFAR-tile and CIFAR-large (main paper, section 3).

The supplement names them; axis, factors and number of tiles are ours. With them the right
resolution of a data set is known: a stretched image wants fewer samples along the stretched axis,
an enlarged one along both, and a tiled one those of the single tile.
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from mmseg_dynopool.ops.size import check_whole, is_number


class _Resize(BaseTransform):
    """Resize the image's height by ``down`` and its width by ``right``, bilinearly."""

    def __init__(self, down: float, right: float):
        for factor in (down, right):
            if not is_number(factor) or factor <= 0:
                raise ValueError(f'factor must be a finite number > 0, e.g. 2.0, got {factor!r}')
        self.down, self.right = down, right

    def transform(self, results: dict) -> dict:
        """Resize ``img``."""
        image = results['img']
        height, width = image.shape[:2]
        size = max(1, round(width * self.right)), max(1, round(height * self.down))
        resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        resized = resized.reshape(*size[::-1], *image.shape[2:])  # one channel stays one
        return dict(results, img=resized, img_shape=resized.shape[:2])


@TRANSFORMS.register_module()
class StretchImage(_Resize):
    """Stretch the image along one axis, bilinearly.

    Changes ``img`` ``(H, W, C)`` and ``img_shape``.

    Args:
        factor: how much longer the axis becomes.
        axis: ``'height'`` or ``'width'``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import numpy as np
        >>> from mmseg_dynopool.classification import StretchImage
        >>> stretch = StretchImage(factor=2.0, axis='height')  # dict(type='StretchImage', ...)
        >>> stretch(dict(img=np.zeros((32, 32, 3), np.uint8)))['img_shape']
        (64, 32)
    """

    def __init__(self, factor: float = 2., axis: str = 'height'):
        if axis not in ('height', 'width'):
            raise ValueError(f"axis must be 'height' or 'width', got {axis!r}")
        super().__init__(*((factor, 1) if axis == 'height' else (1, factor)))
        self.factor, self.axis = factor, axis


@TRANSFORMS.register_module()
class EnlargeImage(_Resize):
    """Enlarge the image along both axes, bilinearly.

    Changes ``img`` ``(H, W, C)`` and ``img_shape``.

    Args:
        factor: how much longer each side becomes.

    Raises:
        ValueError: it is out of range.

    Examples:
        >>> import numpy as np
        >>> from mmseg_dynopool.classification import EnlargeImage
        >>> enlarge = EnlargeImage(factor=1.5)  # dict(type='EnlargeImage', ...)
        >>> enlarge(dict(img=np.zeros((32, 32, 3), np.uint8)))['img_shape']
        (48, 48)
    """

    def __init__(self, factor: float = 2.):
        super().__init__(factor, factor)
        self.factor = factor


@TRANSFORMS.register_module()
class TileImage(BaseTransform):
    """Repeat the image in rows and columns.

    Changes ``img`` ``(H, W, C)`` and ``img_shape``.

    Args:
        rows: number of copies from top to bottom.
        columns: number of copies from left to right.

    Raises:
        ValueError: one is not a whole number >= 1.

    Examples:
        >>> import numpy as np
        >>> from mmseg_dynopool.classification import TileImage
        >>> tile = TileImage(rows=2, columns=3)  # dict(type='TileImage', ...)
        >>> tile(dict(img=np.zeros((32, 32, 3), np.uint8)))['img_shape']
        (64, 96)
    """

    def __init__(self, rows: int = 2, columns: int = 2):
        for name, count in (('rows', rows), ('columns', columns)):
            check_whole(name, count)
        self.rows, self.columns = rows, columns

    def transform(self, results: dict) -> dict:
        """Tile ``img``."""
        image = results['img']
        tiled = np.tile(image, (self.rows, self.columns) + (1, ) * (image.ndim - 2))
        return dict(results, img=tiled, img_shape=tiled.shape[:2])
