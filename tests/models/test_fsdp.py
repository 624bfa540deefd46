"""FSDP2 (``torch.distributed.fsdp.fully_shard``) in a plain training loop, on two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed import fsdp

pytestmark = pytest.mark.slow
TESTS = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(not hasattr(fsdp, 'fully_shard'), reason='FSDP2 came with PyTorch 2.6')
def test_two_processes():
    """Weights and alphas equal those of one process; half precision needs float32 alphas."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         str(TESTS / 'support' / 'fsdp_worker.py')],
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'), text=True,
        capture_output=True, timeout=300)
    seen = done.stdout[-2000:] + done.stderr[-6000:]
    assert done.returncode == 0 and done.stdout.count('equal') == 2, seen
