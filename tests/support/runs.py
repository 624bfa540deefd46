"""A tiny segmentor, trained by mmengine's own Runner in this process."""

import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from mmseg_dynopool.checkpoints import Runner
from mmseg_dynopool.layers import DynOPool
from support.toys import ONE_STAGE, SIZE, TWO_STREAMS, segmentor_config


class Shapes(Dataset):
    """Bright and dark rectangles on a grey ground, to be told apart under noise."""

    def __init__(self, count=8, seed=0, size=SIZE):
        generator = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(count):
            label = torch.zeros(1, *size, dtype=torch.long)
            for kind in (1, 2, 1, 2):
                y = int(torch.randint(size[0] - 16, (), generator=generator))
                x = int(torch.randint(size[1] - 24, (), generator=generator))
                label[:, y:y + 16, x:x + 24] = kind
            noise = torch.randn(3, *size, generator=generator)
            image = (torch.tensor([128., 200., 60.])[label] + 20 * noise).clamp(0, 255)
            sample = SegDataSample(gt_sem_seg=PixelData(data=label))
            sample.set_metainfo(dict(ori_shape=size, img_shape=size))
            self.items.append(dict(inputs=image.byte(), data_samples=sample))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]  # a slice gives a batch


def segmentor(norm='BN', channels=(4, 8, 12, 16), modules=(1, 1, 1, 1), **options):
    """Config of a tiny DynOPool segmentor with three classes, a stream per entry of channels."""
    cfg = ConfigDict(segmentor_config(channels=channels, modules=modules))
    cfg.data_preprocessor.update(mean=[128.] * 3, std=[64.] * 3)
    cfg.backbone.norm_cfg = cfg.decode_head.norm_cfg = (
        dict(type='GN', num_groups=2) if norm == 'GN' else dict(type=norm))
    cfg.backbone.update(options.pop('backbone', {}))
    cfg.update(options)
    return cfg


def small_segmentor(norm='BN', **options):
    """`segmentor` with two streams: its poolings are stem1, stem2 and stream1, in a row.

    A step takes half as long, and budgets between 0.02 and 15 are within reach.
    """
    cfg = segmentor(norm, TWO_STREAMS, ONE_STAGE, **options)
    cfg.backbone.dynopool.stem = True
    return cfg


class NoMetric(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results += [0] * len(data_samples)

    def compute_metrics(self, results):
        return dict(images=len(results))


class Watch(Hook):
    """Notes the alphas after each iteration, behind all other hooks."""

    priority = 'LOWEST'

    def __init__(self):
        self.alphas = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.alphas.append(alphas_of(runner.model))


def alphas_of(model):
    """The alphas of a model, ``(pools, 2)``."""
    return torch.stack([m.alpha.detach().clone() for m in model.modules()
                        if isinstance(m, DynOPool)])


def train(work_dir, model=None, iterations=10, hooks=(), batch_size=2, seed=0, lr=0.05,
          alpha_lr=1.0, val_interval=None, save_every=None, resume=None, load_from=None,
          checkpoint=None, hook=None, **optim_wrapper):
    """Train by SGD with momentum, the alphas in groups of their own; returns the runner.

    ``model``: its config, by default a `small_segmentor`. ``hook``: options of `DynOPoolHook`
    beside its jitter, or False for none. With ``alpha_lr=None`` the alphas are in no group of
    their own.
    """
    val = {} if val_interval is None else dict(
        val_dataloader=_loader(2, 'DefaultSampler'), val_cfg=dict(),
        val_evaluator=Evaluator([NoMetric()]))
    runner = Runner(
        model=model or small_segmentor(),
        work_dir=str(work_dir),
        train_dataloader=_loader(batch_size, 'InfiniteSampler'),
        train_cfg=dict(by_epoch=False, max_iters=iterations, val_interval=val_interval or 10**6),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=1e-4),
            **({} if alpha_lr is None else dict(paramwise_cfg=dict(custom_keys=dict(
                dynopools=dict(lr_mult=alpha_lr / lr, decay_mult=0.)))))) | optim_wrapper,
        custom_hooks=[*([] if hook is False else [
            dict(type='DynOPoolHook', **dict(jitter=0.1) | (hook or {}))]), *hooks],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=iterations),
            checkpoint=dict(type='CheckpointHook', interval=save_every or iterations,
                            by_epoch=False)),
        resume=resume is not None,
        load_from=str(resume or load_from) if resume or load_from else None,
        randomness=dict(seed=seed),
        default_scope='mmseg',
        log_level='WARNING',
        experiment_name=str(work_dir).replace('/', '-'),
        **val)
    runner.checkpoint = checkpoint
    runner.train()
    return runner


def _loader(batch_size, sampler):
    return dict(dataset=Shapes(), batch_size=batch_size, num_workers=0,
                sampler=dict(type=sampler, shuffle=False), collate_fn=dict(type='pseudo_collate'))
