"""Check that a checkpoint belongs to a model before it is used."""

from pathlib import Path

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmseg_dynopool.layers import all_pools, learned_pools, unwrap

_SHOWN = 3
_MORE_THAN_WEIGHTS = (
    'holds more than weights, as every checkpoint of a training does, and upstream mmengine reads '
    'only weights under PyTorch 2.6 or newer. If you trust the file, set the environment variable '
    'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1; the mmlab extra needs none (see "FAQ" in the README)')


def check_checkpoint(model: nn.Module, path: str, part: str = '', resume: bool = False,
                     inference: bool = False, scales: bool = False) -> None:
    """Check that the checkpoint at ``path`` fills every weight of ``model``.

    mmengine loads what fits and logs the rest, so that a wrong file gives a network of random
    weights. Missing alphas (a ShapeAdaptor's logits) are allowed: a stock HRNet's checkpoint fits,
    at the initial scales. Those of another pooling are not.

    Args:
        model: the network.
        path: the checkpoint's file or URL.
        part: check only the weights whose names start so, e.g. ``'backbone.'`` where the head
            may differ.
        resume: check, too, that a training can go on from it.
        inference: check, too, that mmseg's ``init_model`` takes it.
        scales: check, too, that it holds the learned scales of a network that has some.

    Raises:
        ValueError: the file cannot be read, is of another architecture or of a training that
            diverged.
    """
    if '://' not in path and not Path(path).is_file():
        raise ValueError(f'there is no checkpoint {path!r}; give one that tools/train.py wrote')
    try:
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    except Exception as error:
        if 'Unsupported global' in str(error):
            raise ValueError(f'{path} {_MORE_THAN_WEIGHTS}') from error
        reason = f'{type(error).__name__}: {error}'.partition('. ')[0]
        raise ValueError(f'{path} cannot be read as a checkpoint ({reason}): it is none, or its '
                         'writing, download or copy was cut off') from error
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not any(map(torch.is_tensor, state.values())):
        raise ValueError(f'{path} holds no state_dict; give a checkpoint that tools/train.py '
                         'wrote')
    if resume and not {'optimizer', 'meta'} <= set(checkpoint):
        raise ValueError(f'{path} holds weights alone, no training to go on with; start from it '
                         'by load_from, without resume')
    _check_scales(unwrap(model), path, checkpoint)
    own = {k: v for k, v in unwrap(model).state_dict().items() if k.startswith(part)}
    optional = ('.alpha', '.logit', 'num_batches_tracked')
    for here, there in (('.alpha', '.logit'), ('.logit', '.alpha')):
        other = [k for k in own if k.endswith(here) and k not in state
                 and k.removesuffix(here) + there in state]
        if other:
            raise ValueError(f'{path} was trained with another pooling: it has {there!r} in the '
                             f'place of {other[0]!r} (a DynOPool has an alpha, a ShapeAdaptor a '
                             'logit). Set type in model.backbone.dynopool as in its training')
    learned = [k for k in own if k.endswith(('.alpha', '.logit'))]
    if scales and learned and not any(k in state for k in learned):
        raise ValueError(f'{path} holds no learned scale ({learned[0]}, ...): it is a stock '
                         "network's; give a checkpoint that was trained with DynOPool")
    missing = [k for k in own if k not in state and not k.endswith(optional)
               and not k.startswith('gmacs_budget.')]
    misshapen = [k for k in own if k in state and _shape(state[k]) != own[k].shape]
    if missing or misshapen:
        details = [f'{k} is missing' for k in missing[:_SHOWN]]
        details += [f'{k} is {tuple(_shape(state[k]))}, not {tuple(own[k].shape)}'
                    for k in misshapen[:_SHOWN]]
        raise ValueError(
            f'{path} is a checkpoint of another architecture: {len(missing)} weights missing '
            f'and {len(misshapen)} of another shape ({"; ".join(details)}). Use the config '
            'that it was trained with; a copy lies in its work dir')
    if inference and not isinstance(checkpoint.get('meta'), dict):
        raise ValueError(f"{path} has no 'meta', where mmseg looks for class names; write it anew: "
                         "torch.save(dict(state_dict=..., meta=dict(dataset_meta=dict(classes=..., "
                         "palette=...))), FILE); with meta={} mmseg takes Cityscapes' names")
    diverged = [k for k in own if k in state and _is_broken(k, state[k])]
    if diverged:
        raise ValueError(f'{path} holds NaN or infinity in {len(diverged)} weights '
                         f'({", ".join(diverged[:_SHOWN])}): its training diverged. Use an earlier '
                         'checkpoint, and train on with a lower lr')


def _check_scales(model: nn.Module, path: str, checkpoint: dict) -> None:
    """Frozen weights have no alphas: at other scales they would be another network."""
    frozen = (checkpoint.get('meta') or {}).get('dynopool_scales')
    if frozen and learned_pools(model):
        raise ValueError(f'{path} belongs to a frozen network with the scales {frozen}, and this '
                         "config's scales learn; use the config.py that tools/freeze.py wrote "
                         'beside it')
    state = checkpoint.get('state_dict', checkpoint)
    alphas = [f'{name}.alpha' for name in all_pools(model) if f'{name}.alpha' in state]
    if alphas and not learned_pools(model):
        raise ValueError(f"{path} holds learned scales ({alphas[0]}, ...), and this config's are "
                         'fixed; use the config it was trained with, or freeze it anew by '
                         'tools/freeze.py')


def _shape(value) -> tuple:
    return value.shape if torch.is_tensor(value) else (type(value).__name__, )


def _is_broken(name: str, value: torch.Tensor) -> bool:
    # Infinity is a bad scale, but may be right elsewhere, e.g. in a mask.
    if not value.is_floating_point():
        return False
    return bool(value.isnan().any() or (name.endswith('.alpha') and value.isinf().any()))
