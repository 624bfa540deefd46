"""Results that the processes of a training share, so that none waits for one that failed."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

_Result = TypeVar('_Result')


def on_main_process(function: Callable[[], _Result]) -> _Result:
    """Call it in the first process, for all: a file, a device or a time may differ elsewhere.

    With NCCL its result moves through the current GPU of each process.

    Raises:
        RuntimeError: it failed in the first process, which raises its own error.
    """
    if not is_one_of_several():
        return function()
    first = dist.get_rank() == 0
    result: list[Any] = [on_each_process(function if first else lambda: None)]
    dist.broadcast_object_list(result)
    return result[0]


def on_each_process(function: Callable[[], _Result]) -> _Result:
    """Call it in each process; if it fails in one, it fails in all.

    Raises:
        RuntimeError: it failed in another process, which raises its own error.
    """
    if not is_one_of_several():
        return function()
    error = None
    try:
        result = function()
    except Exception as raised:  # the others wait for an answer
        error = raised
    errors = [''] * dist.get_world_size()
    dist.all_gather_object(errors, f'{type(error).__name__}: {error}' if error else '')
    if error is not None:
        raise error
    for rank, words in enumerate(errors):
        if words:
            raise RuntimeError(f'process {rank} failed: {words}')
    return result


def is_one_of_several() -> bool:
    """Whether this process is part of a distributed training."""
    return dist.is_available() and dist.is_initialized()
