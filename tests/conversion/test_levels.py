"""Which modules share a level, its name, where it pools, and the sizes that follow."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from support.toy_networks import (
    Block,
    ChannelsLast,
    Gate,
    Run,
    SamePadConv,
    TokenStage,
    ToyResNet,
    ToyUNet,
    conv,
    map_sizes,
    set_scales,
)


def changes(model, rule='before', **options):
    """``[(level, module, place)]`` of a plan that nothing stands against."""
    plan = plan_conversion(model, rule, **options)
    assert plan.refusals == []
    return [(c.level, c.module, c.place) for c in plan.changes]


def residual():
    return Run(lambda m, x: m.b(m.a(x)), a=conv(3, 4, 3, 2), b=Block(4, 8, 2))


def test_a_residual_shortcut_shares_its_level():
    assert changes(residual()) == [
        ('stride2', 'a', 'before'), ('stride4', 'b.conv1', 'before'),
        ('stride4', 'b.down.1', 'before')]
    model = set_scales(convert_dynopool(residual()), stride2=(0.4, 0.7), stride4=(0.75, 0.3))
    # 50 * 0.4 = 20, 90 * 0.7 = 63; 20 * 0.75 = 15, 63 * 0.3 = 18.9.
    sizes = map_sizes(model, (50, 90))
    assert sizes['a'] == [(20, 63)]
    assert sizes['b.conv1'] == sizes['b.down.1'] == sizes['b'] == [(15, 19)]


def test_what_is_concatenated_shares_its_level():
    net = Run(lambda m, x: m.c(torch.cat([m.a(x), m.pool(x)], 1)),
              a=conv(3, 4, 3, 2), pool=nn.MaxPool2d(3, 2, 1), c=conv(7, 4, 5, 2))
    assert changes(net) == [('stride2', 'a', 'before'), ('stride2', 'pool', 'instead'),
                            ('stride4', 'c', 'before')]
    sizes = map_sizes(set_scales(convert_dynopool(net), stride2=0.3, stride4=0.9), (40, 60))
    assert sizes['a'] == sizes['pool'] == [(12, 18)]
    assert sizes['c'] == [(11, 16)]  # 10.8, 16.2


@pytest.mark.parametrize('kernel, learns', [(4, True), (5, False)])
def test_an_average_whose_windows_overlap_by_more_than_half_is_left_alone(kernel, learns):
    net = nn.Sequential(conv(3, 4, 3, 2), nn.AvgPool2d(kernel, 2, kernel // 2 - 1 + kernel % 2))
    assert [module for _, module, _ in changes(net)] == ['0', '1'][:1 + learns]


@pytest.mark.parametrize('meet', [torch.mul, torch.sub, torch.maximum,
                                  lambda a, b: a * b.sigmoid()])
def test_what_is_combined_otherwise_shares_its_level(meet):
    net = Run(lambda m, x: meet(m.a(x), m.b(x)), a=conv(3, 4, 3, 2), b=conv(3, 4, 1, 2))
    assert changes(net) == [('stride2', 'a', 'before'), ('stride2', 'b', 'before')]


def test_branches_that_never_meet_have_their_own_levels():
    net = Run(lambda m, x: (m.a(x), m.c(m.b(x))), a=conv(3, 4, 3, 2), b=conv(3, 4, 3, 2),
              c=conv(4, 4, 3, 2))
    assert changes(net) == [('stride2', 'a', 'before'), ('stride2_2', 'b', 'before'),
                            ('stride4', 'c', 'before')]
    model = set_scales(convert_dynopool(net), stride2=0.25, stride2_2=0.75, stride4=0.5)
    sizes = map_sizes(model, (32, 48))
    assert (sizes['a'], sizes['b'], sizes['c']) == ([(8, 12)], [(24, 36)], [(12, 18)])


def test_parallel_chains_that_meet_are_one_chain():
    """HRNet's fusion: what they pass through stays apart, but the strides are shared."""
    net = Run(lambda m, x: m.a2(F.relu(m.a1(x))) + m.b2(F.relu(m.b1(x))),
              a1=conv(3, 4, 3, 2), a2=conv(4, 4, 3, 2), b1=conv(3, 5, 3, 2), b2=conv(5, 4, 3, 2))
    assert changes(net) == [
        ('stride2', 'a1', 'before'), ('stride4', 'a2', 'before'),
        ('stride2', 'b1', 'before'), ('stride4', 'b2', 'before')]


