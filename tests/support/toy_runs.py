"""One DynOPool and one convolution, trained by mmengine's own Runner."""

import json

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmseg_dynopool import DynOPoolHook
from mmseg_dynopool.layers import DynOPool, DynOPoolConv2d


class Toy(BaseModel):
    """A model whose loss pulls alpha out of its bounds."""

    def __init__(self, pull=1.0):
        super().__init__()
        self.dynopools = nn.ModuleDict({'stream1': DynOPool(0.5, bounds=(0.25, 1.0))})
        self.conv = DynOPoolConv2d(self.dynopools['stream1'], 1, 2, 1, shared=True)
        self.pull = pull

    def forward(self, inputs, mode='tensor'):
        loss = self.conv(inputs).square().mean()
        return dict(loss=loss - self.pull * self.dynopools['stream1'].alpha.sum())


class Images(Dataset):

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.full((1, 12, 12), float(index)))


def run(tmp_path, model, iterations=4, hooks=None, custom_keys=None, default_hooks=None,
        **wrapper):
    keys = custom_keys or {'dynopools': dict(lr_mult=0.5, decay_mult=0.)}
    runner = Runner(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader=DataLoader(Images(), batch_size=2),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=1.6, weight_decay=1e-4),
            paramwise_cfg=dict(custom_keys=keys)) | wrapper,
        param_scheduler=dict(type='PolyLR', power=0.9, eta_min=0., end=iterations,
                             by_epoch=False),
        train_cfg=dict(by_epoch=False, max_iters=iterations),
        custom_hooks=[DynOPoolHook(jitter=0.1)] if hooks is None else hooks,
        default_hooks=default_hooks or dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False)),
        visualizer=dict(type='Visualizer', vis_backends=[
            dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]),
        experiment_name=f'{tmp_path.name}-{type(model).__name__}-{id(model)}',
        default_scope='mmseg')
    runner.train()
    return runner


def scalars(tmp_path):
    path, = tmp_path.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


class ScaledWrapper(OptimWrapper):
    """A loss scale on the CPU, where mmengine's AmpOptimWrapper cannot be built."""

    def __init__(self, init_scale, **kwargs):
        super().__init__(**kwargs)
        self.scaler = torch.amp.GradScaler('cpu', init_scale=init_scale)
        self.skipped = []

    def backward(self, loss, **kwargs):
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()
        self.skipped.append(self.scaler.get_scale() < before)
