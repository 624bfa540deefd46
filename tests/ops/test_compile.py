"""torch.compile: no break inside DynOPool, and no new graph when alpha moves."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.ops import dynopool2d
from mmseg_dynopool.ops.pooling import REDUCTIONS

pytestmark = pytest.mark.usefixtures('fresh_compiler')
ALPHAS = (2.0, 2.001, 2.1, 2.3, 2.31, 2.9, 3.3, 1.5)


@pytest.mark.parametrize('backend, dynamic, graphs', [
    ('aot_eager', None, 2),  # the first change of size makes the sizes symbols
    pytest.param('inductor', True, 1, marks=pytest.mark.slow)])  # symbols from the start
@pytest.mark.parametrize('reduce', REDUCTIONS)
# No vector instructions: to find out which there are takes six processes.
@torch._inductor.config.patch({'cpp.simdlen': 1, 'cpp.vec_isa_ok': False,
                               'cpp_cache_precompile_headers': False})
def test_one_dynamic_graph_for_all_sizes(backend, dynamic, graphs, reduce):
    """fullgraph=True raises at any break."""
    counter = CompileCounterWithBackend(backend)

    def run(image, alpha, size):
        return dynopool2d(image, alpha, size, reduce=reduce).square().sum()

    compiled = torch.compile(run, backend=counter, fullgraph=True, dynamic=dynamic)
    image = torch.randn(2, 3, 32, 48)
    for value in ALPHAS:
        found, expected = [], []
        for function, results in ((compiled, found), (run, expected)):
            x, alpha = image.clone().requires_grad_(), torch.full((2, ), value).requires_grad_()
            size = tuple(round(n / value) for n in (32, 48))
            results.append(function(x, alpha, size))
            results[0].backward()
            results += [x.grad, alpha.grad]
        for a, b in zip(found, expected):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert counter.frame_count == graphs


def test_the_module_reads_alpha_outside_of_the_graph():
    counter = CompileCounter()
    pool = DynOPool()
    compiled = torch.compile(pool, backend=counter)
    image = torch.randn(1, 2, 40, 60)
    for value in ALPHAS:
        with torch.no_grad():
            pool.alpha.fill_(value)
            assert torch.equal(compiled(image), pool(image))
    assert counter.frame_count <= 4  # before and after the read: static, then dynamic
