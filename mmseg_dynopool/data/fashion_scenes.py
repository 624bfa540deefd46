"""Fashion-MNIST's garments on textured canvases: a data set whose right resolution is known."""

from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset


@DATASETS.register_module()
class FashionScenesDataset(BaseSegDataset):
    """Scenes of garments, ten classes and background.

    ``tools/study fashion_scenes`` prepares the files. Images and label maps are
    PNG files of the same name; a label's value is its class.

    Args:
        img_suffix: of the images' files.
        seg_map_suffix: of the label maps' files.
        **kwargs: those of mmseg's `BaseSegDataset`.

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

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: Any):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
