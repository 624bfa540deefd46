"""FSDP2 (``torch.distributed.fsdp.fully_shard``) in a plain training loop, on two processes."""

import pytest
from torch.distributed import fsdp

from support.commands import on_two_processes

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not hasattr(fsdp, 'fully_shard'), reason='FSDP2 came with PyTorch 2.6')
def test_two_processes():
    """Weights and alphas equal those of one process; half precision needs float32 alphas."""
    assert on_two_processes('fsdp_worker').count('equal') == 2
