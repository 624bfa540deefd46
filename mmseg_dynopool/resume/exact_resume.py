"""A run that was killed and resumed ends as if nothing had happened.

mmengine saves weights, optimizer, schedulers and counters, but no random states. So each random
number becomes a function of the seed, the rank and the place in the training.
"""

from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed

from mmseg_dynopool.config import find_type

from .checkpoint_hook import SafeCheckpointHook
from .seeded import SeededSampler, combined_seed


def make_resumable(cfg: Config) -> Config:
    """Make a training config's runs resume exactly, in place; ``tools/train.py`` calls it.

    The sampler, the data set and mmengine's CheckpointHook are replaced by ours, and
    [`IterationSeedHook`][mmseg_dynopool.resume.IterationSeedHook] is added, once.

    Args:
        cfg: the config, which is changed and returned.

    Examples:
        >>> from mmengine.config import Config
        >>> from mmseg_dynopool.resume import make_resumable
        >>> cfg = Config(dict(train_dataloader=dict(
        ...     sampler=dict(type='InfiniteSampler'), dataset=dict(type='CityscapesDataset'))))
        >>> cfg = make_resumable(cfg)
        >>> cfg.train_dataloader.sampler.type, cfg.default_hooks.checkpoint.type
        ('SeededSampler', 'SafeCheckpointHook')
        >>> cfg.custom_hooks
        [{'type': 'IterationSeedHook'}]
    """
    loader = cfg.get('train_dataloader')
    is_plain = isinstance(loader, dict) and isinstance(loader.get('sampler'), dict)
    if is_plain and loader.get('batch_sampler') is None:
        if find_type(DATA_SAMPLERS, loader.sampler) is not SeededSampler:
            loader.sampler = dict(type='SeededSampler', sampler=loader.sampler)
            loader.dataset = dict(type='SeededDataset', dataset=loader.dataset)
    else:
        print_log('the training data come without a sampler, or with a batch_sampler: their '
                  'random augmentation will not repeat when the run is resumed', 'current')
    cfg.default_hooks = cfg.get('default_hooks') or {}
    # mmengine adds its own hook if the key is absent, none if it is None.
    checkpoint = cfg.default_hooks.setdefault(
        'checkpoint', dict(type='SafeCheckpointHook', interval=1))
    if isinstance(checkpoint, dict) and find_type(HOOKS, checkpoint) is CheckpointHook:
        checkpoint['type'] = 'SafeCheckpointHook'
    hooks = cfg.get('custom_hooks') or []
    if not any(find_type(HOOKS, hook) is IterationSeedHook for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type='IterationSeedHook')]
    return cfg


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds all generators before every training step, by seed, rank and iteration.

    Dropout and the like then repeat in a resumed run. Data have seeds of their own. Warns of
    settings with which a resumed run cannot be exact.

    Examples:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from mmseg_dynopool.resume import IterationSeedHook  # custom_hooks: by its name
        >>> hook, runner = IterationSeedHook(), SimpleNamespace(seed=0, iter=500)
        >>> hook.before_train_iter(runner, 500)
        >>> noise = torch.rand(4)
        >>> hook.before_train_iter(runner, 500)  # of the run that was killed and resumed
        >>> (torch.rand(4) - noise).abs().max()
        tensor(0.)
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        if not isinstance(runner.train_dataloader.sampler, SeededSampler):
            runner.logger.warning(
                'random augmentation will not repeat when this run is resumed; start it with '
                'tools/train.py of mmseg_dynopool')
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                self._check_interval(runner, hook)
                if not isinstance(hook, SafeCheckpointHook):
                    runner.logger.warning(
                        'a kill while %s writes may leave no whole checkpoint; use '
                        "type='SafeCheckpointHook'", type(hook).__name__)

    @staticmethod
    def _check_interval(runner: Runner, hook: CheckpointHook) -> None:
        accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        in_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
        saves = [('checkpoint', hook.interval, hook.by_epoch)]
        if hook.save_best:  # saves after a validation, too
            saves.append(('val_interval', runner.train_loop.val_interval, in_epochs))
        for name, interval, by_epoch in saves:
            iterations = interval * (len(runner.train_dataloader) if by_epoch else 1)
            if interval > 0 and iterations % accumulated:
                runner.logger.warning(
                    '%s: checkpoints every %d iterations fall between accumulated gradients, '
                    'which a resumed run would lose; make it a multiple of '
                    'accumulative_counts=%d', name, iterations, accumulated)
        if in_epochs and not hook.by_epoch:
            runner.logger.warning(
                'checkpoints within an epoch: a resumed run starts its epoch anew; set '
                'by_epoch=True of the checkpoint hook for an exact one')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
                          ) -> None:
        set_random_seed(combined_seed(runner.seed, get_rank(), runner.iter))
