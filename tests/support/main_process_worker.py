"""One of two processes of a training that find something out; see test_main_process.py.

Arguments: rank, and the file in which the processes find each other. It prints JSON: what each
case below gave this process, its result or its error.
"""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from torch import nn

from mmseg_dynopool.costs import LatencyBudget, latency_fit, milliseconds
from mmseg_dynopool.costs.main_process import on_each_process, on_main_process
from mmseg_dynopool.layers import DynOPool

SHAPE = (32, 48)
FILE = 'latency.json'


def case(function: Callable, *args: object, **options: object) -> object:
    try:
        return function(*args, **options)
    except Exception as error:
        return f'{type(error).__name__}: {error}'


def simple_cases(rank: int) -> dict[str, object]:
    calls = []

    def find() -> dict:
        calls.append(rank)
        return dict(rank=rank, ms=[1.5, float('inf')])

    def fail() -> None:
        calls.append(rank)
        raise KeyError(f'no time on rank {rank}')

    return dict(
        of_the_first=case(on_main_process, find),
        first_fails=[case(on_main_process, fail) for _ in range(2)],
        nothing=case(on_main_process, lambda: None),
        calls=list(calls),
        of_each=case(on_each_process, find),
        each_fails=case(on_each_process, fail),
        second_fails=case(on_each_process, fail if rank else find))


def network(channels: int = 4) -> nn.Module:
    return nn.Sequential(DynOPool(0.5), nn.Conv2d(3, channels, 3, padding=1))


def budget_cases(rank: int) -> dict[str, object]:
    latency_fit._MOST_TURNS = 8  # quick, and times of their own in each process
    budget = LatencyBudget(target=0.7)
    cost = budget.cost(network(), SHAPE)
    device = cost.found.device
    if rank == 0:
        cost.found.save(FILE)
    assert Path(FILE).exists() == (rank == 0)  # each has a folder of its own

    def found(file: str | None = None, state: dict | None = None, channels: int = 4) -> dict:
        budget = LatencyBudget(target=0.7, model=file)
        return budget.cost(network(channels), SHAPE, state=state).found.to_dict()

    def measured(*names: str) -> float | None:
        """As if the processes had devices of these names."""
        milliseconds.device_name = lambda device: names[rank]
        return cost.measured(network(), {'0': (2.5, 3.0)})

    return dict(
        timed=cost.found.to_dict(),
        file_of_the_first=case(found, FILE),
        no_file=case(found, 'none.json'),
        state_of_the_first=case(found, state=None if rank else cost.state_dict()),
        other_network=case(found, FILE, channels=4 + rank),
        phone_in_the_second=case(measured, device, 'a phone'),
        phone_in_the_first=case(measured, 'a phone', device))


if __name__ == '__main__':
    number, store = int(sys.argv[1]), sys.argv[2]
    # Gloo's waiting ends with an error; the store is a file, so that no port is taken.
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=number, world_size=2,
                            timeout=timedelta(seconds=60))
    print(json.dumps(simple_cases(number) | budget_cases(number)))
    dist.barrier()
