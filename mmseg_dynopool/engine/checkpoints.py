"""Check that a checkpoint belongs to a model before it is used."""

from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from .gmacs_report import unwrap

_SHOWN = 3
_MORE_THAN_WEIGHTS = (
    'holds more than weights, as every checkpoint of a training does, and upstream mmengine reads '
    'only weights under PyTorch 2.6 or newer. If you trust the file, set the environment variable '
    'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1; the mmlab extra needs none (see "FAQ" in the README)')


def check_checkpoint(model: nn.Module, path: str, part: str = '') -> None:
    """Check that the checkpoint at ``path`` fills every weight of ``model``.

    mmengine loads what fits and logs the rest, so that a wrong file gives a network of random
    weights. Missing alphas are allowed: a stock HRNet's checkpoint fits, at the initial scales.

    Args:
        model: the network.
        path: the checkpoint's file or URL.
        part: check only the weights whose names start so, e.g. ``'backbone.'`` where the head
            may differ.

    Raises:
        ValueError: the file cannot be read or is of another architecture.
    """
    try:
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    except Exception as error:
        if 'Unsupported global' in str(error):
            raise ValueError(f'{path} {_MORE_THAN_WEIGHTS}') from error
        raise ValueError(f'{path} cannot be read as a checkpoint ({error}); the download or '
                         'copy may have been cut off') from error
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f'{path} holds no state_dict; give a checkpoint that tools/train.py '
                         'wrote')
    own = {k: v for k, v in unwrap(model).state_dict().items() if k.startswith(part)}
    optional = ('.alpha', 'num_batches_tracked')
    missing = [k for k in own if k not in state and not k.endswith(optional)
               and not k.startswith('gmacs_budget.')]
    misshapen = [k for k in own if k in state and state[k].shape != own[k].shape]
    if missing or misshapen:
        details = [f'{k} is missing' for k in missing[:_SHOWN]]
        details += [f'{k} is {tuple(state[k].shape)}, not {tuple(own[k].shape)}'
                    for k in misshapen[:_SHOWN]]
        raise ValueError(
            f'{path} is a checkpoint of another architecture: {len(missing)} weights missing '
            f'and {len(misshapen)} of another shape ({"; ".join(details)}). Use the config '
            'that it was trained with; a copy lies in its work dir')
