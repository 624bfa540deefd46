"""Cost of converted networks: the model beside counting, and beside the stock network's."""

import pytest
import torch
from mmseg.models.backbones import HRNet, ResNet

from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.costs import GMACsCounter, count_gmacs, probe_complexity
from mmseg_dynopool.layers import learned_pools
from support.toy_networks import ToyResNet, ToyUNet, map_sizes, set_scales
from support.toys import hrnet_extra

SHAPE = (384, 640)
BUILD = dict(resnet=ToyResNet, resnet_d=lambda: ToyResNet(average=True), unet=ToyUNet,
             resnet18=lambda: ResNet(18, stem_channels=4, base_channels=4),
             hrnet=lambda: HRNet(hrnet_extra()))
SCALES = dict(stride2=(0.75, 0.5), stride4=(0.4, 0.75), stride8=(0.75, 0.5),
              stride16=(0.5, 0.4), stride32=(0.75, 0.5))


@pytest.mark.parametrize('name', BUILD)
def test_at_the_start_it_is_the_stock_cost_and_that_of_the_pools(name):
    model = convert_dynopool(BUILD[name]())
    calls = GMACsCounter(model, SHAPE).calls()
    pools = sum(call.macs for call in calls if call.op == 'dynopool') / 1e9
    stock = count_gmacs(BUILD[name](), SHAPE)
    assert sum(call.macs for call in calls) / 1e9 == pytest.approx(stock + pools, rel=1e-12)
    expected, handles = [], []  # 16 for each value that a pool gives, each tensor once
    for pool in model.dynopools.values():
        handles.append(pool.register_forward_hook(
            lambda _, args, output: expected.append(16 * output.numel())))
    with torch.no_grad():
        model.eval()
        model(torch.zeros(1, 3, *SHAPE))
    assert pools == pytest.approx(sum(expected) / 1e9, rel=1e-12)


@pytest.mark.parametrize('name', BUILD)
@pytest.mark.parametrize('rule', ['before', 'after'])
def test_the_cost_model_agrees_with_counting(name, rule):
    model = convert_dynopool(BUILD[name](), rule, merge=False)
    cost = probe_complexity(model, SHAPE)
    at_start = cost.initial
    assert at_start == pytest.approx(count_gmacs(model, SHAPE), rel=1e-6)
    set_scales(model, **{k: s for k, s in SCALES.items() if k in model.dynopools})
    counted = count_gmacs(model, SHAPE)
    assert abs(counted - at_start) > 0.05 * at_start
    alphas = {n: pool.alpha for n, pool in learned_pools(model).items()}
    assert cost.gmacs(alphas).item() == pytest.approx(counted, rel=0.01)


def test_the_cost_of_a_convolution_by_hand():
    model = set_scales(convert_dynopool(ToyResNet()), stride2=(0.625, 0.375))
    sizes = map_sizes(model, (64, 96))
    assert sizes['conv1'] == [(40, 36)]
    macs = {call.module: call.macs for call in GMACsCounter(model, (64, 96)).calls()}
    assert macs['conv1'] == 40 * 36 * 4 * 3 * 49
    assert macs['dynopools.stride2'] == 40 * 36 * 3 * 16
