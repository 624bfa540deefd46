"""What one process of a distributed training finds out for all."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

_Result = TypeVar('_Result')


def on_main_process(function: Callable[[], _Result]) -> _Result:
    """Its result in each process: times differ, and two at once would take each other's.

    Raises:
        RuntimeError: it failed in the first process; in that, its own error.
    """
    if not dist.is_available() or not dist.is_initialized():
        return function()
    result: list[Any] = [None, '']
    error = None
    if dist.get_rank() == 0:
        try:
            result[0] = function()
        except Exception as raised:  # the others wait for an answer
            error = raised
            result[1] = f'{type(raised).__name__}: {raised}'
    dist.broadcast_object_list(result)
    if error is not None:
        raise error
    if result[1]:
        raise RuntimeError(f'the first process failed: {result[1]}')
    return result[0]
