"""mmengine configs: read, named, adapted to the machine."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope
from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool.installed import config_path

# Packages whose classes are known to behave as documented.
OPENMMLAB = ('mmengine.', 'mmcv.', 'mmseg.', 'mmdet.', 'mmpretrain.', 'mmseg_dynopool.')


def read_config(path: str, options: dict | None = None, needs: Sequence[str] = ('model', )
                ) -> Config:
    """Read a config, which must have the settings ``needs``; ``options`` override settings.

    ``path`` may be the name of one of the package's own, with or without ``configs/`` before it.
    """
    if not Path(path).is_file():
        try:
            path = config_path(path)
        except FileNotFoundError as error:
            raise SystemExit(f'there is no such file, and {error}') from None
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        began = ''
        if isinstance(cause, ImportError) and cause is not error:
            began = f' It began with {type(cause).__name__}: {cause}.'
        raise ValueError(f'the config {path!r} cannot be read: {type(error).__name__}: {error}.'
                         f'{began} A config is a .py file of settings; mend it, or the one in its '
                         '_base_') from error
    try:
        cfg.merge_from_dict(options or {})
    except Exception as error:  # from mmengine, of many types
        raise ValueError(f'--cfg-options do not fit the config {path!r}: {error}') from error
    missing = [key for key in needs if cfg.get(key) is None]
    if missing:
        raise ValueError(f'the config {path!r} lacks {", ".join(missing)}; inherit from a whole '
                         'config by _base_, or add it')
    return cfg


def enter_scope(cfg: Config) -> None:
    """Enter a config's ``default_scope``, by default mmseg's; ``None`` leaves it as it is."""
    scope = cfg.get('default_scope', 'mmseg')
    if scope is not None:
        init_default_scope(scope)


def type_name(node: Any) -> str:
    """The name of a node's type, a name or a class, without scope or package; or an object's."""
    kind = node.get('type', '') if isinstance(node, (dict, Config)) else type(node)
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def find_type(registry: Registry, node: Any) -> Any:
    """The type of a node, looked up in the registry if it is a name; None if there is none."""
    kind = node.get('type') if isinstance(node, (dict, Config)) else type(node)
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(None) as scoped:
        try:
            return scoped.get(kind)
        except Exception:  # mmengine's RuntimeError, or what an import raises
            return None


def is_segmentor(model_cfg: dict) -> bool:
    """Whether a config's ``model`` is a segmentor; a classifier's has a ``head`` alone."""
    if 'decode_head' in model_cfg or 'head' not in model_cfg:
        return True
    kind = find_type(MODELS, model_cfg)
    return isinstance(kind, type) and issubclass(kind, BaseSegmentor)


def metrics_of(evaluator: Any) -> list[dict]:
    """The settings of an evaluator's metrics: of one, a list, or a dict with ``metrics``."""
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        evaluator = evaluator['metrics']
    evaluators = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    return [metric for metric in evaluators if isinstance(metric, dict)]


def dynopool_parts(model_cfg: dict) -> dict[str, dict]:
    """The parts of a config's ``model`` that take ``dynopool`` options, by their dotted paths.

    The values are the settings themselves of each ``DynOPoolBackbone`` and ``DynOPoolHRNet``; for
    the short form, ``model.dynopool``, the ``DynOPoolBackbone`` that it stands for.
    """
    parts = dict(_parts_in(model_cfg, ''))
    if model_cfg.get('dynopool') is not None:
        parts['backbone'] = dict(type='DynOPoolBackbone', backbone=model_cfg['backbone'],
                                 dynopool=model_cfg['dynopool'])
    return parts


def _parts_in(node: object, path: str) -> Iterator[tuple[str, dict]]:
    if isinstance(node, (list, tuple)):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return
    if type_name(node) in ('DynOPoolBackbone', 'DynOPoolHRNet'):
        yield path, node
        return
    for key, child in node.items():
        yield from _parts_in(child, f'{path}.{key}'.removeprefix('.'))


def conversion_of(model_cfg: dict, part: str = 'backbone') -> tuple[dict, dict] | None:
    """The stock settings of a part of a ``model`` and the options by which it is converted.

    ``part`` is its dotted path; None where it is not converted.
    """
    node = dynopool_parts(model_cfg).get(part)
    if node is None or type_name(node) != 'DynOPoolBackbone':
        return None
    return node['backbone'], node.get('dynopool') or {}


def counted_shape(cfg: Config) -> tuple[int, int] | None:
    """``(H, W)`` at which a network is counted.

    ``gmacs_shape`` of the model or of a hook, else the training crop; None where neither is known.
    """
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if isinstance(hook, dict)]
    shapes = [options.get('gmacs_shape') for options in (cfg.model, *hooks)]
    crop = (cfg.model.get('data_preprocessor') or {}).get('size')
    return next((tuple(shape) for shape in (*shapes, crop) if shape), None)


def input_shape(cfg: Config, given: Sequence[int] | None = None) -> tuple[int, int]:
    """``(H, W)``: the ``given`` one, else `counted_shape`; a ValueError if neither is known."""
    shape = given or counted_shape(cfg)
    if shape is None:
        raise ValueError('the config names no training crop; give --shape H W')
    height, width = shape
    return height, width


def hook_options(cfg: Config) -> dict:
    """The options of a config's ``DynOPoolHook``; none where it has no such hook."""
    return next((dict(hook, type='DynOPoolHook') for hook in cfg.get('custom_hooks') or []
                 if isinstance(hook, dict) and type_name(hook) == 'DynOPoolHook'), {})


def how_to_run(cfg: Config) -> dict:
    """The options ``forward`` and ``in_channels`` of the config's hook: how its network runs."""
    return {name: value for name, value in hook_options(cfg).items()
            if name in ('forward', 'in_channels')}


def adapt_to_devices(cfg: Config) -> Config:
    """On a machine without a GPU, replace what needs one, in place.

    - SyncBN, which cannot run among several processes on CPUs, becomes BN.
    - AmpOptimWrapper, which mmengine refuses there, becomes CPUAmpOptimWrapper.
    - Processes that torchrun started form their group over Gloo here and now, and DDP gets no
      device numbers: mmengine would ask CUDA for a device first.
    """
    if torch.cuda.is_available():
        return cfg
    replace_sync_bn(cfg._cfg_dict)
    wrapper = cfg.get('optim_wrapper')
    if wrapper and type_name(wrapper) == 'AmpOptimWrapper':
        wrapper.type = 'CPUAmpOptimWrapper'
        for key in ('loss_scale', 'dtype'):  # bfloat16 needs no loss scale
            wrapper.pop(key, None)
    if cfg.get('launcher', 'none') == 'pytorch':
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group('gloo')
        if cfg.get('model_wrapper_cfg') is None:
            cfg.model_wrapper_cfg = dict(
                type='MMDistributedDataParallel', broadcast_buffers=False,
                find_unused_parameters=cfg.get('find_unused_parameters', False))
        cfg.model_wrapper_cfg.device_ids = None
    return cfg


def replace_sync_bn(node: object) -> None:
    """Replace SyncBN by BN wherever settings name it or hold its class, in place."""
    if isinstance(node, dict):
        if node.get('type') in ('SyncBN', 'mmengine.SyncBN', nn.SyncBatchNorm, SyncBatchNorm):
            node['type'] = 'BN'
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for child in node:
        replace_sync_bn(child)
