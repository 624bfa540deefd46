"""Networks of any project: how they run when they are counted, and what wraps them."""

import functools
import sqlite3
import threading
import warnings

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel, BaseTTAModel, ExponentialMovingAverage
from mmengine.registry import FUNCTIONS
from mmseg.models.segmentors import EncoderDecoder
from torch import nn

from mmseg_dynopool.costs import GMACsCounter, probe_complexity
from mmseg_dynopool.layers import DynOPool, freeze_pools
from mmseg_dynopool.models import count_network_gmacs
from mmseg_dynopool.models.whole_network import (
    check_other_sizes,
    forward_without_postprocessing,
    network_forward,
    predict,
    run_backbones,
    unwrap,
)

SHAPE = (64, 96)
POOLED = 32 * 48  # behind the backbone's DynOPool of 1/2
# Multiply-adds: of a convolution 3 x 3 to 4 channels behind the DynOPool, and 1 x 1 to 2 of them.
POOL = DynOPool.macs_per_value * POOLED
BACKBONE = 3 * 4 * 9 * POOLED
HEAD = 4 * 2 * POOLED


class Backbone(nn.Module):

    def __init__(self, channels=3):
        super().__init__()
        self.dynopools = nn.ModuleDict(dict(stream1=DynOPool(0.5)))
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, image):
        return self.conv(self.dynopools['stream1'](image))


class Segmentor(BaseModel):
    """A segmentor as mmengine asks for it, and as little as that."""

    channels = 3

    def __init__(self, preprocessor=None):
        super().__init__(preprocessor)
        self.backbone = Backbone()
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        features = self.backbone(inputs)
        return self.run_head(features, data_samples, mode)

    def run_head(self, features, data_samples, mode):
        return self.head(features)


def counted(network, **options):
    """Multiply-adds, by the package, without those of the DynOPool, which has 3 channels."""
    return round(1e9 * count_network_gmacs(network, SHAPE, **options)) - 3 * POOL


def test_a_plain_forward():
    assert network_forward(Segmentor(), SHAPE) == (3, forward_without_postprocessing)
    assert counted(Segmentor()) == BACKBONE + HEAD
    assert counted(nn.Sequential(Backbone(), nn.Conv2d(4, 2, 1))) == BACKBONE + HEAD


class Queries(Segmentor):
    """Its head takes more than features, as those with queries do."""

    def run_head(self, features, data_samples, mode):
        size, = {sample.metainfo['img_shape'] for sample in data_samples}
        assert (size, mode) == (SHAPE, 'predict') or size[0] > 64
        return [self.head(features).sum() for _ in data_samples]


def test_predict_with_samples_that_are_made_up():
    assert network_forward(Queries(), SHAPE) == (3, predict)
    assert counted(Queries()) == BACKBONE + HEAD
    cost = probe_complexity(Queries(), SHAPE, *network_forward(Queries(), SHAPE))
    assert cost.layers[-1].exponents == {'backbone.dynopools.stream1': (1.0, 1.0)}


class ReadsValues(Segmentor):
    """It decides by a value, which a network of shapes alone does not have."""

    def run_head(self, features, data_samples, mode):
        return self.head(features) if features.abs().max().item() < 1e9 else features


def test_a_network_that_reads_values_runs_on_numbers():
    model = ReadsValues()
    state = torch.get_rng_state()
    assert counted(model) == BACKBONE + HEAD
    assert torch.equal(torch.get_rng_state(), state)
    counter = GMACsCounter(model, SHAPE, *network_forward(model, SHAPE))
    assert 1e9 * counter.gmacs() == BACKBONE + HEAD + 3 * POOL and not counter.on_meta
    # A quarter as many pixels: the same pooling is in the copy with numbers.
    assert 1e9 * counter.gmacs({'backbone.dynopools.stream1': (4.0, 4.0)}) == (
        BACKBONE + HEAD + 3 * POOL) / 4
    cost = probe_complexity(model, SHAPE, *network_forward(model, SHAPE))
    plain = probe_complexity(Segmentor(), SHAPE, *network_forward(Segmentor(), SHAPE))
    assert cost.layers == plain.layers


class Detector(ReadsValues):
    """What it finds decides what runs: there is no cost to learn by, but its backbone's."""

    def run_head(self, features, data_samples, mode):
        return [self.head(features) for _ in range(features.shape[2] + int(features[0, 0, 0, 0]))]


