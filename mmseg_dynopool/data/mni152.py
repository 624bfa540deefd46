"""Brain tissue in slices of the MNI152 template: the demo's data set."""

from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset


@DATASETS.register_module()
class MNI152TissueDataset(BaseSegDataset):
    """Slices of the MNI152 T1 template with background, grey and white matter.

    ``tools/dataset_converters/mni152.py`` prepares the files. Images and label maps are PNG
    files of the same name; a label's value is its class.

    Args:
        img_suffix: of the images' files.
        seg_map_suffix: of the label maps' files.
        **kwargs: those of mmseg's `BaseSegDataset`.

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

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: Any):
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
