"""Theoretical receptive fields of networks whose fields are known by hand."""

import pytest
import torch
from mmseg.models.backbones import HRNet
from mmseg.registry import MODELS
from torch import nn

from mmseg_dynopool.analysis.theoretical_field import Box, theoretical_field
from mmseg_dynopool.conversion import convert_dynopool
from mmseg_dynopool.layers import DynOPool, FixedDynOPool, FixedImageResize, ImageResize
from mmseg_dynopool.models import DynOPoolHRNet
from support.networks import Pooled, kaiming_segmentor
from support.toys import converted_config, hrnet_extra


def extents(network, size):
    return [box.extent for box in theoretical_field(network, size)]


def test_a_convolution_behind_a_pool():
    # Cells of 2 x 2 pixels, three by three of them; each query reads its own pixel.
    assert theoretical_field(Pooled(0.5), (32, 32)) == [Box(14, 20, 14, 20)]
    assert extents(Pooled(0.5, pool=FixedDynOPool), (32, 48)) == [(6, 6)]
    assert extents(Pooled(0.5, kernel=5), (32, 32)) == [(10, 10)]
    assert extents(Pooled(0.5, dilation=2), (32, 32)) == [(10, 10)]
    assert extents(nn.Conv2d(3, 2, (5, 1), padding='same'), (32, 32)) == [(5, 1)]
    assert extents(nn.Conv2d(3, 2, 7), (32, 32)) == [(7, 7)]  # without padding


def test_a_smaller_scale_in_height_doubles_the_height_alone():
    # Cells of 4 x 2 pixels, whose queries lie between two pixels, which are all read.
    assert extents(Pooled((0.25, 0.5)), (32, 32)) == [(12, 6)]
    assert extents(Pooled((0.5, 0.25)), (32, 32)) == [(6, 12)]


@pytest.mark.parametrize('kind', [DynOPool, FixedDynOPool])
def test_an_average_reads_what_a_maximum_does(kind):
    class Average(nn.Module):

        def __init__(self):
            super().__init__()
            self.pool = kind(0.5)
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, image):
            return self.conv(self.pool(image, reduce='mean'))

    assert theoretical_field(Average(), (32, 32)) == [Box(14, 20, 14, 20)]


@pytest.mark.parametrize('kind', [ImageResize, FixedImageResize])
def test_an_image_of_a_size_of_its_own(kind):
    def network(*scale, multiple=4):
        return nn.Sequential(kind(scale, multiple=multiple), nn.Conv2d(3, 2, 3, padding=1))

    assert theoretical_field(network(1., 1.), (32, 32)) == [Box(15, 18, 15, 18)]
    # Each pixel of 4 old ones reads 2 more on either side, where its triangle ends.
    assert theoretical_field(network(0.25, 0.5), (32, 32)) == [Box(10, 26, 13, 21)]
    # An enlarged axis reads its neighbours.
    assert extents(network(1., 2.), (32, 32)) == [(3, 3)]
    # 0.5 of 20 pixels is 10, or 8 in multiples of 8: a ratio of 2.5.
    assert extents(network(0.5, 0.5, multiple=8), (20, 20)) == extents(
        network(0.4, 0.4, multiple=1), (20, 20))


def test_strides_and_norms():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4), nn.GroupNorm(2, 8),
                            nn.Conv2d(8, 5, (3, 1), padding=(1, 0)))
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(-1)  # the values do not count
    assert extents(network, (64, 64)) == [(7 + 2 * 4, 7)]


def test_a_field_larger_than_the_image_is_not_cut():
    convs = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(30)))
    assert theoretical_field(nn.Sequential(nn.Conv2d(3, 1, 1), convs), (8, 10)) == [
        Box(4 - 30, 4 + 31, 5 - 30, 5 + 31)]


def test_rounded_sizes_are_those_of_the_image():
    # 10 pixels at 0.37 give 4 cells of 2.5 pixels; 3 of them, their queries' outer pixels.
    box, = theoretical_field(Pooled((0.37, 0.5)), (10, 10))
    queries = [2.5 * (2 + k) for k in (-0.75, 1.75)]  # outermost of the cells 1 to 3
    assert box[:2] == (int(queries[0] - 0.5), int(queries[1] + 0.5) + 1)
    assert box[2:] == (2, 8)  # 5 cells of 2 pixels, the middle three


