"""Train one run and measure it."""

import contextlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import mmengine
import mmseg
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmseg.registry import MODELS

import mmseg_dynopool
from mmseg_dynopool.costs import time_alternately
from mmseg_dynopool.layers import freeze_pools
from mmseg_dynopool.layers.find import all_pools, by_short_name
from mmseg_dynopool.models import count_network_gmacs

from .candidates import describe, load
from .probes import at_other_sizes, behind_odd_maps
from .runs import Run
from .slopes import compare_slopes

VAL = 200  # images; of 400, as by `fashion_scenes --val 400`, the others are a test half
REPEATS = dict(train=7, test=21)


def prepare_worker() -> None:
    """One thread each, so that runs side by side do not contend."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def finish(run: Run, work_dir: Path, scales: dict | None = None) -> dict:
    """Train and measure; returns the JSON line. Its messages go to a file in ``work_dir``."""
    start = time.time()
    with quiet_folder(work_dir, run.key) as folder:
        file, overrides = describe(run, scales)
        config = load(file, overrides)
        config.merge_from_dict({
            'work_dir': str(folder), 'experiment_name': run.key, 'visualizer.name': run.key,
            'visualizer.vis_backends': [], 'default_hooks.checkpoint': None,
            'log_level': 'WARNING'})
        halves = has_test_half(run.folder)
        if halves:  # nothing is chosen on the second one
            config.val_dataloader.dataset.indices = VAL
            config.test_dataloader.dataset.indices = list(range(VAL, 2 * VAL))
        runner = Runner.from_cfg(config)
        runner.train()
        miou = runner.message_hub.get_scalar('val/mIoU').current()
        tested = dict(miou_test=float(runner.test()['mIoU'])) if halves else {}
        probed = {}  # before times are measured, which moves a norm's running statistics
        if dict(run.options).get('probe'):
            probed['miou_at'] = at_other_sizes(runner.model, config)
            if run.method == 'stock':
                probed['miou_behind'] = behind_odd_maps(runner.model, config)
        result = dict(
            key=run.key, network=run.network, data=run.data, method=run.method,
            target_ratio=run.ratio, options=dict(run.options), seed=run.seed, config=file,
            overrides=overrides, miou=miou, **tested, **probed,
            **_measure(runner.model, run, config), scales=scales_of(runner.model),
            grad_snr=_gradient_snr(runner, config))
        if run.method == 'slopes':
            result.update(slopes=compare_slopes(runner.model, config))
    return result | dict(seconds=round(time.time() - start, 1), **circumstances())


def has_test_half(folder: str) -> bool:
    """Whether a data set has twice as many images for validation as are taken for it."""
    return len(list(Path(folder, 'images', 'val').glob('*.png'))) >= 2 * VAL


@contextlib.contextmanager
def quiet_folder(work_dir: Path, key: str) -> Iterator[Path]:
    """A run's folder, with what it prints in a file; it goes when the run has succeeded."""
    folder = Path(work_dir, key)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'log.txt', 'w') as log, contextlib.redirect_stdout(log), \
            contextlib.redirect_stderr(log):
        yield folder
    shutil.rmtree(folder)


def scales_of(model) -> dict:
    """``{instance: [r_h, r_w]}`` of all poolings, learned or fixed."""
    return {name: [round(float(s), 4) for s in pool.scale]
            for name, pool in by_short_name(all_pools(model)).items()}


def _measure(model, run: Run, config) -> dict:
    """Cost and time relative to the stock network, on the same images."""
    file, overrides = describe(Run(run.network, run.data, 'stock', 1., 0))
    stock_config = load(file, overrides)
    stock = MODELS.build(stock_config.model)
    counts = [count_network_gmacs(m, c.model.data_preprocessor.size)
              for m, c in ((model, config), (stock, stock_config))]
    # As it would be deployed; a ShapeAdaptor has no constant form.
    pools = all_pools(model).values()
    constant = all(pool.can_be_constant for pool in pools)
    deployed = freeze_pools(model) if constant else model
    ratios = {}
    for name, candidate, batch, step in (('train', model, 8, _train_step),
                                         ('test', deployed, 1, _predict)):
        steps = dict(candidate=step(candidate, _batch(candidate, config, batch)),
                     stock=step(stock, _batch(stock, stock_config, batch)))
        seconds = time_alternately(steps, REPEATS[name], 'cpu')
        ratios[f'{name}_time_ratio'] = round(  # by rounds: what else runs slows both of one
            float(np.median(np.divide(seconds['candidate'], seconds['stock']))), 4)
        ratios[f'{name}_seconds'] = round(float(np.median(seconds['candidate'])), 5)
    return dict(gmacs=counts[0], gmacs_ratio=counts[0] / counts[1], **ratios)


def _batch(model, config, count: int) -> dict:
    dataset = DATASETS.build(config.train_dataloader.dataset)
    return model.data_preprocessor(pseudo_collate([dataset[i] for i in range(count)]), True)


def _train_step(model, batch: dict):

    def step():
        model.train()
        model.zero_grad()
        losses = model(**batch, mode='loss')
        sum(value for name, value in losses.items() if 'loss' in name).backward()

    return step


def _predict(model, batch: dict):

    def step():
        model.eval()
        with torch.no_grad():
            model(**batch, mode='predict')

    return step


def _gradient_snr(runner, config) -> dict:
    """Mean |mean| / std of alpha's gradient, by instance and axis, of the lines before settling."""
    settle = next((hook['gmacs_budget'].get('settle', 0.85) for hook in config.get(
        'custom_hooks') or () if hook.get('gmacs_budget')), 0.85)
    found = {}
    for name, history in runner.message_hub.log_scalars.items():
        if 'grad_snr' in name:
            values = history.data[0]
            values = values[:int(settle * len(values))]
            _, _, instance, scalar = name.split('/')
            found.setdefault(instance, {})[scalar[-1]] = round(float(np.mean(values)), 3)
    return {instance: [pair['h'], pair['w']] for instance, pair in found.items()}


def circumstances() -> dict:
    """When, with what and on which machine."""
    root = Path(__file__).resolve().parents[2]
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=root, text=True,
                            capture_output=True).stdout.strip()
    return dict(
        date=time.strftime('%Y-%m-%d'), commit=commit, machine=f'{os.cpu_count()} cores '
        f'{platform.machine()}, one thread',
        versions=dict(mmseg_dynopool=mmseg_dynopool.__version__, torch=torch.__version__,
                      mmengine=mmengine.__version__, mmseg=mmseg.__version__))
