"""The runs of docs/fit.md: trained stock networks, fitted to half of their time."""

import copy
import json
import math
import time
from pathlib import Path

from mmengine.config import Config

from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.config import how_to_run
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.costs import fit_latency, measure_latency, probe_complexity
from mmseg_dynopool.costs.latency_fit import relative_times
from mmseg_dynopool.files import make_folder, write_file
from mmseg_dynopool.fit.fitting import Fitting, FittingOptions, Tuned
from mmseg_dynopool.fit.jobs import Job, run_jobs
from mmseg_dynopool.fit.settings import resized_config
from mmseg_dynopool.layers import learned_pools
from mmseg_dynopool.models.whole_network import network_forward

from .candidates import STRETCH, describe, load
from .runs import Run
from .train import VAL, circumstances, has_test_half


def finish(run: Run, work_dir: Path, scales: dict | None = None) -> dict:
    """Train a stock network, fit it, and fine-tune its rivals; returns the JSON line."""
    start = time.time()
    stock = Run(run.network, run.data, 'stock', 1., run.seed, run.options)
    file, overrides = describe(stock)
    cfg = load(file, overrides)
    folder = make_folder(Path(work_dir, stock.key))
    seconds, weights = _trained(cfg, folder)
    fitting = Fitting(copy.deepcopy(cfg), str(weights), make_folder(folder / run.method),
                      FittingOptions(unit=run.method, latency=_latency(run, work_dir)))
    if run.method == 'time':
        _time(fitting)
    clock = _Clock()
    found = fitting.search(run.ratio)
    clock('search')
    tuned = fitting.compare(fitting.candidates(found))
    clock('compare')
    ends = dict(fit=fitting.finish(tuned[0]))
    clock('finish')
    sizes = dict(fit=tuned[0])
    for name, aspect in (('plain', 1.), ('squeezed', STRETCH.get(run.data))):
        if aspect:
            place = min((n for n, size in enumerate(found.tried) if not size.inner),
                        key=lambda n: abs(found.tried[n].aspect + math.log(aspect)))
            sizes[name] = Tuned(found.tried[place], found.racers[place].mean, 0., 0.)
            ends[name] = fitting.finish(sizes[name])
    learned, ends['learned'] = _learned(run, fitting)
    configs = {name: fitting.config(one.size) for name, one in sizes.items()}
    configs['learned'] = learned
    configs |= dict(stock=cfg, untouched=configs['plain'], untouched_fit=configs['fit'])
    ends |= dict(stock=weights, untouched=weights, untouched_fit=weights)
    scores = {name: _scores(fitting, configs[name], ends[name]) for name in configs}
    scale = _image_scale(fitting, learned, ends['learned'])
    shown = {name: one.size.size for name, one in sizes.items()} | dict(
        learned=[round(n * s) for n, s in zip(fitting.shape, scale)])
    scales = {name: fitting.scales(one.size) for name, one in sizes.items()}
    scales['learned'] = dict.fromkeys(fitting.scales(), scale)  # the image's alone
    time_ratios, gmacs_ratios = _costs(fitting, scales)
    return dict(
        key=run.key, network=run.network, data=run.data, method=run.method,
        target_ratio=run.ratio, options=dict(run.options), seed=run.seed, config=file,
        miou=scores['fit'][0], gmacs_ratio=gmacs_ratios['fit'], scores=scores, sizes=shown,
        gmacs_ratios=gmacs_ratios, time_ratios=time_ratios,
        judged={one.name: [one.score, one.score_behind, one.score_noise] for one in tuned},
        search=[(size.size, racer.mean, len(racer.losses))
                for size, racer in zip(found.tried, found.racers)],
        stock_seconds=seconds, stage_seconds=clock.seconds,
        seconds=round(time.time() - start, 1), **circumstances())


