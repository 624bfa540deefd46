"""torch.compile of a network: one graph, whatever sizes its alphas lead to."""

import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from mmseg_dynopool import DynOPoolHRNet
from mmseg_dynopool.learning import ScaleLearner
from support.toys import ONE_STAGE, TWO_STREAMS, hrnet_extra

pytestmark = [pytest.mark.usefixtures('fresh_compiler'), pytest.mark.slow]
ALPHAS = (2.0, 2.001, 2.1, 2.3, 2.31, 2.9, 3.3, 1.5)


def test_a_network_is_compiled_once():
    """One graph behind the one read of all alphas, whatever sizes they lead to."""
    net = DynOPoolHRNet(hrnet_extra(TWO_STREAMS, ONE_STAGE), dynopool=dict(stem=True))
    net.eval()
    counter = CompileCounterWithBackend('eager')
    compiled, plain = torch.compile(net, backend=counter), copy.deepcopy(net)
    image = torch.randn(2, 3, 160, 224)
    shapes = set()
    with torch.no_grad():
        for value in ALPHAS:
            for k in range(3):
                for network in (net, plain):
                    pool = list(network.dynopools.values())[k]
                    pool.alpha.copy_(torch.tensor([value, value - 0.1 * k]))
            found = compiled(image)
            shapes.add(tuple(y.shape[2:] for y in found))
            for a, b in zip(found, plain(image), strict=True):
                torch.testing.assert_close(a, b)
    assert len(shapes) >= 6
    assert counter.frame_count == 1


def test_the_image_s_size_is_in_the_one_graph():
    """At scale 1, where nothing is resized, there is another, and crossing 1 makes no third."""
    net = DynOPoolHRNet(hrnet_extra(TWO_STREAMS, ONE_STAGE), dynopool=dict(image=True))
    counter = CompileCounterWithBackend('eager')
    compiled, plain = torch.compile(net, backend=counter), copy.deepcopy(net)
    image, graphs, shapes = torch.randn(2, 3, 96, 160), [], set()
    for alpha in ((1.0, 1.3), (1.31, 1.5), (2.2, 0.9), (0.8, 1.1), (1.0, 1.0), (1.1, 1.2)):
        for network in (net, plain):
            network.dynopools['image'].set_alpha_(alpha)
        found = compiled(image)
        graphs.append(counter.frame_count)
        shapes.add(tuple(found[0].shape[2:]))
        for a, b in zip(found, plain(image), strict=True):
            torch.testing.assert_close(a, b)
        sum(y.square().mean() for y in found).backward()
        assert net.dynopools['image'].alpha.grad.tolist() == [0, 0]
    assert graphs == [1, 1, 1, 1, 2, 2] and len(shapes) == 6


def test_gradients_of_a_compiled_network():
    net = DynOPoolHRNet(hrnet_extra(TWO_STREAMS, ONE_STAGE)).double()
    net.train()
    plain = copy.deepcopy(net)
    compiled = torch.compile(net, backend='aot_eager')
    image = torch.randn(2, 3, 96, 128, dtype=torch.float64)
    for value in (2.0, 2.3):
        for network, run in ((net, compiled), (plain, plain)):
            network.zero_grad()
            with torch.no_grad():
                for pool in network.dynopools.values():
                    pool.alpha.fill_(value)
            sum(y.square().mean() for y in run(image)).backward()
        for (name, a), b in zip(net.named_parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-9, msg=name)


def test_jitter_recompiles_nothing():
    """A learner draws other sizes for every pass; alphas get zeros, as uncompiled."""
    net = DynOPoolHRNet(hrnet_extra(TWO_STREAMS, ONE_STAGE), dynopool=dict(stem=True))
    counter = CompileCounterWithBackend('eager')
    compiled, plain = torch.compile(net, backend=counter), copy.deepcopy(net)
    learners = [ScaleLearner(network, 100, jitter=0.1, every=1000) for network in (net, plain)]
    image, shapes = torch.randn(2, 3, 160, 224), set()
    for _ in range(8):
        found = []
        for run, learner in zip((compiled, plain), learners):
            learner.begin_pass()
            found.append(run(image))
            sum(y.square().mean() for y in found[-1]).backward()
            learner.end_pass()
        shapes.add(tuple(y.shape[2:] for y in found[0]))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)
        assert all(p.alpha.grad.tolist() == [0, 0] for p in net.dynopools.values())
    assert len(shapes) >= 6
    assert counter.frame_count == 1
