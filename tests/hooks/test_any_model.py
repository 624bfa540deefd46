"""The hook on models as little like ours as mmengine's runner allows."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmseg_dynopool.costs import LatencyModel, probe_complexity
from mmseg_dynopool.layers import DynOPool
from mmseg_dynopool.models import count_network_gmacs

SHAPE = (32, 48)


class Images(Dataset):

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.full((3, *SHAPE), float(index)))


class Encoder(BaseModel):
    """No ``backbone``, and mmengine's own data preprocessor, which gives a list of images."""

    def __init__(self):
        super().__init__()
        self.pool, self.conv = DynOPool(0.5), nn.Conv2d(3, 8, 3, padding=1)
        self.before, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(8, 1, 1)

    def run(self, inputs):
        image = torch.stack(inputs) if isinstance(inputs, list) else inputs
        return self.head(self.conv(self.pool(self.before(image))))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        output = self.run(inputs)
        return dict(loss=output.square().mean()) if mode == 'loss' else output


class OwnSignature(Encoder):

    def forward(self, images):
        return self.run(images)

    def train_step(self, data, optim_wrapper):
        loss = self.run(self.data_preprocessor(data)['inputs']).square().mean()
        optim_wrapper.update_params(loss)
        return dict(loss=loss)


def train(tmp_path, model, *hooks, iterations=8, **options):
    runner = Runner(
        model=model, work_dir=str(tmp_path), log_level='INFO', default_scope='mmseg',
        train_dataloader=dict(dataset=Images(), batch_size=2, num_workers=0, sampler=dict(
            type='InfiniteSampler'), collate_fn=dict(type='pseudo_collate')),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        train_cfg=dict(by_epoch=False, max_iters=iterations), custom_hooks=[
            dict(type='DynOPoolHook', **(options or dict(gmacs_budget=dict(target=0.5)))), *hooks],
        experiment_name=f'{tmp_path.name}-{id(model)}')
    runner.train()
    log, = tmp_path.glob('*/*.log')
    return runner, log.read_text()


def test_a_list_of_images_and_no_backbone(tmp_path):
    model = Encoder()
    before = count_network_gmacs(model, SHAPE)
    _, log = train(tmp_path, model, gmacs_budget=dict(target=0.6))
    assert count_network_gmacs(model, SHAPE) / before == pytest.approx(0.6, rel=0.02)
    assert 'budget is missed' not in log


def test_losses_that_cannot_be_measured_are_told_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r'OwnSignature does not give its losses by forward\(\.\.\.'
                                         r".*gradient='straight_through'"):
        train(tmp_path / 'learner', OwnSignature(), gmacs_budget=dict(target=0.6),
              gmacs_shape=SHAPE)
    model = OwnSignature()
    before = count_network_gmacs(model, SHAPE)
    train(tmp_path / 'straight', model, gmacs_budget=dict(target=0.6), gmacs_shape=SHAPE,
          gradient='straight_through')
    assert count_network_gmacs(model, SHAPE) / before == pytest.approx(0.6, rel=0.02)


def test_a_batch_that_tells_no_size(tmp_path):
    class Named(Encoder):

        def forward(self, pictures, mode='loss'):
            return dict(loss=self.run(pictures).square().mean())

    model = Named()
    model.data_preprocessor.forward = lambda data, training=False: dict(pictures=data['inputs'])
    with pytest.raises(ValueError, match=r'size of an image cannot be told .*gmacs_shape=\(H, W\)'):
        train(tmp_path, model)


class Break(Hook):
    """Leaves something behind, in the last iteration, that no copy can be made of."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 7:
            runner.model.__class__ = type('Broken', (Encoder, ), dict(
                __deepcopy__=lambda self, memo: 1 / 0))


def test_a_run_does_not_die_of_a_network_that_can_no_longer_be_counted(tmp_path):
    runner, log = train(tmp_path, Encoder(), Break())
    assert runner.iter == 8
    assert 'what the network costs now cannot be counted (ZeroDivisionError' in log


def test_nothing_was_loaded_and_nothing_is_said_of_it(tmp_path):
    """Though the times that were fitted and the one that was measured differ at the start."""
    model = Encoder()
    cost = probe_complexity(model, SHAPE)
    levels = cost.terms.coefficients
    found = LatencyModel(
        cost.initial_scales, levels, dict.fromkeys(levels, 4.0), cost.initial_scales, 9.0, SHAPE, 1,
        'another device', '2.6', [dict(scales=cost.initial_scales, ms=9.0, predicted_ms=9.0)])
    found.save(tmp_path / 'latency.json')
    _, log = train(tmp_path / 'run', model, latency_budget=dict(
        target_ms=7.0, model=str(tmp_path / 'latency.json')))
    assert 4 * len(levels) != 9 and 'it has loaded other scales' not in log
