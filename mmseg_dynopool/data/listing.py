"""The data sets of a config without their augmentations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from mmseg_dynopool.config import type_name


def build_dataset(settings: dict) -> Any:
    """Build a data set as mmengine's runner does; a ValueError tells why there is none."""
    try:
        dataset = DATASETS.build(settings)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
    except Exception as error:  # of many types, by data set
        mend = 'see docs/data.md'
        if ' registry. ' in str(error):  # mmengine's, of a name
            mend = ('name the module of each class of your own in custom_imports, whose list takes '
                    "the place of that in the config's _base_")
        raise ValueError(next(_missing(settings), '') or
                         f'the data set {type_name(settings)} cannot be built '
                         f'({type(error).__name__}: {error}); {mend}') from error
    if hasattr(dataset, '__len__') and not len(dataset):
        raise ValueError('the data set is empty; see docs/data.md')
    return dataset


def _missing(settings: dict) -> Iterator[str]:
    """What a data set that cannot be built may lack."""
    for plain in without_wrappers(settings):
        root, prefixes = plain.get('data_root') or '', plain.get('data_prefix')
        folders = prefixes if isinstance(prefixes, dict) else {'': prefixes}
        for key, prefix in folders.items():
            folder = str(Path(root, prefix or ''))
            if '://' not in f'{root}{prefix}' and not Path(folder).is_dir():
                of = f' ({key})' if key else ''
                yield (f'the folder {folder!r}{of} does not exist; see docs/data.md, or set '
                       'data_root of the data set')
        listed = plain.get('ann_file') or ''
        if listed and '://' not in f'{root}{listed}' and not Path(root, listed).exists():
            yield (f'the list {str(Path(root, listed))!r} (ann_file) does not exist; see '
                   'docs/data.md')
        try:
            lister = DATASETS.build({**plain, 'pipeline': [], 'lazy_init': True})
            is_empty = not lister.load_data_list()
        except Exception:  # the data set's own error tells more
            continue
        if is_empty:
            yield (f'the data set is empty: no {getattr(lister, "img_suffix", "image")!r} files in '
                   f'{lister.data_prefix.get("img_path", root)!r}; see docs/data.md')


def without_wrappers(settings: dict) -> list[dict]:
    """The settings of the data sets inside wrappers such as ConcatDataset and RepeatDataset."""
    inner = settings.get('datasets') or [settings.get('dataset')]
    if isinstance(inner, (list, tuple)) and all(isinstance(part, dict) for part in inner):
        return [plain for part in inner for plain in without_wrappers(part)]
    return [settings]


def dataset_of(loader: Any) -> dict:
    """The settings of a data loader's data set, of several the first; empty if it has none."""
    settings = loader.get('dataset') if isinstance(loader, dict) else None
    return without_wrappers(settings or {})[0]


def parts_of(dataset: Any) -> list:
    """The data sets inside those that wrap others."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if isinstance(inner, (list, tuple)) and all(  # mmengine's wrappers have no common base
            isinstance(part, Dataset) or hasattr(part, 'full_init') for part in inner):
        return [plain for part in inner for plain in parts_of(part)]
    return [dataset]


def steps_of(dataset: Any) -> list:
    """The transforms of a data set's pipeline, built."""
    return getattr(getattr(dataset, 'pipeline', None), 'transforms', [])


def spread(count: int, chosen: int) -> list[int]:
    """Some of ``count`` indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, chosen).round().astype(int)).tolist()


def load_sample(dataset: BaseDataset, index: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """An image ``(H, W, C)`` and its label map ``(H, W)``, as the data set's pipeline loads them.

    Its transforms run until both are there, so before any augmentation. None if no transform gives
    an ``img``, or a ``gt_seg_map``.
    """
    sample, found = dataset.get_data_info(index), {}
    for step in steps_of(dataset):
        sample = step(sample)
        if not isinstance(sample, dict):
            break
        for key in ('img', 'gt_seg_map'):
            if key not in found and isinstance(sample.get(key), np.ndarray):
                found[key] = sample[key].copy()
        if len(found) == 2:
            break
    return found.get('img'), found.get('gt_seg_map')


def read_samples(dataset: dict, images: int
                 ) -> Iterator[tuple[str, np.ndarray, np.ndarray, int]]:
    """Images and label maps of a config's data set as they lie on the disk, evenly spread.

    Yields:
        ``(path of the image, image (H, W, C), label map (H, W), value of ignored pixels)``.
    """
    if images < 1:
        raise ValueError(f'images must be at least 1, got {images}')
    parts = parts_of(build_dataset(dataset))
    if not all(isinstance(part, BaseDataset) for part in parts):
        raise ValueError(f"samples are read from mmengine's BaseDataset alone, got "
                         f'{[type(part).__name__ for part in parts]}')
    samples = [(part, index) for part in parts for index in range(len(part))]
    for which in spread(len(samples), images):
        part, index = samples[which]
        image, label = load_sample(part, index)
        if image is None or label is None:
            raise ValueError('the pipeline of the data set loads no label maps, got '
                             f'{[type(step).__name__ for step in steps_of(part)]}; add '
                             "dict(type='LoadAnnotations')")
        path = part.get_data_info(index).get('img_path', f'image {index}')
        yield path, image, label, getattr(part, 'ignore_index', 255)
