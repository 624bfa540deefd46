"""A project whose two networks were trained for 20 iterations."""

import time

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from support.toys import write_project


class Kill(Hook):
    """Ends a training after ten iterations, as a machine would."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 10:
            raise KeyboardInterrupt


@pytest.fixture(scope='package')
def trained(cityscapes, tmp_path_factory):
    """A folder with the work dirs ``learned`` (a budget; resumed half-way) and ``stock``, and
    mmseg's metrics of both.

    Before they are tested the alphas leave 2, and noise makes the networks, which have learned
    little, predict many classes.
    """
    folder = tmp_path_factory.mktemp('trained')
    write_project(folder, cityscapes)
    init_default_scope('mmseg')
    metrics = {}
    for name, config in (('learned', 'my_dynopool_config.py'), ('stock', 'my_hrnet_config.py')):
        cfg = Config.fromfile(folder / config)

        def runner(work_dir, cfg=cfg):
            cfg.work_dir = str(folder / work_dir)
            # mmengine shares loggers and visualizers by name.
            cfg.visualizer.name = cfg.experiment_name = f'{folder}-{work_dir}-{time.time_ns()}'
            return Runner.from_cfg(cfg)

        cfg.optim_wrapper.optimizer.lr = 0.1
        cfg.default_hooks.checkpoint.interval = cfg.train_cfg.val_interval = 10
        cfg.train_cfg.max_iters = 20
        if name == 'learned':
            killed = runner(name)
            killed.register_hook(Kill())
            with pytest.raises(KeyboardInterrupt):
                killed.train()
            time.sleep(1.1)  # a log's folder has its second for a name
            cfg.resume = True
        runner(name).train()
        path = folder / name / 'iter_20.pth'
        checkpoint = torch.load(path, weights_only=False)
        torch.manual_seed(1)
        for key, value in checkpoint['state_dict'].items():
            if key.endswith('.alpha'):
                value.copy_(torch.tensor([2.7, 1.6]))
            if key.endswith('conv_seg.weight'):
                value += torch.randn_like(value)
        torch.save(checkpoint, path)
        cfg.load_from, cfg.resume = str(path), False
        metrics[name] = runner(f'test-{name}').test()
    return folder, metrics
