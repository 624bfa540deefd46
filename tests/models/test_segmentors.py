"""The segmentors: their conversion, their count, their cost's options for the hook."""

from collections import Counter

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_dynopool.costs import probe_complexity
from mmseg_dynopool.hooks import DynOPoolHook
from mmseg_dynopool.learning import add_cost_gradient
from mmseg_dynopool.models.cost import describe_gmacs, watch_shapes
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support.runs import train
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


def cost_of(model, shape=(64, 96)):
    return probe_complexity(model, shape, forward=forward_without_postprocessing)


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, DynOPoolHook))


def logged(runner, name):
    """Values of the training's log, an iteration each."""
    return [float(value) for value in
            runner.message_hub.get_scalar(f'train/{name}')._log_history]


@pytest.mark.parametrize('cascade', [False, True])
def test_every_parameter_gets_a_gradient_of_the_task(cascade):
    model = MODELS.build(config(cascade))
    model.parse_losses(losses(model))[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize('cascade', [False, True])
def test_the_models_options_are_the_hooks(tmp_path, cascade):
    """As in version 0.3, or given to the hook: the same training, bit for bit."""
    ends = {}
    for place, model, hook in (('model', dict(gmacs_weight=2.0), {}),
                               ('hook', {}, dict(gmacs_weight=2.0))):
        runner = train(tmp_path / place, config(cascade, **model), 2, hook=hook)
        assert runner.model.cost_options == model
        gmacs, loss = logged(runner, 'gmacs'), logged(runner, 'loss_gmacs')
        assert loss == pytest.approx([2.0 * g for g in gmacs], rel=1e-6)
        assert logged(runner, 'gmacs_ratio')[0] == pytest.approx(1.0)
        assert gmacs[0] == pytest.approx(cost_of(runner.model).initial)
        heads = ('decode_0', 'decode_1') if cascade else ('decode', )
        task = sum(logged(runner, f'{head}.loss_ce')[0] for head in heads)
        assert logged(runner, 'loss')[0] == pytest.approx(task + loss[0], rel=1e-6)
        ends[place] = runner.model.state_dict()
    assert all(torch.equal(value, ends['hook'][name]) for name, value in ends['model'].items())


def test_options_at_both_places(tmp_path):
    budget = dict(target=0.97)
    for model, hook, words in (
        (dict(gmacs_weight=0.1), dict(gmacs_weight=0.1), 'gmacs_weight is given to the model and'),
        (dict(gmacs_budget=budget, gmacs_shape=(64, 64)),
         dict(gmacs_budget=budget, gmacs_shape=(64, 64)),
         'gmacs_budget, gmacs_shape is given to the model and to DynOPoolHook'),
            (dict(gmacs_budget=budget), dict(gmacs_weight=0.1), 'give either gmacs_weight .got 0')):
        with pytest.raises(ValueError, match=words):
            train(tmp_path, config(**model), 1, hook=hook)


def test_a_cost_needs_its_hook(tmp_path):
    """Before and after the training with one; the message names the way of plain loops, too."""
    for options in (dict(gmacs_weight=0.1), dict(gmacs_budget=dict(target=0.97)),
                    dict(latency_budget=dict(target=0.9))):
        model = MODELS.build(config(**options))
        name, = options
        with pytest.raises(ValueError, match=rf'model\.{name} has no effect without the hook.*'
                           r"dict\(type='DynOPoolHook'\).*add_cost_gradient"):
            losses(model)
    trained = train(tmp_path, config(gmacs_weight=0.1), 1).model
    with pytest.raises(ValueError, match=r'model\.gmacs_weight has no effect'):
        losses(trained)


def test_value_and_gradient_are_those_of_the_formula():
    """Stream k's layers scale with the product of r_1 ... r_k; the rest is constant."""
    model = MODELS.build(config())
    pools = [model.backbone.dynopools[f'stream{k}'] for k in (1, 2, 3)]
    complexity = cost_of(model)
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
    task = losses(model)['decode.loss_ce']
    task.backward()
    before = [pool.alpha.grad.clone() for pool in pools]
    found = add_cost_gradient(model, complexity, 3.0)
    assert found.item() == pytest.approx(3 * expected.item(), rel=1e-6)
    for pool, of_task, gradient in zip(pools, before, gradients):
        torch.testing.assert_close((pool.alpha.grad - of_task).double(), 3 * gradient,
                                   rtol=1e-5, atol=1e-7)


def test_weight_zero_and_shape(tmp_path):
    """A weight of zero is no cost: it needs no hook, and trains like a network without one."""
    options = dict(gmacs_weight=0, gmacs_shape=(128, 192))
    model = MODELS.build(config(**options))
    assert list(losses(model)) == list(losses(MODELS.build(config())))
    runner = train(tmp_path / 'zero', config(**options), 2)
    assert logged(runner, 'loss_gmacs') == [0, 0]
    assert logged(runner, 'gmacs')[0] == pytest.approx(4 * cost_of(model).initial, rel=1e-3)
    plain = train(tmp_path / 'plain', config(type='EncoderDecoder'), 2)
    assert 'train/gmacs' not in plain.message_hub.log_scalars
    for name, value in plain.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], value)


def test_the_papers_weight_is_the_default(tmp_path):
    runner = train(tmp_path, config(), 1)
    assert logged(runner, 'loss_gmacs') == pytest.approx([7e-5 * logged(runner, 'gmacs')[0]])


def test_watching_ends_with_its_block():
    model = MODELS.build(config()).eval()
    with watch_shapes(torch.nn.DataParallel(model)) as seen:
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


def test_size_of_the_first_batch_where_none_is_given(tmp_path):
    cfg = config(data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=48))
    runner = train(tmp_path, cfg, 1)
    assert hook_of(runner).shape == (96, 96)  # images of 64 x 96 are padded to it
    assert logged(runner, 'gmacs')[0] == pytest.approx(
        cost_of(MODELS.build(config()), (96, 96)).initial)


def test_the_count_before_any_size_is_known():
    cfg = config()
    cfg['data_preprocessor'].pop('size')
    model = MODELS.build(cfg)
    with pytest.raises(ValueError, match='the size at which GMACs count is not known; give'):
        model.count_gmacs()
    expected = MODELS.build(config()).count_gmacs()
    assert model.count_gmacs((64, 96)) == expected
    wide = MODELS.build(config(gmacs_shape=(128, 192)))
    assert wide.count_gmacs() == model.count_gmacs((128, 192)) != expected
    assert wide.count_gmacs((64, 96)) == expected


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
