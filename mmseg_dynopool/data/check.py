"""Look at the data before a run starts, not after an hour of it.

The data sets are built as the run builds them. What looks wrong in their files is tried: it is an
error if the data set itself, or the loss, would fail on it. What this cannot understand passes.
"""

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.registry import MODELS
from mmseg.datasets.transforms import LoadAnnotations

from mmseg_dynopool.config import OPENMMLAB, enter_scope, find_type, metrics_of, type_name

from .labels import LabelRange, label_range
from .listing import build_dataset, load_sample, parts_of, spread, steps_of

_SHOWN = 5
_SAMPLES = 8


def check_data(cfg: Config, *dataloaders: str) -> None:
    """Check that the data sets of a config can be read, before a run starts.

    A few samples of each are read, as its own pipeline loads them. A label map with other values
    than the classes and ``ignore_index``, of another size than its image, with several channels or
    16 bits is a ValueError if the loss or the metric would fail, else a warning. Data sets that are
    not mmengine's are not looked at, as the log says. ``dataloaders`` are names in the config.
    """
    enter_scope(cfg)
    for name in dataloaders:
        loaders = cfg.get(name)
        for loader in loaders if isinstance(loaders, (list, tuple)) else [loaders]:
            settings = loader.get('dataset') if isinstance(loader, dict) else None
            if isinstance(settings, dict):
                try:
                    whole = build_dataset(settings)
                except ValueError as error:
                    raise ValueError(f'{name}: {error}') from error
                for dataset in parts_of(whole):
                    _Check(name, dataset, cfg).run()


