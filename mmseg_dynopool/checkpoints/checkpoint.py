"""A checkpoint: read once, verified against a network, loaded into it."""

import logging
import os
import re
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from mmseg_dynopool.config import OPENMMLAB, type_name
from mmseg_dynopool.layers import ResizingPool, learned_pools
from mmseg_dynopool.layers.find import all_pools, by_short_name
from mmseg_dynopool.models.whole_network import unwrap

from .read import fetch, read_file

_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        path: the file or URL.
        content: what mmengine's runner saved, or a state dict alone.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from torch import nn
        >>> from mmseg_dynopool.checkpoints import Checkpoint
        >>> model = nn.Conv2d(3, 8, 3)
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(dict(state_dict=model.state_dict(), meta=dict(iter=1000)),
        ...                f'{folder}/iter_1000.pth')
        ...     checkpoint = Checkpoint.read(f'{folder}/iter_1000.pth')
        >>> checkpoint.verify(model)  # a ValueError would say what does not fit
        >>> checkpoint.load_into(model)
        >>> checkpoint.name, checkpoint.meta
        ('iter_1000.pth', {'iter': 1000})
    """

    path: str
    content: dict

    @classmethod
    def read(cls, path: str | Path) -> 'Checkpoint':
        """Read a checkpoint without running code from it.

        Raises:
            ValueError: it cannot be read, holds more than a training writes, or no weights.
        """
        path = str(path)
        checkpoint = cls(path, read_file(path))
        if not isinstance(checkpoint.content, dict) or not any(
                map(torch.is_tensor, checkpoint.state.values())):
            raise ValueError(f'{path} holds no state_dict; give a checkpoint that tools/train.py '
                             'wrote')
        return checkpoint

    @cached_property
    def state(self) -> dict:
        """Weights and buffers by their names."""
        state = self.content.get('state_dict', self.content)
        return {str(key).removeprefix('module.'): value for key, value in state.items()
                } if isinstance(state, dict) else {}

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition('/')[2]

    @property
    def meta(self) -> dict:
        """What was noted beside the weights: iteration, seed, versions, classes."""
        meta = self.content.get('meta')
        return dict(meta) if isinstance(meta, dict) else {}

    def verify(self, model: nn.Module, part: str = '', resume: bool = False,
               scales: bool = False, partly: bool = False) -> None:
        """Check that the checkpoint fills every weight of ``model``; mmengine loads what fits.

        Missing scales are allowed: a stock network's checkpoint fits. Scales of poolings that the
        network lacks, or of another kind of pooling, are refused. Learned scales fit a network of
        constant ones, and vice versa.

        Args:
            model: the network.
            part: check only the weights whose names start so, e.g. ``'backbone.'`` where the
                head may differ.
            resume: check, too, that a training can go on from it.
            scales: check, too, that it holds the learned scales of a network that has some.
            partly: if some weights fit, only warn of the others, such as the first layer's for an
                image with more channels.

        Raises:
            ValueError: the checkpoint is of another architecture or at other scales, or its
                training diverged.
        """
        model = unwrap(model)
        if resume and not {'optimizer', 'meta'} <= set(self.content):
            raise ValueError(f'{self.path} holds weights alone, no training to go on with; start '
                             'from it by load_from, without resume')
        weights = {k: v for k, v in model.state_dict().items() if k.startswith(part)}
        pools = _named_pools(model)
        alphas = list(_scales(pools))
        self._verify_poolings(pools, [k for k in self.state
                                      if k.startswith(part) and k not in weights])
        if not any(k in self.state for k in alphas):
            self._verify_frozen_by_old_versions(model)
            if scales and learned_pools(model):
                raise ValueError(f"{self.path} holds no learned scale ({alphas[0]}, ...): it is a "
                                 "stock network's; give a checkpoint that was trained with "
                                 'DynOPool')
        self._verify_weights(weights, optional=alphas, partly=partly)
        diverged = [k for k in weights if _is_broken(self.state.get(k), infinity=k in alphas)]
        if diverged:
            raise ValueError(f'{self.path} holds NaN or infinity in {len(diverged)} weights '
                             f'({", ".join(diverged[:_SHOWN])}): its training diverged. Use an '
                             'earlier checkpoint, and train on with a lower lr')

    def load_into(self, model: nn.Module) -> None:
        """Load the weights; what is missing stays, and mmengine logs it.

        Scales are not logged if all are missing, as in a stock network's weights.
        """
        model = unwrap(model)
        scales = _scales(_named_pools(model))
        weights = copy(self.content.get('state_dict', self.content))  # with its _metadata
        if not scales.keys() & self.state.keys():
            weights.update(scales)
        _load_checkpoint_to_model(model, dict(state_dict=weights))

    def _verify_poolings(self, pools: Mapping[str, ResizingPool], unknown: Collection[str]
                         ) -> None:
        """Refuse scales that would not be loaded, and so leave the network at others."""
        for key in unknown:
            name = key.rpartition('.')[0]
            if name in pools:
                raise ValueError(f'{self.path} was trained with another pooling: it has {key!r}, '
                                 f'which a {type(pools[name]).__name__} has not (a DynOPool has an '
                                 'alpha, a ShapeAdaptor a logit). Set type in the dynopool options '
                                 'as in its training')
            if 'dynopools.' in key:
                there = 'lacks them' if pools else 'is the stock one'
                raise ValueError(f'{self.path} holds learned scales ({key}, ...), and this '
                                 f"config's network {there}; use the config it was trained with, "
                                 'or the config.py that tools/freeze.py wrote beside it')

    def _verify_frozen_by_old_versions(self, model: nn.Module) -> None:
        """Up to version 0.3, frozen weights noted their scales only in the meta."""
        frozen = self.meta.get('dynopool_scales')
        scales = {k: pool.scale.tolist() for k, pool in by_short_name(all_pools(model)).items()}
        if frozen and (frozen.keys() != scales.keys() or not np.allclose(
                [frozen[k] for k in scales], [*scales.values()], rtol=1e-6, atol=0)):
            own = scales or "the stock network's"
            raise ValueError(f'{self.path} belongs to a network that was frozen at the scales '
                             f"{frozen}, and this config's are {own}; use the config.py that "
                             'tools/freeze.py wrote beside it')

    def _verify_weights(self, weights: dict[str, torch.Tensor],
                        optional: Collection[str], partly: bool) -> None:
        missing = [k for k in weights if k not in self.state and k not in optional
                   and not k.endswith('num_batches_tracked')]
        found = {k: self.state[k] for k in weights if k in self.state}
        shapes = {k: value.shape if torch.is_tensor(value) else (type(value).__name__, )
                  for k, value in found.items()}
        misshapen = [k for k, shape in shapes.items() if shape != weights[k].shape]
        if not missing and not misshapen:
            return
        details = [f'{k} is missing' for k in missing[:_SHOWN]] + [
            f'{k} is {tuple(shapes[k])}, not {tuple(weights[k].shape)}' for k in misshapen[:_SHOWN]]
        problem = (f'{len(missing)} weights missing and {len(misshapen)} of another shape '
                   f'({"; ".join(details)})')
        fitting = [k for k in shapes
                   if k not in misshapen and k not in optional and weights[k].dim() > 0]
        if not partly or not fitting:
            raise ValueError(
                f'{self.path} is a checkpoint of another architecture: {problem}. Use the config '
                'that it was trained with; a copy lies in its work dir')
        print_log(f'{self.path} does not have all weights: {problem}. These start anew, '
                  f'{len(fitting)} others are loaded', logger='current', level=logging.WARNING)


def read_pretrained(model: nn.Module) -> None:
    """Read the local files that a network is going to start from, and fetch those of URLs.

    These are its modules' ``init_cfg=dict(type='Pretrained', checkpoint=...)``, which
    ``pretrained=...`` becomes, too. mmengine reads them again, and would run code in them; for two
    URLs with the same file name it would take the first one's weights.
    """
    for module in model.modules():
        reader = getattr(type(module), 'init_weights', None)
        if reader is None or not reader.__module__.startswith(OPENMMLAB):
            continue  # it reads in its own way
        given = getattr(module, 'init_cfg', None)
        for settings in given if isinstance(given, (list, tuple)) else [given]:
            if not isinstance(settings, dict) or not settings.get('checkpoint') or type_name(
                    settings) not in ('Pretrained', 'PretrainedInit'):
                continue
            path = os.path.expanduser(str(settings['checkpoint']))
            if re.match('https?://', path) and not path.endswith('.safetensors'):
                settings['checkpoint'] = str(fetch(path))
            elif Path(path).is_file():
                read_file(path)


def _named_pools(model: nn.Module) -> dict[str, ResizingPool]:
    """Poolings by all their names: a state_dict has an instance under each of them."""
    return {name: module for name, module in model.named_modules(remove_duplicate=False)
            if isinstance(module, ResizingPool)}


def _scales(pools: Mapping[str, ResizingPool]) -> dict[str, torch.Tensor]:
    """What a state_dict holds of poolings."""
    return {f'{name}.{key}': value for name, pool in pools.items()
            for key, value in pool.state_dict().items()}


def _is_broken(value: object, infinity: bool) -> bool:
    """Infinity is a bad scale, but may be right elsewhere, as in a mask."""
    return isinstance(value, torch.Tensor) and value.is_floating_point() and bool(
        value.isnan().any() or (infinity and value.isinf().any()))
