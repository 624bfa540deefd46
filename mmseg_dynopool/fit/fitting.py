"""From a trained network and a wanted cost to a fine-tuned network, stage by stage on disk."""

import io
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmseg_dynopool.analysis.evaluation import AREAS, Evaluation, ImageEvaluation, evaluate
from mmseg_dynopool.checkpoints import Checkpoint, load_network
from mmseg_dynopool.config import (
    adapt_to_devices,
    counted_shape,
    enter_scope,
    how_to_run,
    is_segmentor,
)
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.costs import Cost, LatencyModel, fit_latency, probe_complexity
from mmseg_dynopool.costs.milliseconds import LatencyCost
from mmseg_dynopool.files import make_folder, write_file
from mmseg_dynopool.layers import ImageResize
from mmseg_dynopool.layers.find import learned_pools
from mmseg_dynopool.layers.image import image_levels
from mmseg_dynopool.models.whole_network import network_forward
from mmseg_dynopool.search.image_sizes import ImageSize
from mmseg_dynopool.search.race import Racer
from mmseg_dynopool.search.search import SearchResult, search_sizes

from .batches import draw_batches, loss_of
from .jobs import Job, run_jobs
from .settings import fine_tuning_config, resized_config, training_iterations

UNITS = ('ms', 'time', 'gmacs')
LEVELS = ('image', 'all')
# Finer than a total stride; the last is what the network asks for.
_MULTIPLES = (8, 16, 32, None)
_SHORT = 1 / 3  # of a fine-tuning, after which the candidates are compared


