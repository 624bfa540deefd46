"""What one process finds out for all, in one process and in two."""

import subprocess
import sys

import pytest

from mmseg_dynopool.costs.main_process import on_main_process
from support.toys import ROOT


def test_without_a_group_it_is_a_call():
    result = object()
    assert on_main_process(lambda: result) is result
    with pytest.raises(KeyError, match='as it is'):
        on_main_process(lambda: {}['as it is'])


# Over Gloo, whose waiting ends with an error; the store is a file, so that no port is taken.
WORKER = """
import sys
from datetime import timedelta
import torch.distributed as dist
from mmseg_dynopool.costs.main_process import on_main_process

rank, calls = int(sys.argv[1]), []
dist.init_process_group('gloo', init_method='file://' + sys.argv[2], rank=rank, world_size=2,
                        timeout=timedelta(seconds=60))

def find():
    calls.append(rank)
    return dict(rank=rank, ms=[1.5, float('inf')], sizes=(3, 4))

def fail():
    calls.append(rank)
    raise KeyError(f'no time on rank {rank}')

print(on_main_process(find))
for _ in range(2):
    try:
        print('not reached', on_main_process(fail))
    except Exception as error:
        print(repr(error))
print(on_main_process(lambda: None), on_main_process(lambda: f'of rank {rank}'))
print(calls)
"""


@pytest.mark.slow
def test_both_processes_get_the_first_ones_result_and_its_error(tmp_path):
    workers = [subprocess.Popen(
        [sys.executable, '-c', WORKER, str(rank), str(tmp_path / 'store')], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in (0, 1)]
    try:
        printed = [worker.communicate(timeout=120) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], printed
    errors = ["KeyError('no time on rank 0')",
              """RuntimeError("the first process failed: KeyError: 'no time on rank 0'")"""]
    for (output, _), error, calls in zip(printed, errors, ([0, 0, 0], [])):
        assert output.splitlines()[-5:] == [
            str(dict(rank=0, ms=[1.5, float('inf')], sizes=(3, 4))), error, error,
            'None of rank 0', str(calls)]