def test_every_stream_of_an_hrnet_sees_farther_where_one_scale_is_smaller():
    size = (64, 64)
    backbone = DynOPoolHRNet(hrnet_extra(), dynopool=dict(scale=dict(stream1=(0.4, 0.5))))
    stock = DynOPoolHRNet(hrnet_extra())
    learned, fixed = extents(backbone, size), extents(stock, size)
    assert len(learned) == 4
    for (h, w), (stock_h, stock_w) in zip(learned, fixed):
        assert h > stock_h and w == stock_w == stock_h


def moving_pixels(backbone, size, output, weights):
    """``(row, column)`` of the pixels that move the centre unit, for so many random weights."""
    image = torch.rand(1, 3, *size, requires_grad=True)
    total = 0
    for seed in range(weights):
        torch.manual_seed(seed)
        for weight in backbone.parameters():
            if weight.dim() == 4:
                nn.init.uniform_(weight, -0.2, 1)
        features = backbone(image)[output]
        unit = features[0, :, features.shape[2] // 2, features.shape[3] // 2].sum()
        total = total + torch.autograd.grad(unit, image)[0].abs().sum((0, 1))
    return total.nonzero()


def test_the_last_streams_field_against_random_weights():
    """Pixels in the box move the unit, those beyond do not, over several random weights."""
    backbone = DynOPoolHRNet(hrnet_extra((2, 2, 2, 2)), dynopool=dict(scale=(0.25, 0.5)))
    backbone.eval()
    size = (16, 1024)
    *_, left, right = theoretical_field(backbone, size)[3]
    assert left > 0 and right < size[1]
    touched = moving_pixels(backbone, size, output=3, weights=12)[:, 1]
    assert left <= touched.min() and touched.max() < right
    assert touched.max() - touched.min() > 0.8 * (right - left)


def test_the_stock_hrnet_has_a_little_less_than_the_field_of_scale_one_half():
    size = (64, 64)
    stock = MODELS.build(dict(type='HRNet', extra=hrnet_extra()))
    assert isinstance(stock, HRNet)
    ours = extents(DynOPoolHRNet(hrnet_extra()), size)
    # A strided convolution reads 3 pixels, DynOPool and a convolution three cells of 2.
    for (h, _), (stock_h, _) in zip(ours, extents(stock, size)):
        assert stock_h < h < 1.5 * stock_h


def test_the_network_stays_as_it_was():
    network = Pooled((0.25, 0.5))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    theoretical_field(network, (32, 32))
    assert network.conv.pool is network.pool and isinstance(network.pool, DynOPool)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_unknown_layers_are_named():
    with pytest.raises(ValueError, match='receptive field of Linear is not known'):
        theoretical_field(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 4)), (32, 32))


def test_extents_are_heights_and_widths():
    assert Box(top=1, bottom=4, left=2, right=9).extent == (3, 7)


@pytest.mark.parametrize('kind, rule', [('UNet', 'before'), ('ResNet', 'before'),
                                        ('ResNet7', 'after')])
def test_a_converted_network_against_random_weights(kind, rule):
    """The pixels that move a unit, over several random weights, are those of the box."""
    backbone = kaiming_segmentor(converted_config, kind=kind, rule=rule,
                                 scale=(0.4, 0.6)).backbone
    size = (192, 160)
    touched = moving_pixels(backbone, size, output=0, weights=4)
    top, left = touched.min(0).values.tolist()
    bottom, right = (touched.max(0).values + 1).tolist()
    assert theoretical_field(backbone, size)[0] == (top, bottom, left, right)


def test_fixed_poolings_count_their_whole_window():
    network = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.AvgPool2d((2, 1)))
    assert extents(network, (32, 32)) == [(5, 3)]


def test_a_pooling_that_keeps_its_stride_counts_its_whole_window():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3))
    expected = extents(network, (64, 64))
    assert expected == [(7 + 2 * 4, 7 + 2 * 4)]
    assert extents(convert_dynopool(network, 'keep'), (64, 64)) == expected  # all scales are 1


def test_transformers_are_named():
    stage = MODELS.build(dict(
        type='MixVisionTransformer', embed_dims=8, num_stages=1, num_layers=[1], num_heads=[1],
        patch_sizes=[7], strides=[4], sr_ratios=[1], out_indices=(0, ), mlp_ratio=2))
    with pytest.raises(ValueError, match=r'receptive field of \w+ is not known'):
        theoretical_field(stage, (32, 32))