def test_a_chain_of_unequal_ratios_stays_apart():
    net = Run(lambda m, x: m.a2(m.a1(x)) + m.b2(m.b1(x)), a1=conv(3, 4, 3, 2),
              a2=conv(4, 4, 7, 4), b1=conv(3, 4, 7, 4), b2=conv(4, 4, 3, 2))
    plan = plan_conversion(net)
    # The same total stride by other steps: their sizes agree at no other scales.
    assert list(plan.scales) == ['stride2', 'stride4', 'stride8', 'stride8_2']
    assert len(plan.refusals) == 1 and 'it fails at other scales' in plan.refusals[0].reason


def tokens():
    return Run(lambda m, x: m.s2(m.s1(x)), s1=TokenStage(3, 8, 4, 4, overlap=True),
               s2=TokenStage(8, 12, 2, 2))


@pytest.mark.parametrize('rule, place', [('before', 'before'), ('after', 'behind')])
def test_tokens_keep_their_level_and_reduced_keys_stay(rule, place):
    assert changes(tokens(), rule) == [('stride4', 's1.proj', place), ('stride8', 's2.proj', place)]
    plan = plan_conversion(tokens(), rule)
    assert plan.left == {'s1.attn.sr': 'only attention reads its output',
                         's2.attn.sr': 'only attention reads its output'}
    assert plan.stock_scales == dict(stride4=(0.25, 0.25), stride8=(0.5, 0.5))
    model = set_scales(convert_dynopool(tokens(), rule), stride4=(0.3, 0.2), stride8=(0.5, 0.7))
    assert model.s1.attn.sr.stride == (4, 4) and model.s1.proj.stride == (1, 1)
    sizes = map_sizes(model, (40, 60))
    assert sizes['s1'] == [(12, 12)] and sizes['s1.attn.sr'] == [(3, 3)]
    assert sizes['s2'] == [(6, 8)] and sizes['s2.attn.sr'] == [(3, 4)]  # 12 * 0.7 = 8.4


def test_channels_last_keep_their_level():
    net = nn.Sequential(nn.Conv2d(3, 4, 4, 4), ChannelsLast(4), nn.Conv2d(4, 8, 2, 2),
                        ChannelsLast(8))
    assert changes(net) == [('stride4', '0', 'before'), ('stride8', '2', 'before')]
    model = set_scales(convert_dynopool(net), stride4=0.2, stride8=(0.6, 0.4))
    assert map_sizes(model, (50, 70))['3'] == [(6, 6)]  # 10, 14; 5.6 no: 6, 5.6 -> 6


def test_gates_have_no_resolution():
    net = nn.Sequential(conv(3, 4, 3, 2), Gate(4), conv(4, 8, 3, 2), Gate(8))
    assert changes(net) == [('stride2', '0', 'before'), ('stride4', '2', 'before')]


def test_strides_of_one_axis():
    net = nn.Sequential(conv(3, 4, 3, (2, 1)), nn.ReLU(), conv(4, 4, 3, (1, 2)), nn.ReLU(),
                        conv(4, 4, 3, (2, 1)))
    assert changes(net) == [('stride2x1', '0', 'before'), ('stride2', '2', 'before'),
                            ('stride4x2', '4', 'before')]
    assert plan_conversion(net).stock_scales == dict(
        stride2x1=(0.5, 1.0), stride2=(1.0, 0.5), stride4x2=(0.5, 1.0))
    model = convert_dynopool(net)
    assert map_sizes(model, (32, 48))['4'] == [(8, 24)]
    set_scales(model, stride2x1=(0.75, 0.5))
    sizes = map_sizes(model, (32, 48))
    assert (sizes['0'], sizes['2'], sizes['4']) == ([(24, 24)], [(24, 12)], [(12, 12)])