@dataclass(frozen=True)
class FittingOptions:
    """What a fit is to reach, and how.

    Attributes:
        unit: ``'ms'``, ``'time'`` or ``'gmacs'``; the last two are relative to the stock network.
        shape: ``(H, W)`` of the whole image at which the cost counts; default: the training crop.
        latency: a file of times that ``latency`` wrote; default: measured on ``device``.
        batches: of the search, at most.
        candidates: sizes that are fine-tuned, beside the plain smaller input.
        baseline: whether the plain smaller input of the same cost is fine-tuned, too.
        share: length of the fine-tuning, relative to the training's.
        iterations: the same in steps, in the place of ``share``.
        lr: initial lr, relative to the training's.
        held: share of the training data that is held back to judge by; None for the config's
            validation data.
        multiple: of pixels, of the image's sides; default: 8, or what the network asks for.
        levels: ``'image'``, or ``'all'`` to look at resizing in front of inner layers, too.
        seed: of the search's batches.
        device: for measuring, search and evaluation.
        amp: search in bfloat16.
    """

    unit: str = 'gmacs'
    shape: tuple[int, int] | None = None
    latency: str | None = None
    batches: int = 16
    candidates: int = 3
    baseline: bool = True
    share: float = 0.1
    iterations: int | None = None
    lr: float = 0.2
    held: float | None = 0.1
    multiple: int | None = None
    levels: str = 'image'
    seed: int = 0
    device: str = 'cpu'
    amp: bool = False

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f'unit must be one of {UNITS}, got {self.unit!r}')
        if self.levels not in LEVELS:
            raise ValueError(f'levels must be one of {LEVELS}, got {self.levels!r}')
        for name in ('share', 'lr', 'held'):
            value = getattr(self, name)
            if value is not None and not 0 < value < (1 if name == 'held' else math.inf):
                raise ValueError(f'{name} must be a positive share, e.g. 0.1, got {value!r}')
        for name in ('batches', 'candidates', 'iterations'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, got {value!r}')


@dataclass
class Tuned:
    """A size that is fine-tuned.

    Attributes:
        size: of the image, and what the network costs there.
        loss: of the untouched network, its mean on the batches of the race.
        behind, noise: how much that is behind the best, and the standard error of it.
        score: after the first third, in percent; None before.
        score_behind, score_noise: how much that is behind the best, and the standard error of it.
        plain: whether it is the plain smaller input.
    """

    size: ImageSize
    loss: float
    behind: float
    noise: float
    score: float | None = None
    score_behind: float = 0.0
    score_noise: float = 0.0
    plain: bool = False

    @property
    def name(self) -> str:
        """Of its folder."""
        return str(self.size).replace(' x ', 'x').replace(', ', '_').replace(' by ', '_')


def sizable(cfg: Config, load: Callable[[Config], BaseModel], levels: str = 'image',
            multiple: int | None = None) -> BaseModel:
    """A network behind an image of any size, whose sides are multiples of ``multiple``.

    Default: of 8, or the least that the network takes.

    Raises:
        ValueError: it has no backbone, or its sizes cannot change.
    """
    *earlier, last = (multiple,) if multiple else _MULTIPLES
    for tried in earlier:
        with suppress(ValueError):
            return load(resized_config(cfg, multiple=tried, levels=levels))
    return load(resized_config(cfg, multiple=last, levels=levels))


@dataclass
class Fitting:
    """The stages of a fit; each leaves its result in the folder, and a second call reads it.

    Attributes:
        cfg: config of the stock network, with its training.
        checkpoint: its weights.
        out: folder of the fit.
        options: see `FittingOptions`.

    Raises:
        ValueError: see the stages.
    """

    cfg: Config
    checkpoint: str
    out: Path
    options: FittingOptions = field(default_factory=FittingOptions)

    def __post_init__(self) -> None:
        make_folder(self.out)
        adapt_to_devices(self.cfg)
        enter_scope(self.cfg)
        self._check_same_fit()

    @cached_property
    def weights(self) -> Checkpoint:
        """The trained network's."""
        return Checkpoint.read(self.checkpoint)

    @cached_property
    def model(self) -> BaseModel:
        """The trained network behind an image of any size."""
        def load(cfg: Config) -> BaseModel:
            return load_network(cfg, self.weights, self.options.device)

        return sizable(self.cfg, load, self.options.levels, self.options.multiple)

    @property
    def multiple(self) -> int:
        """Of pixels, of which the image's sides are multiples."""
        return self._image[1].multiple

    @cached_property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` of the whole image."""
        shape = self.options.shape or counted_shape(self.cfg)
        if shape is None:
            raise ValueError('the config names no training crop; give --shape H W')
        return shape

    @cached_property
    def cost(self) -> Cost:
        """What the network costs as a function of the image's size."""
        run = network_forward(self.model, self.shape, **how_to_run(self.cfg))
        complexity = probe_complexity(self.model, self.shape, *run)
        if self.options.unit == 'gmacs':
            return complexity
        given = self.options.latency
        path = Path(given) if given else self.out / 'latency.json'
        if not path.is_file():
            if given:
                raise ValueError(f'there is no file {given!r}; leave --latency out, to measure on '
                                 'this machine')
            fit_latency(self.model, self.shape, *run).save(path)
        return LatencyCost(LatencyModel.load(path), complexity)

    @cached_property
    def whole(self) -> float:
        """What the stock network costs, in the cost's unit."""
        return self.cost.counted(self.model)({
            name: [1.0, 1.0] for name in learned_pools(self.model)})

    def search(self, target: float, on_round: Callable[[int, int], None] | None = None
               ) -> SearchResult:
        """Sizes at a target, by forward passes; see `search_sizes`."""
        path = self.out / 'search.json'
        known = json.loads(path.read_text()) if path.is_file() else {}
        key = f'{target:g} {self.options.unit}'
        if key not in known:
            relative = target / self.whole if self.options.unit == 'ms' else target
            found = search_sizes(
                self.model, loss_of(self.options.amp), self._batches, self.cost, relative,
                keep=max(3, self.options.candidates), seed=self.options.seed, on_round=on_round)
            known[key] = dict(
                plain=found.plain, whole=self.whole, unit=self.cost.unit,
                tried=[dict(size._asdict(), **racer._asdict()) for size, racer in zip(
                    found.tried, found.racers)])
            write_file(path, json.dumps(known, indent=1).encode())
        entry = known[key]
        return SearchResult(
            tuple(ImageSize(tuple(t['size']), tuple(t['scale']), t['cost'],
                            {name: tuple(pair) for name, pair in t['inner'].items()})
                  for t in entry['tried']),
            tuple(Racer(tuple(t['losses']), t['behind'], t['noise']) for t in entry['tried']),
            entry['plain'])

    def candidates(self, found: SearchResult) -> list[Tuned]:
        """What is fine-tuned: the best of a search, and the plain smaller input."""
        numbers = list(range(min(self.options.candidates, len(found.tried))))
        if self.options.baseline and found.plain not in numbers:
            numbers.append(found.plain)
        return [Tuned(found.tried[n], found.racers[n].mean, found.racers[n].behind,
                      found.racers[n].noise, plain=n == found.plain) for n in numbers]

    @cached_property
    def iterations(self) -> int:
        """Length of a fine-tuning in steps."""
        if self.options.iterations:
            return self.options.iterations
        loader = 0
        if not (self.cfg.get('train_cfg') or {}).get('max_iters'):
            loader = len(Runner.build_dataloader(self.cfg.train_dataloader))
        return max(1, round(self.options.share * training_iterations(self.cfg, loader)))

    def job(self, tuned: Tuned, whole: bool = False) -> Job:
        """The fine-tuning of a candidate, to its first third or to its end: a config, a folder."""
        stop = self.iterations if whole else max(1, round(_SHORT * self.iterations))
        return self.fine_tuning(self.config(tuned.size), self._folder(tuned),
                                'whole' if whole else 'third', stop)

    def fine_tuning(self, cfg: Config, folder: Path, name: str, stop: int, *hooks: dict) -> Job:
        """The fine-tuning of a config to an iteration, in a file of that name; not run yet."""
        job = Job(folder / f'{name}.py', folder, folder / f'iter_{stop}.pth')
        if not job.is_done:
            settings = fine_tuning_config(
                cfg, str(Path(self.checkpoint).resolve()) if '://' not in self.checkpoint
                else self.checkpoint, self.iterations, stop, self.options.lr, self.options.held)
            for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):  # judged afterwards
                settings[key] = None
            settings.custom_hooks = [*settings.custom_hooks, *hooks]
            settings.work_dir = str(folder)
            write_file(job.config, config_text(settings).encode())
        return job

    def _judge(self, tuned: Tuned, job: Job | None = None) -> Evaluation:
        """A network, untouched or fine-tuned, on the data that the fine-tuning does not see."""
        path = self._folder(tuned) / 'untouched.npz'
        if job is not None:
            path = job.checkpoint.with_suffix('.npz')
        if not path.is_file():
            found = self.evaluate(self.config(tuned.size), job.checkpoint if job else
                                  self.checkpoint, self.options.held)
            content = io.BytesIO()
            np.savez(content, **{name: getattr(found, name) for name in AREAS})
            write_file(path, content.getvalue())
        kind = Evaluation if is_segmentor(self.cfg.model) else ImageEvaluation
        with np.load(path) as areas:
            return kind([], [], [], dataset=cast(Any, None),
                        **{name: areas[name] for name in AREAS})

    def evaluate(self, cfg: Config, checkpoint: str | Path, held: float | None) -> Evaluation:
        """A network on images: held back ones, or those of the config's validation."""
        if held is not None:
            cfg = fine_tuning_config(cfg, str(checkpoint), self.iterations, held=held)
        model = load_network(cfg, str(checkpoint), self.options.device)
        return evaluate(model, cfg)

    def compare(self, tuned: Sequence[Tuned]) -> list[Tuned]:
        """Fine-tune candidates for a third, and judge them: the choice first, then by score.

        Of those whose score is within a standard error of the best one's, the choice is the one
        whose untouched network lost least.
        """
        jobs = [self.job(one) for one in tuned]
        run_jobs([job for job in jobs if not job.is_done], self.options.device)
        judged = [self._judge(one, job) for one, job in zip(tuned, jobs)]
        best = max(judged, key=lambda evaluation: evaluation.score())
        for one, evaluation in zip(tuned, judged):
            one.score = evaluation.score()
            one.score_behind, one.score_noise = evaluation.behind(best)
        choice = min((one for one in tuned if one.score_behind <= one.score_noise),
                     key=lambda one: one.loss)
        return [choice, *sorted((one for one in tuned if one is not choice),
                                key=lambda one: one.score_behind)]

    def finish(self, tuned: Tuned) -> str | Path:
        """Fine-tune one to its end; returns its checkpoint.

        Where the untouched network is ahead of it by more than a standard error, that is the
        trained one.
        """
        job = self.job(tuned, whole=True)
        if not job.is_done:
            run_jobs([job], self.options.device)
        behind, noise = self._judge(tuned, job).behind(self._judge(tuned))
        return self.checkpoint if behind > noise else job.checkpoint

    def _folder(self, tuned: Tuned) -> Path:
        return make_folder(self.out / 'candidates' / tuned.name)

    @cached_property
    def _batches(self) -> list[Any]:
        cfg = self.cfg
        if self.options.held is not None:  # what is judged on is not searched on
            cfg = fine_tuning_config(cfg, self.checkpoint, 1, held=self.options.held)
        return draw_batches(cfg, self.options.batches, self.options.seed)

    @property
    def _image(self) -> tuple[str, ImageResize]:
        (name, level), = image_levels(self.model).items()
        return name, cast(ImageResize, level)

    def scales(self, size: ImageSize | None = None) -> dict[str, tuple[float, float]]:
        """Of all levels at a size, or of the trained network."""
        scales = dict.fromkeys(learned_pools(self.model), (1.0, 1.0))
        return scales if size is None else scales | {self._image[0]: size.scale, **size.inner}

    def config(self, size: ImageSize) -> Config:
        """The config of the network at constant sizes."""
        inner = {name.rpartition('.')[2]: scale for name, scale in size.inner.items()}
        return resized_config(self.cfg, size.scale, self.multiple, inner)

    def _check_same_fit(self) -> None:
        """What lies in the folder must be of the same network and settings.

        Raises:
            ValueError: it is of others.
        """
        path = self.out / 'fit.json'
        options = asdict(self.options)
        for name in ('device', 'candidates', 'baseline'):  # no result depends on them
            options.pop(name)
        said = json.loads(json.dumps(dict(
            model=self.cfg.model.to_dict(), checkpoint=self.checkpoint, options=options),
            default=str))
        if not any(other.name != path.name for other in self.out.iterdir()) or not path.is_file():
            write_file(path, json.dumps(said, indent=1).encode())  # nothing was reached yet
            return
        there = json.loads(path.read_text())
        if there != said:
            other = [key for key in said if there.get(key) != said[key]]
            raise ValueError(f'{str(self.out)!r} holds a fit with other {", ".join(other)}; choose '
                             'another folder, or remove that one')
