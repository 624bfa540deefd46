"""On a GPU: the same results as on the CPU, in mixed precision, with one read per forward."""

import copy
import warnings

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers import DynOPool, learned_pools
from mmseg_dynopool.learning import add_cost_gradient
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from mmseg_dynopool.ops.pooling import ANCHORS
from support.runs import Watch, alphas_of, segmentor, train
from support.toys import SIZE

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize('anchor', ANCHORS)
@pytest.mark.parametrize('scale', [0.5, (0.47, 0.61), 1.0])
def test_forward_and_gradients_equal_the_cpu(anchor, scale):
    x = torch.randn(2, 5, 61, 90, dtype=torch.float64)
    results = []
    for device in ('cpu', 'cuda'):
        pool = DynOPool(scale, anchor=anchor).double().to(device)
        image = x.to(device).requires_grad_()
        output = pool(image)
        weight = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        (output * weight.to(device)).sum().backward()
        results.append([t.cpu() for t in (output.detach(), image.grad, pool.alpha.grad)])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_reads_where_float32_reads(dtype):
    x = torch.randn(2, 3, 300, 420, device='cuda').to(dtype)
    pool = DynOPool((0.422, 0.55)).cuda()
    with torch.autocast('cuda', dtype):
        output = pool(x)
    exact = pool(x.float())
    eps = torch.finfo(dtype).eps
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), exact, rtol=eps, atol=eps)
    # At a scale where every query is a pixel, so that nothing is rounded before the sum.
    pool = DynOPool(0.5).cuda()
    weight = torch.randint(-2, 3, (2, 3, 150, 210), device='cuda').to(dtype)
    coarse, fine = (torch.autograd.grad((pool(image) * weight).sum(), pool.alpha)[0]
                    for image in (x, x.float()))
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, fine)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_trains_in_mixed_precision(tmp_path, dtype):
    """With mmengine's own wrapper and loss scale, which the first steps overflow."""
    watch = Watch()
    runner = train(tmp_path, segmentor(), 20, [watch], alpha_lr=0.005,
                   hook=dict(gmacs_weight=300.), type='AmpOptimWrapper', dtype=dtype,
                   loss_scale=dict(init_scale=2.**127, backoff_factor=2.**-28))
    assert next(runner.model.parameters()).is_cuda
    assert runner.optim_wrapper.loss_scaler.get_scale() < 2.**127
    assert all(p.alpha.dtype == torch.float32 for p in learned_pools(runner.model).values())
    alphas = [a.cpu() for a in watch.alphas]
    skipped = [torch.equal(a, b) for a, b in zip([torch.full((3, 2), 2.), *alphas], alphas)]
    assert skipped[0] and not skipped[-1]
    assert alphas_of(runner.model).isfinite().all() and (alphas[-1] - 2).abs().max() > 0.01


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_a_budget_is_met_in_mixed_precision(tmp_path, dtype):
    model, watch = segmentor(), Watch()
    start = MODELS.build(model).count_gmacs()
    runner = train(tmp_path, model, 20, [watch], alpha_lr=None,
                   hook=dict(gmacs_budget=dict(target=1.2)), type='AmpOptimWrapper', dtype=dtype)
    pools = learned_pools(runner.model)
    assert all(p.alpha.is_cuda and p.alpha.dtype == torch.float32 for p in pools.values())
    assert runner.model.count_gmacs() / start == pytest.approx(1.2, rel=0.02)
    assert torch.equal(watch.alphas[-1], watch.alphas[-2])  # settled
    assert not torch.equal(watch.alphas[4], watch.alphas[3])


def test_cost_is_the_same_under_autocast():
    model = MODELS.build(segmentor(backbone=dict(dynopool=dict(scale=0.47))))
    cost = probe_complexity(model, SIZE, forward=forward_without_postprocessing)
    cpu = copy.deepcopy(model)
    model.cuda()
    found, gradients = [], []
    for autocast in (True, False):
        with torch.autocast('cuda', torch.float16, enabled=autocast):
            found.append(add_cost_gradient(model, cost, 3.))
        gradients.append([pool.alpha.grad for pool in learned_pools(model).values()])
        model.zero_grad()
    assert torch.equal(*found) and all(map(torch.equal, *gradients))
    torch.testing.assert_close(found[0].cpu(), add_cost_gradient(cpu, cost, 3.), rtol=1e-6, atol=0)
    for pool, gradient in zip(learned_pools(cpu).values(), gradients[0], strict=True):
        torch.testing.assert_close(gradient.cpu(), pool.alpha.grad, rtol=1e-6, atol=0)


def test_one_device_read_per_forward():
    network = MODELS.build(segmentor()).backbone.cuda().train()
    image = torch.randn(2, 3, 64, 96, device='cuda')
    network(image)  # what cuDNN and the allocator do once
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            network(image)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert len([w for w in caught if 'synchroniz' in str(w.message)]) == 1
