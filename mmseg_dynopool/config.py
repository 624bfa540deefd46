"""mmengine configs: read, named, adapted to the machine."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config

from mmseg_dynopool.installed import config_path


def read_config(path: str, options: dict | None = None, needs: Sequence[str] = ('model', )
                ) -> Config:
    """Read a config with the settings of ``needs``; ``options`` override others.

    ``path`` may be the name of one of the package's own, with or without ``configs/`` before it.

    Raises:
        SystemExit: there is no such file.
        ValueError: it cannot be read or lacks a setting, or an option does not fit.
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
        raise ValueError(f'the config {path!r} cannot be read: {type(error).__name__}: {error}. '
                         + (f'It began with {type(cause).__name__}: {cause}. '
                            if isinstance(cause, ImportError) and cause is not error else '') +
                         'A config is a .py file of settings; mend it, or the one in its _base_'
                         ) from error
    try:
        cfg.merge_from_dict(options or {})
    except Exception as error:  # from mmengine, of many types
        raise ValueError(f'--cfg-options do not fit the config {path!r}: {error}') from error
    missing = [key for key in needs if cfg.get(key) is None]
    if missing:
        raise ValueError(f'the config {path!r} lacks {", ".join(missing)}; inherit from a whole '
                         'config by _base_, or add it')
    return cfg


def complete_test_pipeline(cfg: Config) -> None:
    """Set ``test_pipeline``, which mmseg's inference reads, where a config has its loader's alone.

    Raises:
        ValueError: it has neither.
    """
    if cfg.get('test_pipeline') is None:
        pipeline = ((cfg.get('test_dataloader') or {}).get('dataset') or {}).get('pipeline')
        if not pipeline:
            raise ValueError('the config has neither test_pipeline nor '
                             'test_dataloader.dataset.pipeline; add test_pipeline, the list of '
                             'transforms of an image')
        cfg.test_pipeline = pipeline


def type_name(transform: dict) -> str:
    """A config names a type by text, with or without its scope, or holds the class."""
    kind = transform['type']
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def is_segmentor(model_cfg: dict) -> bool:
    """Whether a config's ``model`` is a segmentor; a classifier's has a ``head`` alone."""
    return 'decode_head' in model_cfg or 'head' not in model_cfg


def dynopool_parts(model_cfg: dict) -> dict[str, dict]:
    """The parts of a network that take ``dynopool`` options, by their dotted paths in its config.

    Args:
        model_cfg: the ``model`` of a config.

    Returns:
        Each ``DynOPoolBackbone`` and ``DynOPoolHRNet``, the settings themselves. The short form,
        ``model.dynopool``, gives the ``DynOPoolBackbone`` that it stands for.
    """
    parts = dict(_parts_in(model_cfg, ''))
    if model_cfg.get('dynopool') is not None:
        parts['backbone'] = dict(type='DynOPoolBackbone', backbone=model_cfg['backbone'],
                                 dynopool=model_cfg['dynopool'])
    return parts


def _parts_in(node: object, path: str) -> Iterator[tuple[str, dict]]:
    if isinstance(node, dict):
        if 'type' in node and type_name(node) in ('DynOPoolBackbone', 'DynOPoolHRNet'):
            yield path, node
            return
        children = list(node.items())
    else:
        children = list(enumerate(node)) if isinstance(node, (list, tuple)) else []
    for key, child in children:
        yield from _parts_in(child, f'{path}.{key}'.removeprefix('.'))


def conversion_of(model_cfg: dict, part: str = 'backbone') -> tuple[dict, dict] | None:
    """The stock settings of a network's part and the options by which it is converted.

    Args:
        model_cfg: the ``model`` of a config. It has ``dynopool`` options, or the part is
            ``dict(type='DynOPoolBackbone', backbone=..., dynopool=...)``.
        part: its dotted path.

    Returns:
        Both as in the config; None where the part is not converted.
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
    shape = next(filter(None, shapes), (cfg.model.get('data_preprocessor') or {}).get('size'))
    return tuple(shape) if shape else None


def hook_options(cfg: Config) -> dict:
    """The options of a config's ``DynOPoolHook``; none where it has no such hook."""
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if isinstance(hook, dict)]
    return next((dict(hook, type='DynOPoolHook') for hook in hooks
                 if type_name(hook) == 'DynOPoolHook'), {})


def how_to_run(cfg: Config) -> dict:
    """``forward`` and ``in_channels``, as the config's hook has them: how its network runs."""
    return {name: value for name, value in hook_options(cfg).items()
            if name in ('forward', 'in_channels')}


def adapt_to_devices(cfg: Config) -> Config:
    """On a machine without GPU, replace what needs one, in place.

    - SyncBN becomes BN. mmengine reverts it by itself in a single process, but not among
      several processes on CPUs, where torch's SyncBatchNorm cannot run.
    - AmpOptimWrapper, which mmengine refuses there, becomes CPUAmpOptimWrapper.
    - Processes that torchrun started form their group over Gloo here and now, and DDP gets no
      device numbers: mmengine would ask CUDA for a device first.
    """
    if torch.cuda.is_available():
        return cfg
    replace_sync_bn(cfg._cfg_dict)
    wrapper = cfg.get('optim_wrapper')
    if wrapper and 'type' in wrapper and type_name(wrapper) == 'AmpOptimWrapper':
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
    """Replace SyncBN by BN wherever settings name it, in place."""
    if isinstance(node, dict):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for child in node:
        replace_sync_bn(child)
