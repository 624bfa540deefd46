"""Look at the data before a run starts, not after an hour of it."""

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_dynopool.config import is_segmentor, type_name

from .labels import LabelRange, describe_strays, label_range, stray_labels
from .listing import loading_transforms, plain_datasets

_SHOWN = 5
_SAMPLES = 8


def check_data(cfg: Config, *dataloaders: str) -> None:
    """Check that the data sets of a config are there and every image has its label map.

    A few images of each data set are read: the label map must have the image's size, one channel
    and no values but the classes and ``ignore_index``. A classifier's data set must have as many
    classes as its head. ``dataloaders`` are names in the config.

    Raises:
        ValueError: a folder, image or label map is missing or malformed; the message names it.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    for name in dataloaders:
        if cfg.get(name) is not None:
            for dataset in plain_datasets(cfg[name].dataset):
                if not is_segmentor(cfg.model):
                    _check_classes(name, dataset, cfg.model.head or {})
                    continue
                _check_folders(name, dataset)
                _check_pairs(name, dataset)
                _check_samples(name, dataset, cfg.model)


def _check_classes(name: str, dataset: dict, head: dict) -> None:
    root = dataset.get('data_root') or ''
    if not ('://' in root or dataset.get('download') or Path(root).is_dir()):
        raise ValueError(f'{name}: the folder {root!r} does not exist; see docs/classification.md, '
                         f'or set {name}.dataset.data_root')
    try:
        listed = DATASETS.build({**dataset, 'pipeline': []})
    except Exception as error:  # of many types, by data set
        raise ValueError(f'{name}: {type_name(dataset)} cannot be read from {root!r} '
                         f'({type(error).__name__}: {error}); see docs/classification.md'
                         ) from error
    classes, expected = listed.metainfo.get('classes'), head.get('num_classes')
    if None not in (classes, expected) and len(classes) != expected:
        raise ValueError(f'{name}: the data set has {len(classes)} classes, but '
                         f'model.head.num_classes={expected}; set it, or another list of classes')
    if not len(listed):
        raise ValueError(f'{name}: the data set in {root!r} is empty; see docs/classification.md')
    infos = [listed.get_data_info(index) for index in _spread(len(listed))]
    paths = [info['img_path'] for info in infos if info.get('img_path')]
    missing = [path for path in paths if '://' not in path and not Path(path).is_file()]
    if missing:
        raise ValueError(f'{name}: listed images do not exist: {_first(missing)}')
    labels = [int(label) for info in infos for label in np.ravel(info.get('gt_label', []))]
    if expected and not all(0 <= label < expected for label in labels):
        raise ValueError(f'{name}: the labels {sorted(set(labels))} of a few images are not all '
                         f'classes of model.head.num_classes={expected}; set it, or mend the list')


def _spread(count: int) -> list[int]:
    """A few indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, _SAMPLES).round().astype(int)).tolist()


def _check_folders(name: str, dataset: dict) -> None:
    root = dataset.get('data_root') or ''
    if '://' in root:  # an object store
        return
    for key, prefix in (dataset.get('data_prefix') or {}).items():
        folder = Path(root, prefix or '')
        if not folder.is_dir():
            raise ValueError(f'{name}: the folder {str(folder)!r} ({key}) does not exist; see '
                             f'docs/data.md, or set {name}.dataset.data_root')
    listed = Path(root, dataset.get('ann_file') or '')
    if dataset.get('ann_file') and not listed.is_file():
        raise ValueError(f'{name}: the list {str(listed)!r} (ann_file) does not exist; see '
                         'docs/data.md')


def _check_pairs(name: str, dataset: dict) -> None:
    # Without its pipeline the data set lists its files and reads none.
    listed = DATASETS.build({**dataset, 'pipeline': [], 'lazy_init': True})
    infos = listed.load_data_list()
    if not infos:
        raise ValueError(f'{name}: the data set is empty: no {listed.img_suffix!r} files in '
                         f'{listed.data_prefix.get("img_path")!r}; see docs/data.md')
    for key, lack in (('img_path', 'listed images do not exist'),
                      ('seg_map_path', 'images have no label map')):
        paths = [info[key] for info in infos if info.get(key)]
        local = [path for path in paths if '://' not in path]
        missing = [path for path in local if not Path(path).is_file()]
        if missing:
            raise ValueError(f'{name}: {len(missing)} of {len(infos)} {lack}; '
                             f'missing: {_first(missing)}')
        empty = [path for path in local if Path(path).stat().st_size == 0]
        if empty:
            raise ValueError(f'{name}: {len(empty)} of {len(infos)} files have no content, copy '
                             f'them again: {_first(empty)}')


def _first(paths: list[str]) -> str:
    more = f' and {len(paths) - _SHOWN} more' if len(paths) > _SHOWN else ''
    return ', '.join(paths[:_SHOWN]) + more


def _check_samples(name: str, dataset: dict, model: dict) -> None:
    """Read a few samples, evenly spread, as the data set's own pipeline loads them."""
    pipeline = loading_transforms(dataset)
    if 'LoadAnnotations' not in map(type_name, pipeline):
        return
    sampled = DATASETS.build({**dataset, 'pipeline': pipeline, 'lazy_init': False})
    allowed = label_range(model)
    for index in _spread(len(sampled)):
        info = sampled.get_data_info(index)
        try:
            sample = sampled.pipeline(dict(info))
        except Exception as error:  # of many types, few of which name the file
            raise ValueError(
                f'{name}: {info["img_path"]} or its label map {info.get("seg_map_path")} cannot '
                f'be read ({type(error).__name__}: {error}); copy both again, or take them out '
                'of the data set') from error
        _check_label(name, info['seg_map_path'], sample, allowed)


def _check_label(name: str, path: str, sample: dict, allowed: LabelRange | None) -> None:
    label, image = sample['gt_seg_map'], sample['img']
    if label.ndim != 2:
        raise ValueError(f'{name}: the label map {path} has shape {label.shape}; it must have one '
                         'channel that holds the class of each pixel, no colors')
    if label.shape != image.shape[:2]:
        raise ValueError(f'{name}: the label map {path} is {label.shape[0]} x {label.shape[1]}, '
                         f'its image {image.shape[0]} x {image.shape[1]} (height x width); they '
                         'must have one size')
    raw = None if '://' in path else cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if raw is not None and raw.max() > 255:
        raise ValueError(f'{name}: the label map {path} holds {raw.max()}, but LoadAnnotations '
                         'keeps the lower 8 bits alone; convert it to 8 bits, or load it with a '
                         'transform of your own')
    strays = stray_labels(label, allowed)
    if allowed and strays:
        raise ValueError(f'{name}: {describe_strays(path, strays, allowed)}')
