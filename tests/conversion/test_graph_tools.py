"""Tools that make a graph of a network take a converted one as they take the stock one."""

import copy
import inspect
import io
import warnings

import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.layers import DynOPool, freeze_pools
from support.toy_networks import Run, ToyResNet, ToyUNet, conv, randomize, set_scales

BUILD = dict(resnet=ToyResNet, resnet_d=lambda: ToyResNet(average=True), unet=ToyUNet)
NETWORKS = [('resnet', 'before', False), ('resnet_d', 'after', False), ('unet', 'before', False),
            ('resnet', 'before', True)]
SCALES = dict(stride2=(0.6, 0.45), stride4=(0.4, 0.7), stride8=(0.55, 0.3), stride16=(0.7, 0.6),
              image=(0.7, 0.9))


def converted(name='resnet', rule='before', image=False, **options):
    model = convert_dynopool(randomize(BUILD[name]()), rule, image=image, **options)
    model.eval()
    return set_scales(model, **{k: s for k, s in SCALES.items() if k in model.dynopools})


def image(size=(60, 84), batch=2):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def outputs(model, x):
    with torch.no_grad():
        y = model(x)
    return [y] if isinstance(y, torch.Tensor) else list(y)


@pytest.fixture(autouse=True)
def _quiet():
    """torch.jit is deprecated, and says that alphas, once read, are constants in a trace."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('network', NETWORKS, ids=str)
def test_a_trace_of_torch_jit(network, frozen):
    model = converted(*network)
    model = freeze_pools(model) if frozen else model
    file = io.BytesIO()  # in which no Python is left
    torch.jit.save(torch.jit.trace(model, image()), file)
    file.seek(0)
    traced = torch.jit.load(file)
    for x in (image(), image((66, 77), 1)):  # sizes follow the image's
        assert all(map(torch.equal, outputs(traced, x), outputs(model, x)))
    twin = copy.deepcopy(model)  # what a trace leaves behind can be copied
    assert all(map(torch.equal, outputs(twin, image()), outputs(model, image())))


def test_a_trace_has_the_gradients_of_the_weights():
    model = converted()
    model.train()
    twin = copy.deepcopy(model)
    sum(y.square().mean() for y in torch.jit.trace(twin, image(), check_trace=False)(
        image())).backward()
    sum(y.square().mean() for y in model(image())).backward()
    for (name, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        if 'dynopools' in name:  # a constant in a trace
            assert b.grad is None
        else:
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize('network, frozen', [
    (NETWORKS[0], False), (NETWORKS[1], True), (NETWORKS[2], False), (NETWORKS[3], True)], ids=str)
def test_onnx_by_a_trace(tmp_path, network, frozen):
    model, path = converted(*network), tmp_path / 'net.onnx'
    model = freeze_pools(model) if frozen else model
    torch.onnx.export(model, (image(), ), path, dynamo=False, input_names=['image'],
                      dynamic_axes=dict(image={0: 'batch', 2: 'height', 3: 'width'}))
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for x in (image(), image((66, 77), 1)):
        for found, expected in zip(session.run(None, dict(image=x.numpy())), outputs(model, x),
                                   strict=True):
            torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


class Named(nn.Module):
    """Takes its inputs by names of its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = conv(3, 4, 3, 2), nn.MaxPool2d(2)

    def forward(self, pixels, gain: float = 1.0, *, shift=0.0):
        return self.pool(input=self.conv(input=pixels)) * gain + shift


def test_signatures_stay():
    stock = Named()
    signatures = {name: inspect.signature(m.forward) for name, m in stock.named_modules()}
    for rule in ('before', 'after'):
        model = convert_dynopool(copy.deepcopy(stock), rule)
        for name, signature in signatures.items():
            assert inspect.signature(model.get_submodule(name).forward) == signature, name
        assert torch.equal(model(pixels=image(), gain=2.0, shift=1.0), 2 * model(image()) + 1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'input'"):
        model.conv()


def test_dynamic_shapes_by_name():
    model = freeze_pools(convert_dynopool(Named()))
    axes = dict.fromkeys((0, 2, 3), Dim.DYNAMIC)
    program = torch.export.export(model, (image(), ), dynamic_shapes=dict(pixels=axes),
                                  strict=False)
    assert [s.arg.name for s in program.graph_signature.input_specs
            if s.kind.name == 'USER_INPUT'] == ['pixels']
    x = image((66, 77), 3)
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize('network', NETWORKS, ids=str)
def test_torch_fx(network):
    model = converted(*network)
    graph = torch.fx.symbolic_trace(model)
    assert [n.name for n in graph.graph.nodes if n.op == 'placeholder'] == ['x']
    assert set(graph.state_dict()) == set(model.state_dict())
    alphas = {n: p for n, p in graph.named_parameters() if n.startswith('dynopools')}
    assert all(p is model.get_parameter(n) for n, p in alphas.items())
    for x in (image(), image((66, 77), 1)):
        assert all(map(torch.equal, outputs(graph, x), outputs(model, x)))
    set_scales(model, stride4=0.3)  # a graph reads alphas when it runs
    assert all(map(torch.equal, outputs(graph, image()), outputs(model, image())))
    frozen = freeze_pools(model)
    assert all(map(torch.equal, outputs(torch.fx.symbolic_trace(frozen), image()),
                   outputs(frozen, image())))


@pytest.mark.parametrize('network', NETWORKS[::3], ids=str)
def test_torch_export_says_what_to_do_with_learned_scales(network):
    model = converted(*network)
    with pytest.raises(ValueError, match=r'export mmseg_dynopool\.layers\.freeze_pools\(model\)'):
        torch.export.export(model, (image(), ), strict=False)
    program = torch.export.export(freeze_pools(model), (image(), ), strict=False)
    assert all(map(torch.allclose, outputs(program.module(), image()), outputs(model, image())))


def test_what_has_the_images_size_has_it_in_a_graph():
    model = Run(lambda m, x: [m.b(m.a(x)), m.b(x)], a=conv(3, 4, 3, 2), b=nn.Identity())
    model = set_scales(convert_dynopool(model, image=True, levels='image'), image=(0.6, 1.5))
    assert [y.shape[2:] for y in outputs(model, image())] == [(18, 63), (60, 84)]
    for graph in (torch.fx.symbolic_trace(model), torch.jit.trace(model, image())):
        for x in (image(), image((66, 77), 1)):
            assert all(map(torch.equal, outputs(graph, x), outputs(model, x)))


@pytest.mark.parametrize('pool', [DynOPool(0.6), DynOPool(0.6).freeze()])
def test_torch_fx_and_a_pooling_in_a_network_of_ones_own(pool):
    model = nn.Sequential(conv(3, 4), pool, nn.ReLU())
    graph = torch.fx.symbolic_trace(model)
    for size in ((60, 84), (33, 20)):
        assert torch.equal(graph(image(size)), model(image(size)))


class OwnUpsample(nn.Upsample):
    """Of a module that torch.fx looks into."""


def test_torch_fx_does_not_follow_what_it_does_not_see():
    net = Run(lambda m, x: m.up(m.pool(m.a(x))), a=conv(3, 4), pool=nn.MaxPool2d(2),
              up=OwnUpsample(scale_factor=2))
    model = convert_dynopool(net)
    with pytest.raises(ValueError, match=r'a OwnUpsample of it resizes to what entered .stride2.'):
        torch.fx.symbolic_trace(model)
    assert model(image()).shape[2:] == (60, 84)
