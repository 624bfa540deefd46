"""Configs of a trained network with an image of another size, and of its fine-tuning."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from mmseg_dynopool.config import dynopool_parts, enter_scope, type_name
from mmseg_dynopool.data.listing import without_wrappers

_HELD_SEED = 0
# Finer than a total stride; the last is what the network asks for.
_MULTIPLES = (8, 16, 32, None)


def resized_config(cfg: Config, scale: Sequence[float] | None = None, multiple: int | None = None,
                   inner: Mapping[str, Sequence[float]] | None = None, levels: str = 'image'
                   ) -> Config:
    """The config of a network that resizes its image first, and is the stock one behind that.

    Args:
        cfg: of a segmentor or classifier.
        scale: constant ``(scale_h, scale_w)``; None for one that learns, 1 at the start.
        multiple: of pixels, of the resized image; default: what the network asks for.
        inner: constant ``{level: (scale_h, scale_w)}`` of maps behind the image.
        levels: of sizes that learn: ``'image'``, or ``'all'``.

    Raises:
        ValueError: the network has no backbone, or learned sizes already.
    """
    if dynopool_parts(cfg.model):
        raise ValueError('the config has dynopool options already, and fit takes a stock network: '
                         'give the config with which it was trained before, or fine-tune this one '
                         'with a budget')
    if not cfg.model.get('backbone'):
        raise ValueError(f'model.backbone is missing: fit puts the resizing of the image in front '
                         f'of it, and the {type_name(cfg.model)} of this config has none')
    resized = copy.deepcopy(cfg)
    backbone = resized.model.backbone
    for key in ('pretrained', 'init_cfg'):  # the weights come from a checkpoint
        resized.model.pop(key, None)
        backbone.pop(key, None)
    every = inner or levels == 'all'
    options: dict = dict(rule='keep', image=True) if every else dict(levels='image')
    if scale is not None:
        options.update(scale=dict(image=tuple(scale), **(inner or {})), learn=False)
    if multiple is not None:
        options.update(multiple=multiple)
    resized.model.backbone = ConfigDict(
        type='DynOPoolBackbone', backbone=backbone, dynopool=options)
    names = (resized.get('custom_imports') or {}).get('imports') or []
    names = [names] if isinstance(names, str) else list(names)
    resized.custom_imports = dict(allow_failed_imports=False,
                                  imports=list(dict.fromkeys([*names, 'mmseg_dynopool'])))
    return resized


def sizable(cfg: Config, load: Callable[[Config], BaseModel], levels: str = 'image',
            multiple: int | None = None) -> BaseModel:
    """A network behind an image of any size, whose sides are multiples of ``multiple``.

    Default: of 8, or the least that the network takes.

    Raises:
        ValueError: it has no backbone, or its sizes cannot change.
    """
    *earlier, last = (multiple,) if multiple else _MULTIPLES
    for tried in earlier:
        with suppress(ValueError):
            return load(resized_config(cfg, multiple=tried, levels=levels))
    return load(resized_config(cfg, multiple=last, levels=levels))


def fine_tuning_config(cfg: Config, checkpoint: str, iterations: int, stop: int | None = None,
                       lr: float = 0.2, held: float | None = 0.1) -> Config:
    """The config of a fine-tuning: the training's own optimizer and batches, for a short time.

    The lr, at the start ``lr`` times the training's, falls to zero over the ``iterations`` (poly,
    power 0.9). ``stop`` is the iteration at which it ends, to be resumed. ``held`` is the share of
    the training data that is held back and judged on; None for the config's validation data.

    Raises:
        ValueError: the training data cannot be held back, or there is no optimizer with an lr.
    """
    stop = stop or iterations
    tuned = copy.deepcopy(cfg)
    wrappers = tuned.get('optim_wrapper') or {}
    optimizers = [wrapper['optimizer'] for wrapper in (wrappers, *wrappers.values())  # or several
                  if isinstance(wrapper, dict) and 'optimizer' in wrapper]
    if not optimizers or not all('lr' in optimizer for optimizer in optimizers):
        raise ValueError("the config's optim_wrapper names no optimizer with an lr, by which to "
                         'fine-tune; add one')
    for optimizer in optimizers:
        optimizer['lr'] *= lr
    tuned.param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=iterations,
                                  by_epoch=False)]
    tuned.train_cfg = dict(type='IterBasedTrainLoop', max_iters=stop, val_interval=stop)
    tuned.val_cfg = dict(type='ValLoop')
    tuned.load_from, tuned.resume = checkpoint, False
    tuned.default_hooks = ConfigDict(
        tuned.get('default_hooks') or {},
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=stop),
        logger=dict(type='LoggerHook', interval=min(50, stop), log_metric_by_epoch=False))
    tuned.log_processor = dict(by_epoch=False)
    tuned.custom_hooks = [hook for hook in tuned.get('custom_hooks') or []
                          if type_name(hook) not in ('EarlyStoppingHook', 'DynOPoolHook')]
    if held is not None:
        _hold_back(tuned, held)
    return tuned


def training_iterations(cfg: Config) -> int:
    """Steps of a config's training."""
    loop = cfg.get('train_cfg') or {}
    if loop.get('max_iters'):
        return int(loop['max_iters'])
    if loop.get('max_epochs'):
        return int(loop['max_epochs']) * len(Runner.build_dataloader(cfg.train_dataloader))
    raise ValueError('the config says neither train_cfg.max_iters nor max_epochs; give '
                     '--iterations')


