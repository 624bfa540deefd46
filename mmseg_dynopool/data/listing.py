"""The data sets of a config without their augmentations."""

from collections.abc import Iterator

import numpy as np
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_dynopool.config import type_name


def plain_datasets(dataset: dict) -> list[dict]:
    """The data sets inside wrappers such as ConcatDataset and RepeatDataset."""
    if 'datasets' in dataset:
        return [plain for part in dataset['datasets'] for plain in plain_datasets(part)]
    if 'dataset' in dataset:
        return plain_datasets(dataset['dataset'])
    return [dataset]


def loading_transforms(dataset: dict) -> list[dict]:
    """Those transforms of a data set's pipeline that load images and annotations."""
    return [t for t in dataset.get('pipeline') or [] if type_name(t).startswith('Load')]


def read_samples(dataset: dict, images: int
                 ) -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
    """Images and label maps of a config's data set as they lie on the disk, evenly spread.

    Yields:
        ``(path of the image, image (H, W, C), label map (H, W), value of ignored pixels)``, at
        most ``images`` of them.

    Raises:
        ValueError: the data set is empty, its pipeline loads no annotations, or ``images`` is
            below 1.
    """
    if images < 1:
        raise ValueError(f'images must be at least 1, got {images}')
    init_default_scope('mmseg')
    built = []
    for plain in plain_datasets(dataset):
        pipeline = loading_transforms(plain)
        if 'LoadAnnotations' not in map(type_name, pipeline):
            raise ValueError('the pipeline of the data set loads no label maps, got '
                             f'{[type_name(t) for t in plain.get("pipeline") or []]}; add '
                             "dict(type='LoadAnnotations')")
        part = DATASETS.build({**plain, 'pipeline': pipeline, 'lazy_init': True})
        if part.load_data_list():  # mmengine cannot complete an empty one
            part.full_init()
            built.append(part)
    samples = [(part, index) for part in built for index in range(len(part))]
    if not samples:
        raise ValueError(f'the data set is empty: no images in '
                         f'{[p.get("data_root") for p in plain_datasets(dataset)]}; '
                         'see docs/data.md')
    for which in np.unique(np.linspace(0, len(samples) - 1, images).round().astype(int)):
        part, index = samples[which]
        info = part.get_data_info(index)
        sample = part.pipeline(dict(info))
        yield info['img_path'], sample['img'], sample['gt_seg_map'], part.ignore_index