class _Check:
    """The check of one data set; ``name`` is its data loader's."""

    def __init__(self, name: str, dataset: Any, cfg: Config):
        self.name, self.dataset, self.cfg = name, dataset, cfg
        self.trains = name.startswith('train')
        self.warned: set[str] = set()
        evaluator = cfg.get(name.replace('dataloader', 'evaluator'))
        # mmseg's metric compares the predictions with the label maps.
        self.is_measured = any(type_name(m) == 'IoUMetric' for m in metrics_of(evaluator))

    def run(self) -> None:
        if not isinstance(self.dataset, BaseDataset):
            self._note(f"a {type(self.dataset).__name__} is no BaseDataset of mmengine's, so its "
                       'files were not looked at')
            return
        try:
            infos = [dict(self.dataset.get_data_info(i)) for i in range(len(self.dataset))]
        except Exception as error:  # from a user's own data set, of any type
            self._note(f'its list of samples was not looked at ({type(error).__name__}: {error})')
            return
        self._check_files(infos)
        if 'gt_label' in infos[0]:
            self._check_classes(infos)
            return
        allowed = label_range(self.cfg.get('model') or {})
        if allowed is None and self.cfg.get('model'):
            self._note('the model has no decode head of mmseg, or computes its loss in its own '
                       'way, so the label maps were not looked at')
        chosen = spread(len(infos), _SAMPLES)
        odd = [problem for index in chosen
               if (problem := self._check_sample(index, infos[index], allowed))]
        # The loss fits the network's output to the labels, if a batch has them of one size.
        if odd and (len(odd) < len(chosen) if self.trains else self.is_measured):
            raise ValueError(f'{self.name}: {odd[0]}')
        if odd:
            self._note(odd[0], logging.WARNING)

    def _note(self, text: str, level: int = logging.INFO) -> None:
        print_log(f'{self.name}: {text}', 'current', level)

    def _warn(self, kind: str, text: str) -> None:
        """Warn once for each kind."""
        if kind not in self.warned:
            self._note(text, logging.WARNING)
        self.warned.add(kind)

    def _failure(self, index: int) -> Exception | None:
        """The error that the run would meet."""
        try:
            self.dataset[index]
        except Exception as error:  # of many types
            return error
        return None

    def _check_files(self, infos: list[dict]) -> None:
        for key, lack in (('img_path', 'listed images do not exist'),
                          ('seg_map_path', 'images have no label map')):
            paths = {index: info[key] for index, info in enumerate(infos)
                     if isinstance(info.get(key), (str, Path)) and '://' not in str(info[key])}
            missing = {i: path for i, path in paths.items() if not Path(path).is_file()}
            empty = {i: path for i, path in paths.items()
                     if i not in missing and not Path(path).stat().st_size}
            for found, problem in ((missing, f'{lack}; missing'),
                                   (empty, 'files have no content, copy them again')):
                # Paths of a user's own data set, or inside an archive, need not be files.
                if found and (error := self._failure(next(iter(found)))):
                    more = f' and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
                    shown = ', '.join(map(str, list(found.values())[:_SHOWN]))
                    raise ValueError(f'{self.name}: {len(found)} of {len(infos)} {problem}: '
                                     f'{shown}{more}') from error

    def _check_classes(self, infos: list[dict]) -> None:
        """Check the labels of a classifier."""
        classes = self.dataset.metainfo.get('classes')
        head = self.cfg.get('model', {}).get('head') or {}
        expected = head.get('num_classes')
        module = getattr(find_type(MODELS, head), '__module__', '')
        labels = np.concatenate([np.ravel(info.get('gt_label', [])) for info in infos])
        if not isinstance(expected, int) or labels.dtype.kind not in 'iu' or not len(labels) \
                or not module.startswith(OPENMMLAB):
            return  # not what is known of it
        if classes is not None and len(classes) != expected:
            self._warn('classes', f'the data set has {len(classes)} classes, but '
                       f'model.head.num_classes={expected}; set it, or another list of classes')
        if labels.min() < 0 or labels.max() >= expected:
            problem = (f'the labels {labels.min()} to {labels.max()} are not all classes of '
                       f'model.head.num_classes={expected}; set it, or mend the list')
            if self.trains:
                raise ValueError(f'{self.name}: {problem}')
            self._warn('labels', problem)

    def _check_sample(self, index: int, info: dict, allowed: LabelRange | None) -> str:
        """Read a sample; return what is odd about its label map's size, if anything."""
        path = info.get('seg_map_path')
        try:
            image, label = load_sample(self.dataset, index)
        except Exception as error:
            if self._failure(index):
                raise ValueError(
                    f'{self.name}: {info.get("img_path")} or its label map {path} cannot be read '
                    f'({type(error).__name__}: {error}); copy both again, or take them out of the '
                    'data set') from error
            return ''
        if image is None or label is None or allowed is None:
            return ''
        if any(type(step) is LoadAnnotations for step in steps_of(self.dataset)):
            self._check_bits(str(path))
        odd = ''
        if label.ndim != 2:
            odd = (f'the label map {path} has shape {label.shape}; it must have one channel that '
                   'holds the class of each pixel, no colors')
        elif label.shape != image.shape[:2]:
            odd = (f'the label map {path} is {label.shape[0]} x {label.shape[1]}, its image '
                   f'{image.shape[0]} x {image.shape[1]} (height x width); they must have one size')
        if not odd and not allowed.problem(label, path):
            return ''
        if odd and (failure := self._failure(index)):
            raise ValueError(f'{self.name}: {odd}') from failure
        try:  # later transforms may have mended it
            packed = self.dataset[index]
            final = np.asarray(packed['data_samples'].gt_sem_seg.data)
            size = tuple(packed['inputs'].shape[-2:] if self.trains
                         else packed['data_samples'].ori_shape[:2])
        except Exception:  # not what mmseg packs
            return ''
        if final.ndim != 3 or len(final) != 1:
            if self.trains or self.is_measured:
                raise ValueError(f'{self.name}: {odd or allowed.problem(label, path)}')
        elif problem := allowed.problem(final, path):
            if self.trains and allowed.is_index:
                raise ValueError(f'{self.name}: {problem}')
            self._warn('strays', problem)
        return odd if final.shape[1:] != size else ''

    def _check_bits(self, path: str) -> None:
        raw = cv2.imread(path, cv2.IMREAD_UNCHANGED) if Path(path).is_file() else None
        if raw is not None and raw.max() > 255:
            self._warn('bits', f'the label map {path} holds {raw.max()}, but LoadAnnotations keeps '
                       'the lower 8 bits alone; convert it to 8 bits, or load it with a transform '
                       'of your own')