def _hold_back(cfg: Config, share: float) -> None:
    """Take a share of each training data set away, and make it what is validated on."""
    pipeline = test_pipeline(cfg)
    enter_scope(cfg)
    held = []
    for dataset in without_wrappers(training_data(cfg)):
        try:
            length = len(DATASETS.build({**dataset, 'pipeline': []}))
            known = dataset.get('indices')  # the first so many, or these
            if isinstance(known, int) and known < 0:
                raise ValueError(f'indices={known}; list them')
            numbers = np.array(known if isinstance(known, (list, tuple)) else range(length))
            order = numbers[np.random.default_rng(_HELD_SEED).permutation(length)]
            count = max(1, round(share * length))
            if count >= length:
                raise ValueError(f'it has {length} images')
            rest = dict(dataset, indices=sorted(order[count:].tolist()))
            DATASETS.build({**rest, 'pipeline': []})
        except Exception as error:  # from any data set, of any type
            raise ValueError(f'of {type_name(dataset)} no images can be held back '
                             f'({type(error).__name__}: {error}); give --val, to judge by the '
                             "config's own validation data") from error
        held.append(dict(copy.deepcopy(dataset), indices=sorted(order[:count].tolist()),
                         pipeline=pipeline))
        dataset['indices'] = rest['indices']
    loader = copy.deepcopy(cfg.get('val_dataloader') or cfg.train_dataloader)
    for key in ('batch_sampler', 'drop_last'):
        loader.pop(key, None)
    loader.update(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False))
    loader.dataset = held[0] if len(held) == 1 else dict(type='ConcatDataset', datasets=held)
    cfg.val_dataloader = loader


def training_data(cfg: Config) -> ConfigDict:
    """The settings of the training data; a ValueError where there are none."""
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    if not dataset:
        raise ValueError('the config has no train_dataloader, and a search needs images with '
                         'labels. Without them a size can be set by hand: --size H W')
    return dataset


def test_pipeline(cfg: Config) -> list:
    """The transforms of a validation image; a ValueError where there are none."""
    for source in (cfg.get('val_dataloader'), cfg.get('test_dataloader')):
        for dataset in without_wrappers((source or {}).get('dataset') or {}):
            if dataset.get('pipeline'):
                return copy.deepcopy(list(dataset['pipeline']))
    raise ValueError('the config has no val_dataloader with a pipeline, by which the images that '
                     'are held back could be read; add one')
