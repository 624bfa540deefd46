"""The segmentors' loss: the task and the cost."""

from collections import Counter

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_dynopool.models.cost import describe_gmacs, watch_shapes
from support.toys import fcn_head, hrnet_extra

CHANNELS = (4, 8, 12, 16)


def config(cascade=False, **options):
    head = fcn_head(CHANNELS)
    if cascade:
        ocr = dict(head, type='OCRHead', channels=16, ocr_channels=8)
        for key in ('kernel_size', 'num_convs', 'concat_input'):
            ocr.pop(key)
        head = [head, ocr]
        options['num_stages'] = 2
    prefix = 'DynOPoolCascade' if cascade else 'DynOPool'
    return dict(
        type=f'{prefix}EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 96)),
        backbone=dict(type='DynOPoolHRNet', extra=hrnet_extra(CHANNELS)),
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole')) | options


def losses(model, size=(64, 96)):
    samples = []
    for _ in range(2):
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 3, (1, *size)))
        samples.append(sample)
    return model.loss(torch.randn(2, 3, *size), samples)


@pytest.mark.parametrize('cascade', [False, True])
def test_cost_in_the_loss(cascade):
    model = MODELS.build(config(cascade, gmacs_weight=2.0))
    found = losses(model)
    assert found['loss_gmacs'].item() == pytest.approx(2.0 * found['gmacs'].item())
    assert found['gmacs_ratio'].item() == pytest.approx(1.0)
    assert not found['gmacs'].requires_grad
    total, log = model.parse_losses(found)
    total.backward()
    assert {'loss_gmacs', 'gmacs', 'gmacs_ratio'} <= set(log)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_value_and_gradient_are_those_of_the_formula():
    """Stream k's layers scale with the product of r_1 ... r_k; the rest is constant."""
    model = MODELS.build(config(gmacs_weight=1.0))
    pools = [model.backbone.dynopools[f'stream{k}'] for k in (1, 2, 3)]
    complexity = model.complexity()
    cost = [0.0] * 4
    for layer in complexity.layers:
        streams = sorted(int(n[-1]) for n in layer.exponents)
        assert streams == list(range(1, len(streams) + 1))
        assert all(e == (1.0, 1.0) for e in layer.exponents.values())
        cost[len(streams)] += layer.gmacs
    with torch.no_grad():
        for pool, alpha in zip(pools, ((2.5, 1.5), (3.0, 2.0), (1.2, 4.0))):
            pool.alpha.copy_(torch.tensor(alpha))

    def formula(alphas):
        total, area = cost[0], 1.0
        for k, alpha in enumerate(alphas, 1):
            area = area * (2 / alpha[0]) * (2 / alpha[1])
            total = total + cost[k] * area
        return total

    alphas = [p.alpha.detach().double().requires_grad_() for p in pools]
    expected = formula(alphas)
    gradients = torch.autograd.grad(expected, alphas)
    found = losses(model)['loss_gmacs']
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    for pool, gradient in zip(pools, gradients):
        torch.testing.assert_close(pool.alpha.grad.double(), gradient, rtol=1e-5, atol=1e-8)


def test_weight_zero_and_shape():
    model = MODELS.build(config(gmacs_weight=0, gmacs_shape=(128, 192)))
    found = losses(model)
    assert found['loss_gmacs'].item() == 0
    small = losses(MODELS.build(config()))['gmacs']
    assert found['gmacs'].item() == pytest.approx(4 * small.item(), rel=1e-3)


def test_the_papers_weight_is_the_default():
    found = losses(MODELS.build(config()))
    assert found['loss_gmacs'].item() == pytest.approx(7e-5 * found['gmacs'].item())


def test_watching_ends_with_its_block():
    model = MODELS.build(config()).eval()
    wrapped = torch.nn.ModuleDict(dict(module=model))
    with watch_shapes(wrapped) as seen:
        for size in ((64, 96), (32, 48), (64, 96)):
            model(torch.randn(2, 3, *size))
    model(torch.randn(2, 3, 40, 40))
    assert seen == {(64, 96): 2, (32, 48): 1}
    assert not model.backbone._forward_pre_hooks


def test_the_most_frequent_shapes_are_described():
    model = MODELS.build(config())
    shapes = Counter({(32 * k, 64): 9 - k for k in (2, 1, 3, 5, 4)})
    parts = [f'{model.count_gmacs((32 * k, 64)):.4g} GMACs at {32 * k} x 64'
             for k in (1, 2, 3, 4, 5)]
    assert describe_gmacs(model, shapes) == ', '.join(parts)
    shapes |= {(320, 64): 1, (640, 64): 2}
    assert describe_gmacs(model, shapes) == ', '.join(parts) + ' and 2 more shapes'


def test_size_of_the_first_batch_where_none_is_given():
    cfg = config()
    cfg['data_preprocessor'].pop('size')
    model = MODELS.build(cfg)
    assert losses(model)['gmacs'].item() == pytest.approx(
        losses(MODELS.build(config()))['gmacs'].item())


def test_the_cost_before_any_size_is_known():
    cfg = config()
    cfg['data_preprocessor'].pop('size')
    model = MODELS.build(cfg)
    assert model.counted_shape is None
    for ask in (model.count_gmacs, model.complexity, model.prepare_cost):
        with pytest.raises(ValueError, match='the size at which GMACs count is not known; set'):
            ask()
    assert model.count_gmacs((64, 96)) == MODELS.build(config()).count_gmacs()
    losses(model, (32, 48))
    assert model.counted_shape == model.cost.shape == (32, 48)


def test_asking_for_the_cost_leaves_no_trace():
    model = MODELS.build(config())
    first = model.complexity((128, 192))
    assert model.cost is None
    model.prepare_cost()
    assert model.cost.shape == (64, 96) and first.shape == (128, 192)


def test_a_budget_needs_its_hook():
    model = MODELS.build(config(gmacs_budget=dict(target=0.97)))
    with pytest.raises(ValueError, match='DynOPoolHook'):
        losses(model)
    model.cost_weight = -0.25  # as the hook sets it
    found = losses(model)
    assert found['gmacs_lambda'] == -0.25
    assert found['loss_gmacs'].item() == pytest.approx(-0.25 * found['gmacs'].item())


@pytest.mark.parametrize('options, words', [
    (dict(gmacs_weight=-1e-4), ['gmacs_weight', '-0.0001']),
    (dict(gmacs_weight=float('nan')), ['gmacs_weight', 'nan']),
    (dict(gmacs_weight='big'), ['gmacs_weight', "'big'"]),
    (dict(gmacs_weight=True), ['gmacs_weight', 'True']),
    (dict(gmacs_shape=(512, )), ['gmacs_shape', '(512,)']),
    (dict(gmacs_shape=5), ['gmacs_shape', '5']),
    (dict(gmacs_weight=0.1, gmacs_budget=dict(target=0.7)), ['either', '0.1', '0.7']),
    (dict(gmacs_budget=dict(target=0)), ['target', '0']),
    (dict(gmacs_budget=dict(target=0.7, target_gmacs=1.)), ['either', '1.0']),
    (dict(backbone=dict(type='HRNet', extra=hrnet_extra(CHANNELS))), ['HRNet', 'DynOPoolHRNet']),
])
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError) as error:
        MODELS.build(config(**options))
    for word in words:
        assert word in str(error.value)
