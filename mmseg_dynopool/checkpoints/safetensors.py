"""Weights as safetensors: numbers and names, nothing that a reader would execute."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.fileio import get_local_path
from mmengine.runner.checkpoint import CheckpointLoader

from mmseg_dynopool.files import write_file

_MISSING = "safetensors files need the package safetensors: pip install 'mmseg_dynopool[export]'"


def save_safetensors(state: dict, path: str | Path, meta: dict | None = None) -> None:
    """Write the weights and buffers of a ``state_dict()``.

    ``meta`` is what mmseg keeps beside them, e.g. ``dict(dataset_meta=...)``; as JSON.

    Raises:
        ImportError: the package safetensors is not installed.
        ValueError, OSError: the file cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from torch import nn
        >>> from mmseg_dynopool.checkpoints import load_from_safetensors, save_safetensors
        >>> model = nn.Conv2d(3, 8, 3)
        >>> with TemporaryDirectory() as folder:
        ...     save_safetensors(model.state_dict(), f'{folder}/model.safetensors', dict(iter=1000))
        ...     print(load_from_safetensors(f'{folder}/model.safetensors')['meta'])
        {'iter': 1000}
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ImportError(_MISSING) from error
    # Clones: the format does not allow shared memory.
    state = {key: value.detach().cpu().clone().contiguous() for key, value in state.items()}
    text = json.dumps(meta or {}, default=lambda value: np.asarray(value).tolist())  # a palette
    write_file(path, save(state, {'format': 'pt', 'meta': text}))


def load_from_safetensors(filename: str,
                          map_location: str | torch.device | Callable | None = 'cpu') -> dict:
    """Load a safetensors file as a dict of `state_dict` and `meta`; mmengine's loaders do so, too.

    Args:
        filename: path or URL.
        map_location: device of the tensors; anything but a device leaves them on the CPU.

    Raises:
        ImportError: the package safetensors is not installed.
        ValueError: it is not a safetensors file, or cut off.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from torch import nn
        >>> from mmseg_dynopool.checkpoints import load_from_safetensors, save_safetensors
        >>> with TemporaryDirectory() as folder:
        ...     save_safetensors(nn.Conv2d(3, 8, 3).state_dict(), f'{folder}/model.safetensors')
        ...     content = load_from_safetensors(f'{folder}/model.safetensors')
        >>> content['state_dict']['weight'].shape
        torch.Size([8, 3, 3, 3])
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(_MISSING) from error
    device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
    try:
        with get_local_path(filename) as path, safe_open(path, framework='pt') as file:
            state = {key: file.get_tensor(key).to(device) for key in file.keys()}  # noqa: SIM118
            meta = json.loads((file.metadata() or {}).get('meta', '{}'),
                              object_hook=_with_whole_keys)
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f'{filename} cannot be read as safetensors ({error}); the download '
                         'or copy may have been cut off') from error
    return dict(state_dict=state, meta=meta)


def _with_whole_keys(entries: dict) -> dict:
    """Turn JSON's text keys into numbers, as in a data set's label map."""
    if all(re.fullmatch(r'-?\d+', key) for key in entries):
        return {int(key): value for key, value in entries.items()}
    return entries


# As a decorator it would hide the types. The pattern of URLs goes before mmengine's own.
CheckpointLoader.register_scheme(
    prefixes=(r'https?://.*\.safetensors$', r'.*\.safetensors$'), loader=load_from_safetensors)
