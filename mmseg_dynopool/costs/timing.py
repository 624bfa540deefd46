"""Time programs side by side, so that a busy machine slows all of them alike."""

import platform
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rich.progress import track


def time_alternately(runs: Mapping[str, Callable[[], object]], repeats: int,
                     device: torch.device | str, warm_up: int = 2, description: str = 'timing',
                     prepare: Callable[[str], object] | None = None) -> dict[str, list[float]]:
    """Run programs in turns, each round in the reverse order of the one before.

    Args:
        runs: programs without arguments, by name.
        repeats: rounds that count.
        device: if it is a GPU, it is synchronized before and after each run.
        warm_up: rounds before those, which do not count.
        description: text beside the progress bar.
        prepare: called with a program's name before each of its runs; not timed.

    Returns:
        Seconds of each run by name, ``repeats`` each.

    Raises:
        ValueError: ``repeats`` is less than 1.

    Examples:
        >>> import torch
        >>> from mmseg_dynopool.costs import time_alternately
        >>> layer, image = torch.nn.Conv2d(3, 8, 3), torch.rand(1, 3, 32, 32)
        >>> runs = {'layer': lambda: layer(image), 'relu': lambda: image.relu()}
        >>> seconds = time_alternately(runs, repeats=5, device='cpu')
        >>> {name: len(times) for name, times in seconds.items()}
        {'layer': 5, 'relu': 5}
    """
    if repeats < 1:
        raise ValueError(f'repeats must be at least 1, got {repeats!r}')
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in track(range(repeats + warm_up), description=description, transient=True):
        for name in list(runs)[::1 if turn % 2 else -1]:
            if prepare is not None:
                prepare(name)
            _synchronize(device)
            start = time.perf_counter()
            runs[name]()
            _synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: times[warm_up:] for name, times in seconds.items()}


def _synchronize(device: torch.device | str) -> None:
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def device_name(device: torch.device | str) -> str:
    """A device's name: of a GPU its model, of CPUs theirs and the number of threads in use.

    Examples:
        >>> from mmseg_dynopool.costs import device_name
        >>> device_name('cpu').rpartition(' ')[2].rstrip('s')  # of 'AMD EPYC 7B13, 2 threads'
        'thread'
    """
    if torch.device(device).type == 'cuda':
        return torch.cuda.get_device_name(device)
    listing = Path('/proc/cpuinfo')  # of Linux, where platform often knows the architecture alone
    named = listing.is_file() and re.search(r'^model name\s*: (.+)$', listing.read_text(), re.M)
    processor = named[1] if named else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f'{processor}, {threads} thread{"s" * (threads > 1)}'
