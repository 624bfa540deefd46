"""Turn the learned scales of a trained network into constants."""

import copy
from types import FunctionType
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmseg.registry import MODELS

from mmseg_dynopool.config import OPENMMLAB, dynopool_parts, find_type, type_name
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.models import DynOPoolBackbone

_OPTIONS = ('dynopool', 'gmacs_weight', 'gmacs_budget', 'latency_budget', 'gmacs_shape')
_HOOKS = ('DynOPoolHook', 'GMACsBudgetHook', 'LatencyBudgetHook', 'MeasuredGradientHook',
          'ShapeLogHook')


def plain_model(model_cfg: ConfigDict) -> ConfigDict:
    """The config of the stock segmentor or classifier, without cost and initial weights.

    A user's own class stays; what is converted becomes a ``DynOPoolBackbone``.
    """
    plain = copy.deepcopy(model_cfg)
    named, network = plain.type, find_type(MODELS, plain)
    if getattr(network, '__module__', '').startswith('mmseg_dynopool.'):
        plain.type = _name_as(named, network.__bases__[-1])
    parts = dynopool_parts(plain).values()
    for node in (plain, plain.get('backbone'), *parts, *(part.get('backbone') for part in parts)):
        for key in ('pretrained', 'init_cfg') if isinstance(node, dict) else ():
            if key == 'init_cfg' or _is_openmmlabs(node):
                node.pop(key, None)
    if plain.get('dynopool') is not None:
        plain.backbone = ConfigDict(type=_name_as(named, DynOPoolBackbone),
                                    backbone=plain.backbone, dynopool=plain.dynopool)
    for key in _OPTIONS:
        plain.pop(key, None)
    return plain


def _is_openmmlabs(node: dict) -> bool:
    """Whether ``pretrained`` names weights; a user's own backbone may mean anything by it."""
    while isinstance(node.get('backbone'), dict):  # ``pretrained`` is handed down to it
        node = node['backbone']
    module = getattr(find_type(MODELS, node), '__module__', '')
    return not module or module.startswith(OPENMMLAB)


def _name_as(named: object, kind: Any) -> str:
    """The name of a class, with its module unless ``named`` is a name without a scope."""
    if isinstance(named, str) and '.' not in named:
        return kind.__name__
    return f'{kind.__module__}.{kind.__qualname__}'


def _without_classes(node: object) -> Any:
    """Settings with names instead of classes, which mmengine does not write as Python."""
    if isinstance(node, dict):
        return {key: _without_classes(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return (list if isinstance(node, list) else tuple)(map(_without_classes, node))
    is_named = isinstance(node, (type, FunctionType)) and node.__module__ != 'builtins'
    return _name_as(node, node) if is_named else node


def freeze_config(cfg: Config, model: BaseModel) -> Config:
    """The config of a plain segmentor or classifier with the fixed scales of a trained network.

    That is the network that [`freeze_pools`][mmseg_dynopool.layers.freeze_pools] gives. The config
    has no cost, no hooks or lr of the alphas, and names no weights. A user's own class stays.

    Args:
        cfg: the config of a network with ``DynOPoolHRNet`` or converted parts, a backbone or
            others, which are the network's submodules of the same names.
        model: the trained network of ``cfg``.

    Raises:
        ValueError: no part takes ``dynopool`` options, nothing learns, or something learns outside
            of these parts.

    Examples:
        >>> from mmengine import Config
        >>> from mmseg.registry import MODELS
        >>> from mmseg_dynopool.export import freeze_config
        >>> cfg = Config(dict(model=dict(
        ...     type='DynOPoolEncoderDecoder', dynopool=dict(rule='before', scale=0.4),
        ...     backbone=dict(type='ResNet', depth=18, base_channels=8),
        ...     decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=19))))
        >>> frozen = freeze_config(cfg, MODELS.build(cfg.model)).model
        >>> frozen.type, frozen.backbone.dynopool.learn, frozen.backbone.dynopool.scale.stride2
        ('EncoderDecoder', False, (0.4, 0.4))
    """
    paths = list(dynopool_parts(cfg.model))
    if not paths:
        kind = type_name(cfg.model.get('backbone') or cfg.model)
        raise ValueError(f'cannot freeze the config of a {kind!r}; it takes a '
                         "'DynOPoolHRNet', or a backbone converted by model.dynopool. For a "
                         'network of your own, use freeze_pools(model)')
    learned = learned_pools(model)
    if not learned:
        raise ValueError('there is no learned scale to freeze: the network is frozen already')
    modules = dict(model.named_modules(remove_duplicate=False))
    pools = {path: getattr(modules.get(path), 'dynopools', {}) for path in paths}
    held = [pool for part in pools.values() for pool in part.values()]
    lost = [path for path in paths if not pools[path]] + [
        name for name, pool in learned.items() if pool not in held]
    if lost:
        raise ValueError(f'cannot follow {", ".join(lost)} between the config and the network; a '
                         f'part of the config, here {", ".join(paths)}, must be the submodule of '
                         'this name, and hold all that learns. Else use freeze_pools(model)')
    frozen = Config(_without_classes(cfg.to_dict()))
    frozen.model = plain_model(frozen.model)
    frozen._cfg_dict.setdefault('default_scope', 'mmseg')  # so a runner finds the plain class, too
    if frozen.default_scope is None:  # mmengine's runner knows no names of mmseg
        kind = find_type(MODELS, frozen.model)
        frozen.model.type = _name_as(kind, kind)
    for path, part in dynopool_parts(frozen.model).items():
        scales = {name: tuple(1 / a for a in pool.freeze().read_alpha())
                  for name, pool in pools[path].items()}
        part['dynopool'] = dict(part.get('dynopool') or {}, scale=scales, learn=False)
    frozen.custom_hooks = [hook for hook in frozen.get('custom_hooks') or []
                           if type_name(hook) not in _HOOKS]
    paramwise = (frozen.get('optim_wrapper') or {}).get('paramwise_cfg') or {}
    (paramwise.get('custom_keys') or {}).pop('dynopools', None)
    for key in ('load_from', 'resume', 'work_dir'):
        frozen.pop(key, None)
    return frozen
