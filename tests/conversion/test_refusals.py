"""What cannot be converted is named with a mend, and nothing is changed."""

import copy

import mmseg.models.backbones as backbones
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_dynopool.conversion import convert_dynopool, plan_conversion
from support.toy_networks import Run, conv, map_sizes, set_scales


class PatchMerging(nn.Module):

    def __init__(self, dim):
        super().__init__()
        self.sampler, self.linear = nn.Unfold(2, stride=2), nn.Linear(4 * dim, 2 * dim)

    def forward(self, x):
        n, _, h, w = x.shape
        y = self.linear(self.sampler(x).transpose(1, 2)).transpose(1, 2)
        return y.reshape(n, -1, h // 2, w // 2)


class Sliced(nn.Module):
    """Swin's patch merging of the original code."""

    def __init__(self, dim):
        super().__init__()
        self.linear = conv(4 * dim, 2 * dim, 1)

    def forward(self, x):
        return self.linear(torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1))


class Call(nn.Module):
    """A function of one tensor, as a module that has a name."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Embedding(nn.Module):

    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 16, 16)
        self.pos = nn.Parameter(torch.zeros(1, 16, dim))

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2) + self.pos


def between(middle, channels=4):
    return Run(lambda m, x: m.last(m.middle(m.first(x))), first=conv(3, 4, 3, 2), middle=middle,
               last=conv(channels, 4, 3, 2))


def swin():
    return backbones.SwinTransformer(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))


def used_twice():
    return Run(lambda m, x: m.down(m.act(m.down(m.stem(x)))), stem=conv(3, 4),
               down=conv(4, 4, 3, 2), act=nn.ReLU())


# The network, the module to be named, words of the reason, words of the mend.
REFUSED = dict(
    max_pool=(lambda: between(Call(lambda x: F.max_pool2d(x, 2))), 'middle',
              'a Call reduces the resolution by a function call', 'nn.MaxPool2d'),
    avg_pool=(lambda: between(Call(lambda x: F.avg_pool2d(x, 2))), 'middle',
              'a Call reduces the resolution by a function call', 'nn.AvgPool2d'),
    unfold=(lambda: between(PatchMerging(4), 8), 'middle.sampler',
            "352 x 416 pixels gets another shape by 'im2col'", 'a strided convolution'),
    sliced=(lambda: between(Sliced(4), 8), 'middle',
            "352 x 416 pixels gets another shape by 'slice'", 'skip the strided layers above'),
    pixel_unshuffle=(lambda: between(nn.PixelUnshuffle(2), 16), 'middle',
                     "gets another shape by 'pixel_unshuffle'", 'a strided convolution'),
    pixel_shuffle=(lambda: between(nn.PixelShuffle(2), 1), 'middle',
                   "gets another shape by 'pixel_shuffle'", 'skip the strided layers above'),
    interpolate_down=(lambda: between(Call(lambda x: F.interpolate(x, scale_factor=0.5))),
                      'middle', 'interpolation reduces 352 x 416 to 176 x 208',
                      'a strided convolution or pooling'),
    interpolate_up=(lambda: between(Call(lambda x: F.interpolate(x, scale_factor=2.0))),
                    'middle', 'resized by a fixed factor in a function call, from 352 x 416 to '
                    '704 x 832', 'call nn.Upsample'),
    flattened=(lambda: nn.Sequential(
        conv(3, 4, 3, 64), nn.Flatten(), nn.Linear(4 * 11 * 13, 10)), '1',
        "11 x 13 pixels gets another shape by 'view'", 'global pooling'),
    unpadded=(lambda: between(conv(4, 4, 3, 2, 0)), 'middle',
              'from 352 x 416 to 175 x 207', 'pad it by half of its kernel'),
    unpadded_pooling=(lambda: between(nn.MaxPool2d(3, 2)), 'middle',
                      'MaxPool2d from 352 x 416 to 175 x 207', 'pad it'),
    used_twice=(used_twice, 'down', 'it leads to stride2 and to stride4',
                'a module of its own for each'),
    circular=(lambda: between(conv(4, 4, 3, 2, padding_mode='circular')), 'middle',
              'cannot be followed back to the image', 'pad with zeros'),
    swin=(swin, 'stages.0.downsample.sampler', "176 x 208 pixels gets another shape by 'im2col'",
          'a strided convolution'),
)


def state_of(model):
    return {name: (type(module), dict(vars(module)).keys(), getattr(module, 'stride', None))
            for name, module in model.named_modules()}


@pytest.mark.parametrize('name', REFUSED)
@pytest.mark.parametrize('rule', ['before', 'after'])
def test_a_refusal_names_module_and_mend_and_changes_nothing(name, rule):
    build, module, reason, mend = REFUSED[name]
    model = build()
    model.eval()
    before, keys = state_of(model), list(model.state_dict())
    image = torch.randn(1, 3, 704, 832) if name == 'flattened' else torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = copy.deepcopy(model)(image)
    with pytest.raises(ValueError, match='cannot be converted, and was not changed') as error:
        convert_dynopool(model, rule)
    plan = plan_conversion(model, rule)
    refusal = next(r for r in plan.refusals if r.module == module)
    assert reason in refusal.reason and mend in refusal.mend
    assert f'refused: {module}: ' in str(plan)
    assert f'{module}: {refusal.reason}; {refusal.mend}' in str(error.value)
    assert state_of(model) == before and list(model.state_dict()) == keys
    with torch.no_grad():
        found = model(image)
    if isinstance(found, torch.Tensor):
        found, expected = [found], [expected]
    assert len(found) == len(expected) and all(map(torch.equal, found, expected))


def test_a_position_embedding_of_fixed_size_is_refused():
    with pytest.raises(ValueError) as error:
        convert_dynopool(Embedding(4))
    for word in ('cannot be traced', 'its forward fails for an image of 3 x 704 x 832',
                 'forward=lambda network, image'):
        assert word in str(error.value)
    own = Run(lambda m, x: m.e(F.interpolate(x, (64, 64))), e=Embedding(4))
    assert plan_conversion(own).refusals[0].reason == (
        'interpolation reduces 704 x 832 to 64 x 64')


@pytest.mark.parametrize('name, skip, levels, size', [
    ('max_pool', 'middle', {'stride2': 0.75, 'stride8': 0.25}, (6, 9)),
    # 64 and 96 become 48 and 72, then 23 and 35.
    ('unpadded', 'middle', {'stride2': 0.75, 'stride8': 0.25}, (6, 9)),
    ('unpadded_pooling', 'middle', {'stride2': 0.75, 'stride8': 0.25}, (6, 9)),
    ('interpolate_up', 'first', {'stride2': 0.25}, (16, 24)),
    ('used_twice', 'down', None, None),
])
def test_skip_makes_it_convertible(name, skip, levels, size):
    """What is skipped keeps its stride; its neighbours learn."""
    model = REFUSED[name][0]()
    if levels is None:
        with pytest.raises(ValueError, match='but those left as they are'):
            convert_dynopool(model, skip=skip)
        return
    model = convert_dynopool(model, skip=skip)
    assert list(model.dynopools) == list(levels)
    set_scales(model, **levels)
    assert map_sizes(model, (64, 96))[''] == [size]


@pytest.mark.parametrize('name', ['sliced', 'pixel_unshuffle'])
def test_what_strides_behind_rearranged_pixels_is_named(name):
    """Nothing learns above them; what lies below must not be missed in silence."""
    refusal, = plan_conversion(REFUSED[name][0](), skip='first').refusals
    assert refusal.module == 'last'
    assert 'it strides over what cannot be followed back to the image' in refusal.reason


def test_a_module_at_a_left_and_at_a_converted_place_is_refused():
    net = Run(lambda m, x: m.pool(m.b(m.pool(x) + m.a(x))), a=conv(3, 3, 3, 2), b=conv(3, 3),
              pool=nn.MaxPool2d(2))
    assert plan_conversion(net).refusals == []
    refusal, = plan_conversion(net, skip='a').refusals
    assert refusal.module == 'pool' and 'some stay as they are' in refusal.reason


class Mixed(nn.MaxPool2d):
    def forward(self, x):
        return 0.3 * super().forward(x) + 0.7 * nn.functional.avg_pool2d(x, 2)


class Summed(nn.AvgPool2d):
    def forward(self, x):
        return 4 * super().forward(x)


@pytest.mark.parametrize('pool', [Mixed(2), Summed(2), nn.AvgPool2d(2, divisor_override=1)],
                         ids=['mixed', 'summed', 'divisor'])
def test_a_pooling_that_does_more_is_refused(pool):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), pool, nn.Conv2d(4, 4, 3, 1, 1))
    with pytest.raises(ValueError, match=rf'1: this {type(pool).__name__} does more than pool'):
        convert_dynopool(model)
    assert type(model[1]) is type(pool)


class ExtraInTraining(nn.Module):
    """One pooling at two levels, and once more in training."""

    def __init__(self):
        super().__init__()
        self.pool, self.conv = nn.MaxPool2d(2), nn.Conv2d(3, 3, 3, 1, 1)

    def forward(self, x):
        extra = self.pool(x).mean() if self.training else 0.0
        return self.pool(self.conv(self.pool(self.conv(x)))) + extra


def test_calls_that_were_not_seen_are_an_error():
    model = convert_dynopool(ExtraInTraining())
    model.eval()
    assert model(torch.rand(1, 3, 64, 64)).shape[2:] == (16, 16)
    model.train()
    with pytest.raises(RuntimeError, match='called more or less often'):
        model(torch.rand(1, 3, 64, 64))


def test_frozen_levels_are_in_the_table():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1))
    model[0].requires_grad_(False)
    assert str(plan_conversion(model)).endswith(
        'does not learn, as weights at its resolution are frozen: stride2')


class OneAxis(nn.Module):
    """Interpolates to half of the height; the width stays."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1)

    def forward(self, x):
        y = self.conv(x)
        return self.last(F.interpolate(y, (y.shape[2] // 2, y.shape[3])))


def test_interpolation_along_one_axis_is_refused():
    with pytest.raises(ValueError, match='interpolation reduces 352 x 416 to 176 x 416'):
        convert_dynopool(OneAxis())