@pytest.mark.parametrize('kernel, stride, padding, same', [
    (4, 2, 1, (0, 1, 0, 1)), (2, 2, 0, (0, 1, 0, 1)), (4, 4, 0, (1, 2, 1, 2)), (3, 2, 1, ()),
    (7, 4, 3, ()), (6, 2, 2, (0, 1, 0, 1)), (1, 2, 0, ()), (16, 16, 0, (7, 8, 7, 8))])
@pytest.mark.parametrize('rule', ['before', 'after'])
def test_kernels_that_do_not_fit_are_padded(kernel, stride, padding, same, rule):
    net = nn.Sequential(conv(3, 4, kernel, stride, padding), nn.ReLU())
    assert plan_conversion(net, rule).changes[0].padding == same
    model = convert_dynopool(net, rule)
    scale = model.dynopools[f'stride{stride}'].initial_scale
    assert scale == (1 / stride, 1 / stride)
    assert map_sizes(model, (16 * stride, 24 * stride))['1'] == [(16, 24)]
    set_scales(model, **{f'stride{stride}': (0.5, 0.3)})
    assert map_sizes(model, (64, 90))['1'] == [(32, 27)]


def test_a_convolution_that_pads_itself():
    net = nn.Sequential(SamePadConv(3, 4, 3, 2), nn.SiLU(), SamePadConv(4, 4, 5, 2))
    assert changes(net) == [('stride2', '0', 'before'), ('stride4', '2', 'before')]
    model = set_scales(convert_dynopool(net), stride4=0.75)
    assert map_sizes(model, (31, 49))['2'] == [(12, 19)]  # 15.5 -> 16, 24.5 -> 25; 12, 18.75


@pytest.mark.parametrize('mode', ['reflect', 'replicate'])
def test_other_padding_keeps_the_resolution(mode):
    net = nn.Sequential(conv(3, 4, 3, 2, padding_mode=mode), nn.ReLU(), conv(4, 4, 3, 2))
    assert changes(net) == [('stride2', '0', 'before'), ('stride4', '2', 'before')]


def test_dilation_is_no_stride():
    net = nn.Sequential(conv(3, 4, 3, 2), conv(4, 4, 3, 1, 2, dilation=2),
                        conv(4, 4, 3, 2, 4, dilation=4), conv(4, 4, 3, 1, 8, dilation=8))
    assert changes(net) == [('stride2', '0', 'before'), ('stride4', '2', 'before')]
    model = set_scales(convert_dynopool(net), stride4=0.25)
    assert model[2].dilation == (4, 4)
    assert map_sizes(model, (64, 96))['3'] == [(8, 12)]


@pytest.mark.parametrize('merge', [True, False, None])
@pytest.mark.parametrize('rule', ['before', 'after'])
def test_two_in_a_row(rule, merge):
    """The supplement's merge; by default only with rule 'after'."""
    found = changes(ToyResNet(), rule, merge=merge)[:3]
    if merge or (merge is None and rule == 'after'):
        assert found[:2] == [('stride4', 'conv1', 'gone'), ('stride4', 'maxpool', 'instead')]
        model = convert_dynopool(ToyResNet(), rule, merge=merge)
        assert model.dynopools['stride4'].stock_scale == (0.25, 0.25)
        assert list(model.dynopools) == ['stride4', 'stride8', 'stride16']
        sizes = map_sizes(model, (64, 96))
        assert sizes['conv1'] == [(64, 96)] and sizes['maxpool'] == [(16, 24)]
    elif rule == 'before':
        assert found[:2] == [('stride2', 'conv1', 'before'), ('stride4', 'maxpool', 'instead')]
    else:
        assert found == [('stride2', 'conv1', 'gone'), ('stride2', 'relu', 'behind'),
                         ('stride4', 'maxpool', 'instead')]


def test_only_a_pooling_right_behind_is_merged():
    stem = nn.Sequential(conv(3, 4, 3, 2), nn.ReLU(), conv(4, 4, 3, 2))  # HRNet's
    assert [c[0] for c in changes(stem, 'after', merge=True)] == ['stride2', 'stride2', 'stride4']
    between = nn.Sequential(conv(3, 4, 3, 2), nn.ReLU(), conv(4, 4), nn.MaxPool2d(2))
    assert {c[0] for c in changes(between, 'after', merge=True)} == {'stride2', 'stride4'}
    read_twice = Run(lambda m, x: (lambda y: (m.pool(y), y))(m.a(x)), a=conv(3, 4, 3, 2),
                     pool=nn.MaxPool2d(2))
    assert changes(read_twice, 'after', merge=True)[-1] == ('stride4', 'pool', 'instead')


