"""Weights as safetensors: numbers and names, nothing that a reader would have to execute."""

import json
from pathlib import Path

from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

_MISSING = "safetensors files need the package safetensors: pip install 'mmseg_dynopool[export]'"


def save_safetensors(model: nn.Module, path: str | Path, meta: dict | None = None) -> None:
    """Write the weights and buffers of ``model``.

    Args:
        model: the network.
        path: the file.
        meta: what mmseg keeps beside the weights, e.g. ``dict(dataset_meta=...)``; as JSON.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise ImportError(_MISSING) from error
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    save_file(state, path, {'format': 'pt', 'meta': json.dumps(meta or {})})


@CheckpointLoader.register_scheme(prefixes=r'.*\.safetensors$')
def load_from_safetensors(filename: str, map_location: str | None = 'cpu') -> dict:
    """Load such a file wherever mmengine takes a checkpoint: ``load_from``, ``init_model``.

    Returns:
        ``{'state_dict', 'meta'}``.

    Raises:
        ValueError: it is no safetensors file, or cut off.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(_MISSING) from error
    try:
        with safe_open(filename, framework='pt', device=str(map_location or 'cpu')) as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            meta = json.loads((file.metadata() or {}).get('meta', '{}'))
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f'{filename} cannot be read as safetensors ({error}); the download or '
                         'copy may have been cut off') from error
    return dict(state_dict=state, meta=meta)
