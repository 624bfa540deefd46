"""type='ShapeAdaptor' in the place of DynOPool: the network, its cost, its training."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_dynopool.checkpoints import Checkpoint
from mmseg_dynopool.costs import count_gmacs, probe_complexity
from mmseg_dynopool.export import freeze_config
from mmseg_dynopool.layers import ShapeAdaptor, freeze_pools, learned_pools
from mmseg_dynopool.models.whole_network import forward_without_postprocessing
from support import runs
from support.toys import hrnet_extra, segmentor_config

SIZE = (64, 96)


def test_the_start_has_the_stock_networks_sizes_and_keys():
    options = dict(extra=hrnet_extra())
    stock = MODELS.build(dict(type='HRNet', **options))
    net = MODELS.build(dict(type='DynOPoolHRNet', dynopool=dict(type='ShapeAdaptor', stem=True),
                            **options))
    assert set(net.state_dict()) - set(stock.state_dict()) == {
        f'dynopools.{name}.logit' for name in ('stem1', 'stem2', 'stream1', 'stream2', 'stream3')}
    assert all(isinstance(pool, ShapeAdaptor) for pool in net.dynopools.values())
    for size in (SIZE, (65, 131)):
        image = torch.randn(2, 3, *size)
        assert [y.shape for y in net(image)] == [y.shape for y in stock(image)]


def test_the_image_s_size_beside_it():
    net = MODELS.build(segmentor_config(type='ShapeAdaptor', image=True, ratios=dict(
        image=(0.5, 1.0), stream1=(0.3, 1.0)))).backbone
    assert [(pool.tied, pool.bounds) for pool in net.dynopools.values()] == [
        (True, (0.5, 1.0)), (True, (0.3, 1.0)), (True, (0.25, 1.0)), (True, (0.25, 1.0))]


def test_one_device_read_per_forward(monkeypatch):
    net = MODELS.build(segmentor_config(type='ShapeAdaptor')).backbone
    reads = []
    for name in ('tolist', 'item'):
        read = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name,
                            lambda x, read=read: (reads.append(x.shape), read(x))[1])
    net(torch.randn(1, 3, *SIZE))
    assert reads == [(3, 2)]


def test_cost_follows_the_parameter():
    model = MODELS.build(segmentor_config(type='ShapeAdaptor'))
    shape = (512, 1024)
    cost = probe_complexity(model, shape, forward=forward_without_postprocessing)
    pools = learned_pools(model)

    def predicted():
        return cost.gmacs({n: p.bounded_alpha() for n, p in pools.items()})

    assert predicted().item() == pytest.approx(count_gmacs(model.backbone, shape), rel=0.2)
    for logit in (-1.0, 0.0, 1.5):
        with torch.no_grad():
            pools['backbone.dynopools.stream1'].logit.fill_(logit)
        assert predicted().item() == pytest.approx(model.count_gmacs(shape), rel=0.02)
    logit = pools['backbone.dynopools.stream2'].logit
    slope, = torch.autograd.grad(predicted(), logit)
    with torch.no_grad():
        ends = []
        for step in (-0.01, 0.02):
            logit += step
            ends.append(predicted().item())
    assert slope.item() == pytest.approx((ends[1] - ends[0]) / 0.02, rel=1e-3) and slope > 0


def test_trains_saves_and_loads(tmp_path):
    backbone = dict(dynopool=dict(type='ShapeAdaptor'))
    runner = runs.train(tmp_path, runs.segmentor(backbone=backbone), iterations=4,
                        hook=dict(gmacs_weight=0.1))
    pools = learned_pools(runner.model)
    scales = torch.stack([pool.scale for pool in pools.values()])
    assert (scales != 0.5).all() and (scales[:, 0] == scales[:, 1]).all()
    logged = runner.message_hub.log_scalars
    assert logged['train/dynopool/stream1/scale_h'].current() == pytest.approx(
        scales[0, 0].item())
    assert logged['train/dynopool/lr'].current() > 0
    state = torch.load(tmp_path / 'iter_4.pth', weights_only=False)['state_dict']
    again = MODELS.build(runs.segmentor(backbone=backbone))
    assert not again.load_state_dict(state).missing_keys
    assert torch.equal(torch.stack([p.scale for p in learned_pools(again).values()]), scales)


def test_a_checkpoint_of_the_other_pooling_is_refused(tmp_path):
    models = {kind: MODELS.build(segmentor_config(type=kind))
              for kind in ('DynOPool', 'ShapeAdaptor')}
    for kind, model in models.items():
        torch.save(dict(state_dict=model.state_dict()), tmp_path / kind)
    stock = {k: v for k, v in models['DynOPool'].state_dict().items() if '.dynopools.' not in k}
    torch.save(dict(state_dict=stock), tmp_path / 'stock')
    for kind, other in (('DynOPool', 'ShapeAdaptor'), ('ShapeAdaptor', 'DynOPool')):
        Checkpoint.read(str(tmp_path / kind)).verify(models[kind])
        Checkpoint.read(str(tmp_path / 'stock')).verify(models[kind])
        with pytest.raises(ValueError, match=r'another pooling.*stream1'):
            Checkpoint.read(str(tmp_path / other)).verify(models[kind])


def test_what_does_not_work_says_so():
    config = segmentor_config(type='ShapeAdaptor')
    model = MODELS.build(config)
    for refuse in (freeze_pools, lambda m: freeze_config(Config(dict(model=config)), m)):
        with pytest.raises(ValueError, match='cannot freeze or export a ShapeAdaptor'):
            refuse(model)


@pytest.mark.parametrize('options, words', [
    (dict(type='Pool'), ['type', "'ShapeAdaptor'", "'Pool'"]),
    (dict(type='ShapeAdaptor', bounds=(0.1, 1.0)), ["['bounds']", "'ratios'"]),
    (dict(ratios=(0.5, 1.0)), ["['ratios']", "'bounds'", "'DynOPool'"]),
    (dict(type='ShapeAdaptor', learn=False), ['learn=False', "type='DynOPool'"]),
    (dict(type='ShapeAdaptor', scale=dict(stream2=(0.5, 0.4))), ['stream2', 'both axes']),
    (dict(type='ShapeAdaptor', ratios=(0.5, 1.0)), ['stream1', 'never reaches']),
    (dict(type='ShapeAdaptor', image=True, scale=dict(image=(0.7, 0.8))), ['image', 'both axes']),
])
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError) as error:
        MODELS.build(segmentor_config(**options))
    for word in words:
        assert word in str(error.value)


def test_mixed_precision_keeps_the_parameters_gradient():
    net = MODELS.build(segmentor_config(type='ShapeAdaptor')).backbone
    with torch.autocast('cpu', torch.bfloat16):
        sum(y.float().square().mean() for y in net(torch.randn(2, 3, *SIZE))).backward()
    for pool in net.dynopools.values():
        assert pool.logit.grad.dtype == torch.float32 and pool.logit.grad.abs() > 0