class _Clock:
    """Seconds between calls, by names."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.time()

    def __call__(self, name: str) -> None:
        now = time.time()
        self.seconds[name], self.last = round(now - self.last, 1), now


def _trained(cfg: Config, folder: Path) -> tuple[float, Path]:
    """The stock network's training, once for all targets; its seconds, and its checkpoint."""
    settings = copy.deepcopy(cfg)
    last = cfg.train_cfg.max_iters
    settings.default_hooks.checkpoint.interval = last
    settings.train_cfg.val_interval = last
    settings.work_dir = str(folder)
    job = Job(folder / 'stock.py', folder, folder / f'iter_{last}.pth')
    said = folder / 'seconds.json'
    if not job.is_done:
        write_file(job.config, config_text(settings).encode())
        before = time.time()
        run_jobs([job], 'cpu')
        write_file(said, json.dumps(time.time() - before).encode())
    return round(json.loads(said.read_text()), 1), job.checkpoint


def _latency(run: Run, work_dir: Path) -> str | None:
    """Times of a network, measured once for all its seeds."""
    path = Path(work_dir, f'latency_{run.network}_{run.data}.json')
    return str(path) if run.method == 'time' else None


def _time(fitting: Fitting) -> None:
    path = Path(str(fitting.options.latency))
    if not path.is_file():
        run = network_forward(fitting.model, fitting.shape, **how_to_run(fitting.cfg))
        fit_latency(fitting.model, fitting.shape, *run).save(path)


def _learned(run: Run, fitting: Fitting) -> tuple[Config, Path]:
    """The image's scale learned in one fine-tuning, from the stock network's size."""
    cfg = resized_config(fitting.cfg, multiple=fitting.multiple)
    budget = dict(gmacs_budget=dict(target=run.ratio)) if run.method == 'gmacs' else dict(
        latency_budget=dict(target=run.ratio, model=str(Path(str(fitting.options.latency))
                                                        .resolve())))
    job = fitting.fine_tuning(cfg, make_folder(fitting.out / 'learned'), 'learned',
                              fitting.iterations, dict(type='DynOPoolHook', jitter=0.1, **budget))
    if not job.is_done:
        run_jobs([job], 'cpu')
    return cfg, job.checkpoint


def _scores(fitting: Fitting, cfg: Config, checkpoint: Path) -> list[float]:
    """mIoU on the validation half, and on the test half where there is one."""
    halves: list[list[int] | None] = [None]
    if has_test_half(cfg.val_dataloader.dataset.data_root):
        halves = [list(range(VAL)), list(range(VAL, 2 * VAL))]
    scores = []
    for half in halves:
        cfg = copy.deepcopy(cfg)
        if half:
            cfg.val_dataloader.dataset.indices = half
        scores.append(round(fitting.evaluate(cfg, checkpoint, None).score(), 2))
    return scores


def _image_scale(fitting: Fitting, cfg: Config, checkpoint: Path) -> tuple[float, float]:
    level, = learned_pools(load_network(cfg, str(checkpoint), 'cpu')).values()
    height, width = level.output_size(fitting.shape)
    return height / fitting.shape[0], width / fitting.shape[1]


def _costs(fitting: Fitting, scales: dict[str, dict]) -> tuple[dict, dict]:
    """Time by turns and multiply-adds, relative to the stock network's."""
    run = network_forward(fitting.model, fitting.shape, **how_to_run(fitting.cfg))
    at_start = fitting.scales()
    seconds = measure_latency(fitting.model, [at_start, *scales.values()], fitting.shape, *run)
    count = probe_complexity(fitting.model, fitting.shape, *run).counted(fitting.model)
    macs = [count({level: [1 / s for s in pair] for level, pair in at.items()})
            for at in (at_start, *scales.values())]
    return ({name: round(float(t), 4) for name, t in zip(scales, relative_times(seconds)[1:])},
            {name: round(n / macs[0], 4) for name, n in zip(scales, macs[1:])})