class Empty(Segmentor):

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return super().forward(inputs) if mode == 'predict' else None


def test_a_forward_that_tells_no_cost_is_none():
    with pytest.warns(UserWarning, match='predict runs other operators at other sizes'):
        assert network_forward(Detector(), SHAPE) == (3, run_backbones)
    assert network_forward(Empty(), SHAPE) == (3, predict)


class NeedsText(Segmentor):

    def forward(self, inputs, data_samples=None, mode='tensor', *, text):
        return self.head(self.backbone(inputs)) * text


def run_with_text(network, image):
    return network(image, text=2.0)


def test_what_runs_in_no_way_is_counted_by_its_backbone_and_says_so():
    with pytest.warns(UserWarning, match='NeedsText does not run as a whole on an image of 3 x '
                                         "64 x 96: .*'text'.*forward='my_package.my_function'"):
        assert network_forward(NeedsText(), SHAPE) == (3, run_backbones)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('default')
        assert counted(NeedsText()) == BACKBONE
    assert len(caught) == 1
    for forward in (run_with_text, f'{__name__}.run_with_text', 'toy_run_with_text'):
        FUNCTIONS.register_module(module=run_with_text, name='toy_run_with_text', force=True)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert counted(NeedsText(), forward=forward) == BACKBONE + HEAD
    FUNCTIONS.module_dict.pop('toy_run_with_text')
    for forward in ('no.such.function', 'nothing', 3):
        with pytest.raises(ValueError, match=f'its dotted path or its name .*got {forward!r}'):
            network_forward(NeedsText(), SHAPE, forward)


class TwoImages(Segmentor):
    """Two images in one."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        before, after = inputs.split([3, 3], dim=1)
        return self.head(self.backbone(before) - self.backbone(after))


def test_channels_of_the_image():
    model = TwoImages(dict(type='ImgDataPreprocessor', mean=[0.] * 3, std=[1.] * 3))
    model.data_preprocessor.mean = torch.zeros(6, 1, 1)  # as mmseg's takes any number
    assert network_forward(model, SHAPE).in_channels == 6
    assert counted(model) == 2 * BACKBONE + HEAD + 3 * POOL
    assert counted(TwoImages(), in_channels=6) == 2 * BACKBONE + HEAD + 3 * POOL
    with pytest.raises(ValueError, match='TwoImages does not run on an image of 5 x 64 x 96'):
        counted(TwoImages(), in_channels=5)
    for channels in (0, 2.5, '6'):
        with pytest.raises(ValueError, match=f'in_channels must be .*got {channels!r}'):
            counted(TwoImages(), in_channels=channels)


def test_a_segmentor_that_slides_is_counted_by_the_whole_image():
    head = dict(type='FCNHead', in_channels=32, channels=4, num_classes=2, num_convs=1)
    model = EncoderDecoder(
        dict(type='mmseg.ResNet', depth=18, base_channels=4), head,
        test_cfg=ConfigDict(mode='slide', crop_size=(32, 32), stride=(16, 16)))
    image = torch.rand(1, 3, *SHAPE)
    whole, counter = (GMACsCounter(model, SHAPE, 3, run).gmacs()
                      for run in (forward_without_postprocessing, predict))
    assert whole == counter > 0
    with torch.no_grad():
        predict(model.eval(), image)
    assert model.test_cfg.mode == 'slide'


class OneSize(Segmentor):

    def run_head(self, features, data_samples, mode):
        return self.head(features.reshape(-1, 4, 352, 416))


def test_sizes_are_blamed_where_they_are_the_reason():
    check_other_sizes(Segmentor(), SHAPE)
    with pytest.raises(ValueError, match=r'features of the stock sizes alone: it fails at 0\.9'):
        check_other_sizes(OneSize())

    class Broken(Segmentor):

        def run_head(self, features, data_samples, mode):
            raise TypeError('another reason')

    check_other_sizes(Broken(), SHAPE)  # at the stock size, too


class Ensemble(nn.Module):
    """A network whose part is called ``module``, as a wrapper's is."""

    def __init__(self):
        super().__init__()
        self.module = Backbone()
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, image):
        return self.last(self.module(image))


class Flips(BaseTTAModel):

    def merge_preds(self, data_samples_list):
        return data_samples_list


