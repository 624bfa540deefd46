"""One of two processes that train a segmentor under FSDP2; see test_fsdp.py."""

import copy
import os

import torch
import torch.distributed as dist
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

import mmseg_dynopool  # noqa: F401  registers
from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.learning import add_cost_gradient
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.runs import Shapes, alphas_of, segmentor
from support.toys import SIZE

STEPS = 4
WEIGHT = 10.0  # lambda


def loss_of(model, indices):
    data = model.data_preprocessor(pseudo_collate([Shapes()[i] for i in indices]), True)
    return model.parse_losses(model(**data, mode='loss'))[0]


def optimizer_of(model):
    groups = [dict(params=[p for n, p in model.named_parameters() if not n.endswith('.alpha')]),
              dict(params=[p.alpha for p in learned_pools(model).values()], lr=0.5)]
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9)


def probe(model):
    return probe_complexity(model, SIZE, forward=forward_without_postprocessing)


def train(model, cost, batches, between=lambda: None):
    optimizer = optimizer_of(model)
    for indices in batches:
        loss_of(model, indices).backward()
        between()
        add_cost_gradient(model, cost, WEIGHT)
        optimizer.step()
        optimizer.zero_grad()
        for pool in learned_pools(model).values():
            pool.project_()


def full(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def check_equality(model, mesh, batches):
    cost, reference = probe(model), copy.deepcopy(model)
    train(reference, cost, [[2 * i % 8, 2 * i % 8 + 1] for i in range(STEPS)])

    for module in [*model.backbone.stage3, *model.backbone.stage4, model]:
        fully_shard(module, mesh=mesh)
    assert all(isinstance(pool.alpha, DTensor) for pool in learned_pools(model).values())
    train(model, cost, batches)
    sharded = {name: full(value) for name, value in model.state_dict().items()}
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(sharded[name], value, rtol=1e-6, atol=1e-6)
    assert (alphas_of(reference) - 2).abs().max() > 0.02
    reference.load_state_dict(sharded)
    # What is logged, too: the cost of the whole alphas, on each rank.
    logged = [add_cost_gradient(network, cost, WEIGHT) for network in (model, reference)]
    assert abs(logged[0] / logged[1] - 1) < 1e-6

    try:
        probe(model)
    except ValueError as error:
        assert 'probe it before fully_shard' in str(error)
    else:
        raise AssertionError('a sharded network was probed')


def check_half_precision(model, mesh, batches):
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for leave_out, dtype in ((False, torch.bfloat16), (True, torch.float32)):
        network, seen = copy.deepcopy(model), set()
        cost, pools = probe(network), learned_pools(network).values()
        for pool in pools:
            pool.register_forward_hook(
                lambda module, args, output, to=seen: to.add(module.alpha.dtype))
        alphas = [pool.alpha for pool in pools]  # no set: its order differs among the ranks

        def average(own=alphas if leave_out else ()):
            for alpha in own:
                dist.all_reduce(alpha.grad)
                alpha.grad /= dist.get_world_size()

        fully_shard(network, mesh=mesh, mp_policy=policy,
                    ignored_params=set(alphas) if leave_out else None)
        train(network, cost, batches if leave_out else batches[:1], average)
        assert seen == {dtype}
        if leave_out:
            found = alphas_of(network)
            everywhere = [torch.empty_like(found) for _ in range(2)]
            dist.all_gather(everywhere, found)
            assert torch.equal(*everywhere) and (found - 2).abs().max() > 0.02


if __name__ == '__main__':
    dist.init_process_group('gloo')
    init_default_scope('mmseg')
    torch.manual_seed(0)
    network = MODELS.build(segmentor('GN'))
    mine = [[(2 * i + dist.get_rank()) % 8] for i in range(STEPS)]
    on_cpus = init_device_mesh('cpu', (2, ))
    check_equality(copy.deepcopy(network), on_cpus, mine)
    check_half_precision(network, on_cpus, mine)
    dist.barrier()
    # All is checked. PyTorch's own threads were seen to abort the end of the process.
    print('equal', flush=True)
    os._exit(0)
