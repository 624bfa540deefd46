"""What one process finds out for all, in one process and in two."""

import json
import os
import subprocess
import sys

import pytest

from mmseg_dynopool.costs.main_process import on_each_process, on_main_process
from support.toys import ROOT


@pytest.mark.parametrize('on', [on_main_process, on_each_process])
def test_without_a_group_it_is_a_call(on):
    result = object()
    assert on(lambda: result) is result
    with pytest.raises(KeyError, match='as it is'):
        on(lambda: {}['as it is'])


@pytest.fixture(scope='module')
def answers(tmp_path_factory):
    """What the cases of the worker gave in each of two processes; one that waits is an error."""
    folder = tmp_path_factory.mktemp('processes')
    path = os.pathsep.join([str(ROOT / 'tests'), str(ROOT), os.environ.get('PYTHONPATH', '')])
    workers = []
    for rank in (0, 1):
        (folder / str(rank)).mkdir()
        workers.append(subprocess.Popen(
            [sys.executable, ROOT / 'tests' / 'support' / 'main_process_worker.py', str(rank),
             folder / 'store'], cwd=folder / str(rank), text=True,
            env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    try:
        printed = [worker.communicate(timeout=120) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], printed
    return [json.loads(output.splitlines()[-1]) for output, _ in printed]


@pytest.mark.slow
def test_both_processes_get_the_first_ones_result_and_an_error_of_either(answers):
    own = [f"KeyError: 'no time on rank {rank}'" for rank in (0, 1)]
    told = [f'RuntimeError: process {rank} failed: {error}' for rank, error in enumerate(own)]
    results = [dict(rank=rank, ms=[1.5, float('inf')]) for rank in (0, 1)]
    for rank, answer in enumerate(answers):
        assert answer['of_the_first'] == results[0]
        assert answer['first_fails'] == [(own[0], told[0])[rank]] * 2
        assert answer['nothing'] is None
        assert answer['calls'] == ([0, 0, 0], [])[rank]
        assert answer['of_each'] == results[rank]
        assert answer['each_fails'] == own[rank]
        assert answer['second_fails'] == (told[1], own[1])[rank]


@pytest.mark.slow
def test_a_latency_budget_is_the_same_in_both_processes(answers):
    """Where a file, a checkpoint or a device is of one process alone, and where one fails."""
    first, second = answers
    for key in ('timed', 'file_of_the_first', 'state_of_the_first'):
        assert first[key] == second[key] == first['timed']
    no_file = first['no_file']
    assert no_file.startswith("ValueError: cannot read a latency model from 'none.json'")
    assert second['no_file'] == f'RuntimeError: process 0 failed: {no_file}'
    other = second['other_network']
    assert other.startswith('ValueError: the latency model is of another network')
    assert first['other_network'] == f'RuntimeError: process 1 failed: {other}'
    assert first['phone_in_the_second'] == second['phone_in_the_second'] > 0
    assert first['phone_in_the_first'] is second['phone_in_the_first'] is None