def test_three_in_a_row_are_one():
    net = nn.Sequential(conv(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                        nn.MaxPool2d(2))
    assert changes(net, 'after') == [('stride8', '0', 'gone'), ('stride8', '3', 'gone'),
                                     ('stride8', '4', 'instead')]
    model = convert_dynopool(net, 'after')
    assert model.dynopools['stride8'].initial_scale == (0.125, 0.125)
    sizes = map_sizes(model, (64, 96))
    assert sizes['0'] == sizes['3'] == [(64, 96)] and sizes['4'] == [(8, 12)]


@pytest.mark.parametrize('up', ['upsample', 'nearest', 'transposed'])
def test_one_pooling_at_all_levels_and_upsampling_that_follows(up):
    assert changes(ToyUNet(up=up)) == [
        ('stride2', 'pool', 'instead'), ('stride4', 'pool', 'instead'),
        ('stride4', 'up2', 'follows'), ('stride2', 'up1', 'follows')]
    model = set_scales(convert_dynopool(ToyUNet(up=up)), stride2=(0.6, 0.4), stride4=(0.3, 0.8))
    sizes = map_sizes(model, (50, 70))
    assert sizes['pool'] == [(30, 28), (9, 22)]  # 22.4
    assert sizes['up2'] == [(30, 28)] and sizes['up1'] == sizes[''] == [(50, 70)]


def test_one_pooling_called_twice_at_each_level():
    net = Run(lambda m, x: m.pool(m.b(m.pool(m.a(x)))) + m.pool(m.b(m.pool(m.a(x.flip(1))))),
              a=conv(3, 4), b=conv(4, 4), pool=nn.MaxPool2d(2))
    both = Run(lambda m, x: (lambda p, q: m.pool(m.b(p)) + m.pool(m.b(q)))(
        m.pool(m.a(x)), m.pool(m.a(x.flip(1)))), a=conv(3, 4), b=conv(4, 4), pool=nn.MaxPool2d(2))
    for model, order in ((net, [2, 4, 2, 4]), (both, [2, 2, 4, 4])):
        assert changes(model) == [(f'stride{s}', 'pool', 'instead') for s in order]
        model = set_scales(convert_dynopool(model), stride2=0.75, stride4=0.25)
        size = {2: (24, 36), 4: (6, 9)}
        assert map_sizes(model, (32, 48))['pool'] == [size[s] for s in order]


def test_a_siamese_network_has_one_level_for_each_convolution():
    """Both images run through one encoder, and their maps never meet."""
    net = Run(lambda m, x: (m.e(x), m.e(x.flip(1))),
              e=nn.Sequential(conv(3, 4, 3, 2), nn.ReLU(), conv(4, 4, 3, 2)))
    assert changes(net) == [('stride2', 'e.0', 'before'), ('stride4', 'e.2', 'before')]
    model = set_scales(convert_dynopool(net), stride2=0.75, stride4=0.25)
    assert map_sizes(model, (60, 84))['e'] == [(11, 16)] * 2  # 45, 63


def test_a_root_that_is_a_container_or_one_layer():
    layers = nn.Sequential(conv(3, 4, 3, 2), nn.ReLU(), conv(4, 4, 3, 2))
    keys = list(layers.state_dict())
    model = convert_dynopool(layers)
    assert len(model) == 3 and [type(m).__name__ for m in model] == [
        'PooledConv2d', 'ReLU', 'PooledConv2d']
    assert isinstance(model, nn.Sequential) and isinstance(model[0], nn.Conv2d)
    assert list(model.state_dict()) == [*keys, 'dynopools.stride2.alpha', 'dynopools.stride4.alpha']
    alone = set_scales(convert_dynopool(conv(3, 4, 3, 2)), stride2=0.25)
    assert alone(torch.zeros(1, 3, 32, 48)).shape == (1, 4, 8, 12)
