"""The demo, in a few steps of training."""

from pathlib import Path

from support.commands import tool_process
from support.shared import made_once


def run_demo(tmp_path_factory) -> tuple[Path, str]:
    """The demo's folder and what it printed; one for all workers, for it takes long."""

    def make(folder):
        printed = tool_process(
            'demo', '--images', 2, '--repeats', 1, '--cfg-options', 'train_cfg.max_iters=20',
            'train_cfg.val_interval=20', 'train_dataloader.batch_size=2',
            'param_scheduler.0.end=20', 'default_hooks.logger.interval=1',
            'optim_wrapper.optimizer.lr=0.02', 'val_dataloader.dataset.indices=6', cwd=folder)
        (folder / 'printed').write_text(printed)

    folder = made_once(tmp_path_factory, 'demo', make)
    return folder, (folder / 'printed').read_text()