def test_wrappers_are_known_by_their_kind():
    network, model = Ensemble(), Segmentor()
    assert unwrap(network) is network
    assert unwrap(nn.DataParallel(network)) is network
    assert isinstance(unwrap(ExponentialMovingAverage(network)), Ensemble)
    assert unwrap(Flips(module=model)) is model
    assert unwrap(nn.DataParallel(nn.DataParallel(Flips(module=model)))) is model


class Remembers(Segmentor):
    """It keeps what it has seen, with its graph, and what cannot be copied."""

    def __init__(self, log):
        super().__init__()
        self.seen = []
        self.log = open(log, 'w')  # noqa: SIM115
        self.lock, self.base = [threading.Lock()], sqlite3.connect(':memory:')
        self.shift = torch.zeros(4, 1, 1)  # no buffer, and meets the features

    def run_head(self, features, data_samples, mode):
        logits = self.head(features + self.shift)
        if torch.is_grad_enabled():
            self.features, self.seen = features, [dict(loss=logits.mean())]
            self.graph = features.grad_fn
            self.table = np.empty(1, dtype=object)
            self.table[0] = features
        return logits


def test_what_a_network_remembers_stays_behind(tmp_path):
    model, image = Remembers(tmp_path / 'log.txt'), torch.rand(2, 3, *SHAPE)
    before = count_network_gmacs(model, SHAPE)
    model(image).square().mean().backward()
    assert model.features.grad_fn is not None
    assert count_network_gmacs(model, SHAPE) == before
    assert GMACsCounter(model, SHAPE).gmacs() == before and GMACsCounter(model, SHAPE).on_meta
    frozen = freeze_pools(model)
    with torch.no_grad():
        assert torch.equal(frozen(image), model(image))
    assert frozen.features.grad_fn is None and torch.equal(frozen.features, model.features)
    assert model.features.grad_fn is not None and frozen.log is model.log
    assert frozen.lock is not model.lock and frozen.lock[0] is model.lock[0]
    assert frozen.graph is model.graph
    model.log.close()
    model.base.close()


def test_a_copy_shares_no_container_that_holds_what_cannot_be_copied():
    """Weights, buffers and hooks of the copy are its own, and its poolings, too."""
    model = Segmentor()
    model.parts = dict(pool=model.backbone.dynopools['stream1'], lock=threading.Lock())
    model.register_buffer('table', torch.eye(3).to_sparse_csr())
    called = []
    model.backbone.register_forward_hook(
        functools.partial(lambda lock, *args: called.append(args[0]), threading.Lock()))
    frozen = freeze_pools(model)
    frozen.register_buffer('other', torch.zeros(1))
    frozen.backbone.register_forward_hook(lambda *args: called.append('the copy'))
    model(torch.rand(1, 3, *SHAPE))
    assert 'other' not in model._buffers and called == [model.backbone]
    assert frozen.parts['lock'] is model.parts['lock']
    assert frozen.parts['pool'] is frozen.backbone.dynopools['stream1']
    counter = GMACsCounter(model, SHAPE)
    assert counter.gmacs({'backbone.dynopools.stream1': (4.0, 4.0)}) == counter.gmacs(
        {'backbone.dynopools.stream1': (2.0, 2.0)}) / 4


class HeadFirst(BaseModel):
    """Its head is registered before its encoder."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 2, 1)
        self.encoder = Backbone(channels=2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.head(self.encoder(inputs))


def test_channels_of_an_encoder_behind_its_head():
    assert network_forward(HeadFirst(), SHAPE).in_channels == 2


def test_two_encoders_whose_features_cannot_meet_are_named():
    class Two(Segmentor):

        def __init__(self):
            super().__init__()
            self.other = Backbone()

        def forward(self, inputs, data_samples=None, mode='tensor'):
            return self.head(self.backbone(inputs) + self.other(inputs))

    with pytest.raises(ValueError, match=r'where the scale of backbone.dynopools.stream1 alone is '
                                         r'halved .* resize feature maps to one size'):
        probe_complexity(Two(), SHAPE)


def test_lazy_and_scripted_parts():
    with pytest.raises(ValueError, match=r'lazy parameters, .*run it once on an image first'):
        count_network_gmacs(nn.Sequential(nn.LazyConv2d(4, 3)), SHAPE, in_channels=3)
    scripted = nn.Sequential(Backbone(), torch.jit.script(nn.Conv2d(4, 2, 1)))
    assert counted(scripted) == BACKBONE + HEAD
