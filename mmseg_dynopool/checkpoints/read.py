"""Read a checkpoint file without running what it holds.

A pickle can call any function. PyTorch by default reads only tensors and plain containers; what
mmengine's runner writes beside them is allowed here, too.
"""

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


def _history_statistic(owner: object, name: str) -> Callable:
    """The only ``getattr`` that a pickled HistoryBuffer needs: of its own statistics."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise ValueError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _training_types() -> list:
    """What mmengine's log and NumPy's arrays are pickled as, under their names in files."""
    functions = [np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]]
    numpys = [(function, f'numpy.{core}.multiarray.{function.__name__}')
              for core in ('core', '_core') for function in functions]
    dtypes = {type(np.dtype(kind)) for kind in np.sctypeDict.values() if kind is not np.object_}
    return [HistoryBuffer, (_history_statistic, 'builtins.getattr'), np.ndarray, np.dtype,
            *numpys, *dtypes]


def read_file(path: str) -> Any:
    """The content of a checkpoint, its tensors on the CPU.

    ``path`` is a file or a URL, of http or another scheme that mmengine knows; schemes such as
    ``open-mmlab://`` name files of their own projects, which are trusted.
    """
    if path.endswith('.onnx'):
        raise ValueError(f'{path} is an ONNX file, which serves inference alone; give the '
                         'checkpoint that it was made from')
    if path.endswith('.safetensors'):
        return load_from_safetensors(path)
    file = fetch(path) if re.match('https?://', path) else Path(path)
    if '://' not in path and not file.is_file():
        raise ValueError(f'there is no checkpoint {path!r}; give one that tools/train.py wrote')
    try:
        with torch.serialization.safe_globals(_training_types()):
            if file.is_file():
                # Weights only: PyTorch's default since 2.6, which heeds the variable, too.
                return torch.load(file, map_location='cpu')
            return CheckpointLoader.load_checkpoint(path, map_location='cpu')
    except Exception as error:  # of many types
        if foreign := re.search(r'GLOBAL ([\w.]+)', str(error)):
            raise ValueError(
                f'{path} holds more than a training writes: {foreign[1]}. Reading such a file can '
                f'run any code; if you trust it, set the environment variable {TRUST}=1') from error
        reason = f'{type(error).__name__}: {error}'.partition('. ')[0]
        raise ValueError(f'{path} cannot be read as a checkpoint ({reason}): it is none, or its '
                         'writing, download or copy was cut off') from error


def fetch(url: str) -> Path:
    """The file at an http URL, downloaded to torch.hub's cache.

    torch.hub names files by the end of their URLs alone, so each gets a hash in its name here. If
    the download fails, as without a network, a file of torch.hub's name is taken.
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
