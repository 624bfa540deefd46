"""Prediction against PyTorch's counter on whole networks, and what probing costs."""

import random
import subprocess
import sys

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.costs.summary import summarize
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.networks import w48_fcn
from support.toys import ROOT, fcn_head, hrnet_extra, segmentor_config

SHAPE = (512, 1024)


def w18_small_ocr():
    channels = (18, 36, 72, 144)
    head = dict(fcn_head(channels, 19), channels=270)
    ocr = dict(head, type='OCRHead', channels=512, ocr_channels=256)
    for key in ('kernel_size', 'num_convs', 'concat_input'):
        ocr.pop(key)
    return dict(
        type='DynOPoolCascadeEncoderDecoder', num_stages=2,
        data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=dict(type='DynOPoolHRNet',
                      extra=hrnet_extra(channels, modules=(1, 1, 3, 2), blocks=2)),
        decode_head=[head, ocr], train_cfg={}, test_cfg=dict(mode='whole'))


# With the stem, deep maps get small and rounding weighs more: its alphas stay closer to 2.
@pytest.mark.parametrize('config, highest, settings', [
    pytest.param(segmentor_config(), 4.0, 16, id='tiny+FCN'),
    pytest.param(segmentor_config(stem=True), 2.5, 12, id='tiny+FCN, stem'),
    pytest.param(w48_fcn(), 4.0, 4, id='W48+FCN', marks=pytest.mark.slow),
    pytest.param(w18_small_ocr(), 4.0, 2, id='W18-small+OCR', marks=pytest.mark.slow)])
def test_prediction_equals_the_count_at_random_scales(config, highest, settings):
    model = MODELS.build(config)
    complexity = probe_complexity(model, SHAPE, forward=forward_without_postprocessing)
    pools = learned_pools(model)
    rng = random.Random(0)
    for _ in range(settings):
        with torch.no_grad():
            for pool in pools.values():
                pool.alpha.copy_(torch.tensor([rng.uniform(1.2, highest) for _ in 'hw']))
        predicted = complexity.gmacs({n: p.alpha for n, p in pools.items()}).item()
        assert predicted == pytest.approx(model.count_gmacs(SHAPE), rel=0.02)


def summary(model):
    return summarize(model, SHAPE, forward=forward_without_postprocessing)


@pytest.mark.slow
def test_summary_of_w48():
    result = summary(MODELS.build(w48_fcn()))
    assert result['stock_gmacs'] == pytest.approx(186.88, abs=0.01)
    assert 0 < result['dynopool_percent'] < 0.3
    check_tables(result)


def check_tables(result):
    for table in ('by_module', 'by_resolution'):
        for key in ('gmacs', 'stock_gmacs'):
            total = sum(row[key] for row in result[table].values())
            assert total == pytest.approx(result[key], rel=1e-9)
    assert result['by_resolution'].keys() == {
        'input', 'stream1', 'stream1 x stream2', 'stream1 x stream2 x stream3'}
    assert result['instances']['stream3']['output_size'] == [16, 32]


def test_summary_follows_the_alphas():
    model = MODELS.build(segmentor_config())
    result = summary(model)
    check_tables(result)
    with torch.no_grad():
        model.backbone.dynopools['stream2'].alpha.copy_(torch.tensor([4.0, 2.0]))
    learned = summary(model)
    assert learned['gmacs'] == pytest.approx(model.count_gmacs(SHAPE), rel=1e-9)
    assert learned['stock_gmacs'] == result['stock_gmacs']
    assert learned['gmacs'] < result['gmacs']
    assert learned['instances']['stream2']['output_size'] == [16, 64]
    assert learned['instances']['stream3']['input_size'] == [16, 64]


PROBE = """
import resource, sys
sys.path.insert(0, {tests!r})
from mmengine.registry import init_default_scope
import mmseg_dynopool
from mmseg.registry import MODELS
from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.networks import w48_fcn
init_default_scope('mmseg')
model = MODELS.build(w48_fcn())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
probe_complexity(model, (512, 1024), forward=forward_without_postprocessing)
print('MiB', (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_probing_takes_little_memory():
    """Its weights are on the meta device: the peak rises by less than they take (251 MiB)."""
    done = subprocess.run([sys.executable, '-c', PROBE.format(tests=str(ROOT / 'tests'))],
                          text=True, capture_output=True, check=True)
    assert float(done.stdout.split()[-1]) < 250
