"""The test pipeline of a config, run on files, which its own loader reads."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS
from mmseg.datasets.transforms import LoadImageFromNDArray

from mmseg_dynopool.config import enter_scope, find_type

from .images import IMAGE_SUFFIXES, check_image
from .listing import dataset_of


class ImagePipeline:
    """What an image goes through in a test, as in mmseg's ``inference_model``.

    The ``test_pipeline`` of a config, else that of its test data set, without what loads label
    maps. An array in a ``.npy`` file, ``(H, W, C)`` or ``(H, W)``, takes the place of what
    ``LoadImageFromFile`` reads; any other loader reads its files itself.

    Attributes:
        suffixes: of the files that are images, for a folder of them.
    """

    def __init__(self, cfg: Config):
        dataset = dataset_of(cfg.get('test_dataloader'))
        settings = cfg.get('test_pipeline') or dataset.get('pipeline')
        if not settings:
            raise ValueError('the config has neither test_pipeline nor '
                             'test_dataloader.dataset.pipeline; add test_pipeline, the list of '
                             'transforms of an image')
        enter_scope(cfg)
        self.steps = [step for step in Compose(settings).transforms
                      if not isinstance(step, LoadAnnotations)]
        self.suffixes = [*IMAGE_SUFFIXES]
        if not any(type(step) is LoadImageFromFile for step in self.steps):
            self.suffixes = [_image_suffix(dataset)]

    def __call__(self, path: str | Path) -> tuple[np.ndarray, Any]:
        """``(the image as it was loaded, what the pipeline made of it)``."""
        sample: Any = dict(img_path=str(path))
        loaded = None
        for step in self.steps:
            if type(step) is LoadImageFromFile and str(path).lower().endswith('.npy'):
                sample['img'] = _read_array(path)
                step = LoadImageFromNDArray(to_float32=step.to_float32)
            elif type(step) is LoadImageFromFile:
                check_image(path)
            try:
                sample = step(sample)
            except Exception as error:  # of many types
                raise ValueError(_problem(step, error, path)) from error
            if sample is None:
                raise ValueError(f'{path}: {type(step).__name__} of the test pipeline leaves '
                                 'nothing of it')
            if loaded is None and 'img' in sample:
                loaded = np.array(sample['img'])
        if loaded is None:
            raise ValueError(f"{path}: no transform of the test pipeline gives an 'img'; its first "
                             "ones are to load the file 'img_path'")
        return loaded, sample


def _image_suffix(dataset: dict) -> str:
    """What the names of a data set's images end in; empty if that is unknown."""
    if dataset.get('img_suffix'):
        return dataset['img_suffix']
    kind = find_type(DATASETS, dataset)
    options = inspect.signature(kind).parameters if isinstance(kind, type) else {}
    default = options['img_suffix'].default if 'img_suffix' in options else ''
    return default if isinstance(default, str) else ''


def _read_array(path: str | Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f'{path} cannot be read as an array ({error})') from error


def _problem(step: Any, error: Exception, path: str | Path) -> str:
    if type(step) is LoadImageFromFile and isinstance(error, AssertionError):  # it read nothing
        return (f'{path} cannot be read as an image: it is damaged, or of a kind that OpenCV does '
                'not read; convert it to PNG with 8 or 16 bits')
    return (f'{path}: {type(step).__name__} of the test pipeline fails ({type(error).__name__}: '
            f'{error})')
