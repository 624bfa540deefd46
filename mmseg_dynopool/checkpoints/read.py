"""Read a checkpoint file without running what it holds.

A pickle can call any function. PyTorch's ``weights_only`` reads tensors and plain containers
alone; allowed here, too, is what mmengine's runner writes beside them.
"""

import os
import re
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from .safetensors import load_from_safetensors

# PyTorch's own variable, which mmengine heeds, too.
TRUST = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
_SHOWN = 5


def _history_statistic(owner: object, name: str) -> Callable:
    """The one use that a HistoryBuffer makes of ``getattr``: to name its own statistics."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise ValueError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _training_types() -> list:
    """What mmengine's log and NumPy's arrays are pickled as, under their names in files."""
    multiarray = np.zeros(0).__reduce__()[0].__module__  # of _reconstruct, by NumPy's version
    reconstruct, scalar = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    numpys = [(function, f'{module}.{name}')
              for module in {multiarray, 'numpy.core.multiarray', 'numpy._core.multiarray'}
              for function, name in ((reconstruct, '_reconstruct'), (scalar, 'scalar'))]
    dtypes = {type(np.dtype(kind)) for kind in np.sctypeDict.values() if kind is not np.object_}
    return [HistoryBuffer, (_history_statistic, 'builtins.getattr'), np.ndarray, np.dtype,
            *numpys, *dtypes]


def read_file(path: str) -> Any:
    """The content of a checkpoint, its tensors on the CPU.

    Args:
        path: a file, or a URL: of http, or of another scheme that mmengine knows; those such as
            ``open-mmlab://`` name files of their own projects, which are trusted.

    Raises:
        ValueError: there is no such file, it cannot be read, or it holds more than a training
            writes and is not trusted.
    """
    if path.endswith('.onnx'):
        raise ValueError(f'{path} is an ONNX file, which serves inference alone; give the '
                         'checkpoint that it was made from')
    if path.endswith('.safetensors'):
        return load_from_safetensors(path)
    if '://' not in path and not Path(path).is_file():
        raise ValueError(f'there is no checkpoint {path!r}; give one that tools/train.py wrote')
    fetched = fetch(path) if re.match('https?://', path) else None
    trusted = os.environ.get(TRUST, '').lower() in ('1', 'y', 'yes', 'true')
    try:
        with torch.serialization.safe_globals(_training_types()):
            if fetched is not None:  # a zip, too
                return torch.hub.load_state_dict_from_url(
                    path, file_name=fetched.name, map_location='cpu', weights_only=not trusted)
            if '://' in path:
                return CheckpointLoader.load_checkpoint(path, map_location='cpu')
            return torch.load(path, map_location='cpu', weights_only=not trusted)
    except Exception as error:  # of many types
        foreign = _foreign_globals(path, error)
        if foreign:
            raise ValueError(
                f'{path} holds more than a training writes: {", ".join(foreign[:_SHOWN])}. '
                'Reading such a file can run any code; if you trust it, set the environment '
                f'variable {TRUST}=1') from error
        reason = f'{type(error).__name__}: {error}'.partition('. ')[0]
        if '://' in path and isinstance(error, OSError):
            raise ValueError(
                f'{path} cannot be downloaded ({reason}); give a file of it') from error
        raise ValueError(f'{path} cannot be read as a checkpoint ({reason}): it is none, or its '
                         'writing, download or copy was cut off') from error


def fetch(url: str) -> Path:
    """The file of a URL of http, downloaded to torch.hub's cache.

    That gives the weights of one URL to all that end in its name, so each URL has a name of its own
    there. Where it cannot be downloaded, a file of torch.hub's name is taken, as on machines
    without a network.

    Raises:
        ValueError: it cannot be downloaded.
    """
    cached = Path(torch.hub.get_dir(), 'checkpoints', Path(urlsplit(url).path).name)
    own = cached.with_name(f'{sha256(url.encode()).hexdigest()[:12]}-{cached.name}')
    try:
        if not own.is_file():
            own.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(own), progress=False)
        return own
    except OSError as error:
        if isinstance(error, HTTPError) or not cached.is_file():
            raise ValueError(f'{url} cannot be downloaded ({type(error).__name__}: {error}); give '
                             'a file of it') from error
        warnings.warn(f'{url} cannot be downloaded ({error}): {cached} is read in its place. '
                      'Another URL that ends in this name may have left it there', stacklevel=2)
        return cached


def _foreign_globals(path: str, error: Exception) -> list[str]:
    """Names of what a file holds beyond the allowed; empty where that is not what is wrong."""
    if 'weights_only' not in str(error) and 'Weights only' not in str(error):
        return []
    try:
        with torch.serialization.safe_globals(_training_types()):
            return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # no zip file: PyTorch's old format, or none at all
        return re.findall(r'GLOBAL ([\w.]+)', str(error))
