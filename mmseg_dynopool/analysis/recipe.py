"""The recipe of a run and the machine of the report, as rows of a table."""

import platform

import mmcv
import mmengine
import mmseg
import torch

from mmseg_dynopool.config import dynopool_parts, type_name
from mmseg_dynopool.costs import device_name
from mmseg_dynopool.data.listing import without_wrappers
from mmseg_dynopool.hooks import DynOPoolHook, MeasuredGradientHook
from mmseg_dynopool.hooks.shape_scalar import LEARNING_RATE
from mmseg_dynopool.learning.learner import default_every, default_jitter
from mmseg_dynopool.version import __version__

from .work_dir import Run

_SIZE_TRANSFORMS = ('RandomResize', 'Resize', 'RandomCrop', 'RandomFlip')
_PRECISIONS = {'AmpOptimWrapper': 'mixed (AmpOptimWrapper)', 'OptimWrapper': 'float32',
               'CPUAmpOptimWrapper': 'mixed, bfloat16 (CPUAmpOptimWrapper)'}
_OF_COST = ('gmacs_', 'latency_', 'budget')


def recipe(run: Run) -> dict[str, str]:
    """What was trained and how, by name; what the config does not say is omitted."""
    cfg, meta = run.cfg.to_dict(), run.checkpoint.meta
    model, loop = cfg['model'], cfg.get('train_cfg') or {}
    loader = cfg.get('train_dataloader') or {}
    parts = dynopool_parts(model) or dict(backbone=model['backbone'])
    backbones = [part['backbone'] if type_name(part) == 'DynOPoolBackbone' else part
                 for part in parts.values()]
    heads = _as_list(model.get('decode_head', model.get('head')) or [])
    pools = [f'{path}: {_pools(part)}' if len(parts) > 1 else _pools(part)
             for path, part in parts.items()]
    hooks = {type_name(hook): hook for hook in cfg.get('custom_hooks') or []}
    hook = hooks.get('DynOPoolHook', {})
    times = run.log.get('latency_measured_ms')
    dataset = without_wrappers(loader.get('dataset') or {})[0]
    crop = (model.get('data_preprocessor') or {}).get('size')
    wrapper = dict(type='OptimWrapper') | (cfg.get('optim_wrapper') or {})
    optimizer = dict(wrapper.get('optimizer') or {})
    alpha_rate = learner = ''
    if run.log.get(LEARNING_RATE):  # with a learner none is logged
        key = ((wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}).get('dynopools')
        if key and 'lr' in optimizer:
            alpha_rate = (f'{optimizer["lr"] * key.get("lr_mult", 1):g} (weight decay '
                          f'{optimizer.get("weight_decay", 0) * key.get("decay_mult", 1):g})')
    elif run.log.instances():
        iterations = loop.get('max_iters') or meta.get('iter', 0)
        steps = -(-iterations // (wrapper.get('accumulative_counts') or 1))
        learner = _learner(hook, hooks.get('MeasuredGradientHook'), steps)
    progress = [run.checkpoint.name]
    if 'iter' in meta:
        progress += [f'after {meta["iter"]} iterations', meta.get('time', '')]
    rows = {
        'Network': f'{type_name(model)}: {" + ".join(map(type_name, [*backbones, *heads]))}',
        'DynOPools': '; '.join(pools),
        'Cost': _pairs({k: v for options in (model, hook) for k, v in options.items()
                        if k.startswith(_OF_COST) and v is not None}),
        'Time of the settled network': f'{times[-1][1]:.4g} ms of one image, as measured in the '
                                       'training' if times else '',
        'Data': ', '.join(str(v) for v in (type_name(dataset), dataset.get('data_root')) if v),
        'Augmentation': ', '.join(_call(step) for step in dataset.get('pipeline') or []
                                  if type_name(step) in _SIZE_TRANSFORMS),
        'Crop (h x w)': ' x '.join(map(str, crop)) if crop else '',
        'Batch per process': str(loader.get('batch_size', '')),
        'Length': _pairs({k: v for k, v in loop.items() if k in ('max_iters', 'max_epochs')}),
        'Optimizer': _call(optimizer) if optimizer else '',
        'Learning rate of alpha': alpha_rate,
        'Learner of the scales': learner,
        'Schedule': ', then '.join(map(_call, _as_list(cfg.get('param_scheduler') or []))),
        'Precision': _PRECISIONS.get(type_name(wrapper), type_name(wrapper)),
        'Seed': str(seed(run)),
        'Checkpoint': ', '.join(filter(None, progress)),
    }
    return {name: text for name, text in rows.items() if text}


def seed(run: Run) -> int | str:
    """The seed that the checkpoint notes, else the config's."""
    noted = run.checkpoint.meta.get('seed', (run.cfg.get('randomness') or {}).get('seed'))
    return 'none given' if noted is None else noted


def machine(device: str) -> dict[str, str]:
    """The packages and the machine that measure."""
    packages = {'PyTorch': torch, 'mmsegmentation': mmseg, 'mmengine': mmengine, 'mmcv': mmcv}
    return {'mmseg_dynopool': __version__,
            **{title: package.__version__ for title, package in packages.items()},
            'Python': platform.python_version(),
            'Device': f'{device}: {device_name(device)}',
            'System': f'{platform.system()} {platform.machine()}'}


def _pools(part: dict) -> str:
    """The options of a part's DynOPools; empty for a stock backbone."""
    default = "rule='before' (default)" if type_name(part) == 'DynOPoolBackbone' else (
        'scale=0.5 (default)' if 'DynOPool' in type_name(part) else '')
    return _pairs(part.get('dynopool') or {}) or default


def _learner(hook: dict, old_hook: dict | None, steps: int) -> str:
    """Options of the learner in a training of so many steps, defaults included."""
    given = {k: v for k, v in hook.items() if k not in ('type', 'priority')
             and not k.startswith(_OF_COST)}
    built = DynOPoolHook(**given)
    if old_hook is not None:
        MeasuredGradientHook(**{k: v for k, v in old_hook.items() if k != 'type'}).hand_over(built)
    jitter = default_jitter(steps) if built.jitter is None else built.jitter
    every = default_every(steps) if built.every is None else built.every
    return _pairs(given | dict(travel=built.travel, every=every, jitter=jitter))


def _as_list(settings: object) -> list:
    return list(settings) if isinstance(settings, (list, tuple)) else [settings]


def _call(settings: dict) -> str:
    rest = {key: value for key, value in settings.items() if key != 'type'}
    return f'{type_name(settings)}({_pairs(rest)})'


def _pairs(settings: dict) -> str:
    return ', '.join(f'{key}={value!r}' for key, value in settings.items())
