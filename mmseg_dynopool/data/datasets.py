"""Data sets of our own: PNG files, a label's value is its class."""

from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset


class _PNGDataset(BaseSegDataset):
    """Images and label maps of the same names; the arguments are those of `BaseSegDataset`."""

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: Any):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class FashionScenesDataset(_PNGDataset):
    """Fashion-MNIST's garments on textured canvases, ten classes and background.

    ``tools/study fashion_scenes`` prepares the files. The right resolution is known.
    The arguments are those of mmseg's `BaseSegDataset`, the files PNG.

    Examples:
        >>> from mmseg.registry import DATASETS
        >>> import mmseg_dynopool
        >>> dataset = DATASETS.build(dict(
        ...     type='FashionScenesDataset', data_root='data/fashion_scenes', lazy_init=True,
        ...     data_prefix=dict(img_path='images/train', seg_map_path='labels/train')))
        >>> len(dataset.metainfo['classes']), dataset.metainfo['classes'][9]
        (11, 'bag')
    """

    METAINFO = dict(
        classes=('background', 'T-shirt', 'trousers', 'pullover', 'dress', 'coat', 'sandal',
                 'shirt', 'sneaker', 'bag', 'ankle boot'),
        palette=[[0, 0, 0], [230, 25, 75], [60, 180, 75], [255, 225, 25], [0, 130, 200],
                 [245, 130, 48], [145, 30, 180], [70, 240, 240], [240, 50, 230], [210, 245, 60],
                 [250, 190, 212]])


@DATASETS.register_module()
class MNI152TissueDataset(_PNGDataset):
    """Slices of the MNI152 T1 template with background, grey and white matter: the demo's data.

    ``tools/dataset_converters/mni152.py`` prepares the files. The arguments are those of mmseg's
    `BaseSegDataset`, the files PNG.

    Examples:
        >>> from mmseg.registry import DATASETS
        >>> import mmseg_dynopool
        >>> dataset = DATASETS.build(dict(
        ...     type='MNI152TissueDataset', data_root='data/mni152', lazy_init=True,
        ...     data_prefix=dict(img_path='images/train', seg_map_path='labels/train')))
        >>> dataset.metainfo['classes']
        ('background', 'grey matter', 'white matter')
    """

    METAINFO = dict(
        classes=('background', 'grey matter', 'white matter'),
        palette=[[0, 0, 0], [220, 120, 90], [245, 235, 200]])
