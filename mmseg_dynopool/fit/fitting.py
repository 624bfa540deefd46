"""From a trained network and a wanted cost to a fine-tuned network, stage by stage on disk."""

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor

from mmseg_dynopool.analysis.evaluation import AREAS, Evaluation, evaluate, evaluation_type
from mmseg_dynopool.checkpoints import Checkpoint, load_network
from mmseg_dynopool.config import adapt_to_devices, enter_scope, how_to_run, input_shape
from mmseg_dynopool.config_text import config_text
from mmseg_dynopool.costs import Cost, LatencyModel, fit_latency, probe_complexity
from mmseg_dynopool.costs.milliseconds import LatencyCost
from mmseg_dynopool.files import make_folder, write_file
from mmseg_dynopool.layers.find import learned_pools
from mmseg_dynopool.layers.image import image_levels
from mmseg_dynopool.models.whole_network import loss_of, network_forward
from mmseg_dynopool.ops.size import check_whole
from mmseg_dynopool.search.image_sizes import ImageSize
from mmseg_dynopool.search.race import Racer
from mmseg_dynopool.search.search import SearchResult, search_sizes

from .batches import draw_batches
from .jobs import Job, run_jobs
from .settings import fine_tuning_config, resized_config, sizable, training_iterations

UNITS = ('ms', 'time', 'gmacs')
LEVELS = ('image', 'all')
_SHORT = 1 / 3  # of a fine-tuning, after which the candidates are compared


@dataclass(frozen=True)
class FittingOptions:
    """What a fit is to reach, and how; the options of ``tools/fit.py``."""

    unit: str = 'gmacs'  # of targets: 'ms'; 'time' or 'gmacs', relative to the stock network
    shape: tuple[int, int] | None = None  # default: the training crop
    latency: str | None = None  # default: measured on the device
    batches: int = 16
    candidates: int = 3
    baseline: bool = True
    share: float = 0.1
    iterations: int | None = None  # in the place of share
    lr: float = 0.2
    held: float | None = 0.1  # None for the config's validation data
    multiple: int | None = None  # default: 8, or what the network takes
    levels: str = 'image'
    seed: int = 0
    device: str = 'cpu'
    amp: bool = False

    def __post_init__(self) -> None:
        for name, known in (('unit', UNITS), ('levels', LEVELS)):
            if getattr(self, name) not in known:
                raise ValueError(f'{name} must be one of {known}, got {getattr(self, name)!r}')
        for name, below in (('share', math.inf), ('lr', math.inf), ('held', 1)):
            value = getattr(self, name)
            if value is not None and not 0 < value < below:
                raise ValueError(f'{name} must be above 0 and below {below}, e.g. 0.1, '
                                 f'got {value!r}')
        for name in ('batches', 'candidates', 'iterations', 'multiple'):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))


@dataclass
class Tuned:
    """A size that is fine-tuned.

    ``loss`` is the untouched network's on the batches of the race; ``behind`` and ``noise`` are how
    much that is behind the best and the standard error of it, ``score_behind`` and ``score_noise``
    the same of ``score``, in percent after the first third.
    """

    size: ImageSize
    loss: float
    behind: float
    noise: float
    score: float | None = None
    score_behind: float = 0.0
    score_noise: float = 0.0
    plain: bool = False  # the plain smaller input

    @property
    def name(self) -> str:
        """The name of its folder."""
        return str(self.size).replace(' x ', 'x').replace(', ', '_').replace(' by ', '_')


@dataclass
class Fitting:
    """The stages of fitting a stock network; what each writes to ``out``, a second call reads.

    ``checkpoint`` holds the weights of the network of ``cfg``, a config with its training.
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

    def _check_same_fit(self) -> None:
        """Raise a ValueError if ``out`` holds results of another network or other settings."""
        path = self.out / 'fit.json'
        options = asdict(self.options)
        for name in ('unit', 'device', 'candidates', 'baseline'):  # no result depends on them
            options.pop(name)
        weights = Path(self.checkpoint)
        said = json.loads(json.dumps(dict(
            model=self.cfg.model.to_dict(), options=options,
            checkpoint=sha256(weights.read_bytes()).hexdigest() if weights.is_file() else
            self.checkpoint), default=str))
        if path.is_file() and len(list(self.out.iterdir())) > 1:
            known = json.loads(path.read_text())
            other = [key for key in ('model', 'checkpoint') if known.get(key) != said[key]]
            other += [f'options ({name})' for name, value in said['options'].items()
                      if known['options'].get(name) != value]
            if other:
                raise ValueError(f'{str(self.out)!r} holds a fit with other {", ".join(other)}; '
                                 'choose another folder, or remove that one')
        else:
            write_file(path, json.dumps(said, indent=1).encode())  # nothing was reached yet

    @cached_property
    def weights(self) -> Checkpoint:
        """The checkpoint of the trained network."""
        return Checkpoint.read(self.checkpoint)

    @cached_property
    def model(self) -> BaseModel:
        """The trained network behind an image of any size."""
        return sizable(self.cfg, lambda cfg: load_network(cfg, self.weights, self.options.device),
                       self.options.levels, self.options.multiple)

    @property
    def multiple(self) -> int:
        """The image's sides are multiples of this many pixels."""
        level, = image_levels(self.model).values()
        return level.multiple

    @cached_property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` of the whole image."""
        return input_shape(self.cfg, self.options.shape)

    @cached_property
    def cost(self) -> Cost:
        """What the network costs as a function of the image's size."""
        run = network_forward(self.model, self.shape, **how_to_run(self.cfg))
        complexity = probe_complexity(self.model, self.shape, *run)
        if self.options.unit == 'gmacs':
            return complexity
        given = self.options.latency
        path = Path(given) if given else self.out / 'latency.json'
        if given and not path.is_file():
            raise ValueError(f'there is no file {given!r}; leave --latency out, to measure on '
                             'this machine')
        if not path.is_file():
            fit_latency(self.model, self.shape, *run).save(path)
        return LatencyCost(LatencyModel.load(path), complexity)

    @cached_property
    def stock_cost(self) -> float:
        """What the stock network costs, in the cost's unit."""
        return self.cost.counted(self.model)({
            name: [1.0, 1.0] for name in learned_pools(self.model)})

    def scales(self, size: ImageSize | None = None) -> dict[str, tuple[float, float]]:
        """The scales of all levels at a size, or, without one, of the trained network."""
        scales = dict.fromkeys(learned_pools(self.model), (1.0, 1.0))
        image, = image_levels(self.model)
        return scales if size is None else scales | {image: size.scale, **size.inner}

    def config(self, size: ImageSize) -> Config:
        """The config of the network at constant sizes."""
        inner = {name.rpartition('.')[2]: scale for name, scale in size.inner.items()}
        return resized_config(self.cfg, size.scale, self.multiple, inner)

    def size(self, sides: Sequence[int]) -> ImageSize:
        """The size of an image with the given sides ``(H, W)``, its cost unknown (0).

        Raises:
            ValueError: the network cannot have it.
        """
        image, = image_levels(self.model).values()
        height, width = sides
        scale = height / self.shape[0], width / self.shape[1]
        low, high = image.bounds
        if any(side % image.multiple for side in sides) or not (
                low <= min(scale) <= max(scale) <= high):
            raise ValueError(
                'an image of {} x {} is not within reach: sides are multiples of {} pixels, {:g} '
                'to {:g} times those of the image, {} x {}; --multiple and --shape set them'.format(
                    *sides, image.multiple, low, high, *self.shape))
        return ImageSize((height, width), scale, 0.0)

    def search(self, target: float, on_round: Callable[[int, int], None] | None = None
               ) -> SearchResult:
        """Find sizes at a target, by forward passes; see `search_sizes`."""
        if not self.cfg.get('val_dataloader'):
            raise ValueError('the config has no val_dataloader, on whose images the report '
                             'compares both networks; add one')
        path = self.out / 'search.json'
        known = json.loads(path.read_text()) if path.is_file() else {}
        key = f'{target:g} {self.options.unit}'
        if key not in known:
            relative = target / self.stock_cost if self.options.unit == 'ms' else target
            found = search_sizes(
                self.model, self._loss, self._batches, self.cost, relative,
                keep=max(3, self.options.candidates), seed=self.options.seed, on_round=on_round)
            tried = [size._asdict() | racer._asdict()
                     for size, racer in zip(found.tried, found.racers)]
            known[key] = dict(plain=found.plain, stock_cost=self.stock_cost,
                              unit=self.cost.unit, tried=tried)
            write_file(path, json.dumps(known, indent=1).encode())
        sizes, racers = [], []
        for one in known[key]['tried']:
            inner = {name: tuple(pair) for name, pair in one['inner'].items()}
            sizes.append(ImageSize(tuple(one['size']), tuple(one['scale']), one['cost'], inner))
            racers.append(Racer(tuple(one['losses']), one['behind'], one['noise']))
        return SearchResult(tuple(sizes), tuple(racers), known[key]['plain'])

    def _loss(self, model: BaseModel, batch: Any) -> Tensor:
        device = next(model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.options.amp):
            return loss_of(model, batch)

    @cached_property
    def _batches(self) -> list[Any]:
        cfg = self.cfg
        if self.options.held is not None:  # images to judge by are not searched on
            cfg = fine_tuning_config(cfg, self.checkpoint, 1, held=self.options.held)
        return draw_batches(cfg, self.options.batches, self.options.seed)

    def candidates(self, found: SearchResult) -> list[Tuned]:
        """What is fine-tuned: the best of a search, and the plain smaller input."""
        numbers = list(range(min(self.options.candidates, len(found.tried))))
        if self.options.baseline and found.plain not in numbers:
            numbers.append(found.plain)
        return [Tuned(found.tried[n], found.racers[n].mean, found.racers[n].behind,
                      found.racers[n].noise, plain=n == found.plain) for n in numbers]

    @cached_property
    def _training(self) -> str:
        """A digest of what the config says of its training; `FittingOptions` say the rest."""
        said = {key: self.cfg.get(key) for key in ('optim_wrapper', 'train_dataloader')}
        return sha256(config_text(Config(said)).encode()).hexdigest()

    @cached_property
    def iterations(self) -> int:
        """Length of a fine-tuning in steps."""
        return self.options.iterations or max(
            1, round(self.options.share * training_iterations(self.cfg)))

    def job(self, tuned: Tuned, whole: bool = False) -> Job:
        """The fine-tuning of a candidate, to its first third or to its end."""
        stop = self.iterations if whole else max(1, round(_SHORT * self.iterations))
        return self.fine_tuning(self.config(tuned.size), self._folder(tuned),
                                'whole' if whole else 'third', stop)

    def fine_tuning(self, cfg: Config, folder: Path, name: str, stop: int, *hooks: dict) -> Job:
        """The fine-tuning of a config to an iteration, in a file of that name; not run yet."""
        job = Job(folder / f'{name}.py', folder, folder / f'iter_{stop}.pth')
        note = folder / f'{name}.sha256'  # of the training: mmengine rewrites its config there
        if job.is_done:
            if note.is_file() and note.read_text() != self._training:
                raise ValueError(f'{job.checkpoint} was trained with another optim_wrapper or '
                                 "train_dataloader than the config's; remove its folder, or choose "
                                 'another one to write to')
        else:
            write_file(note, self._training.encode())
            start = self.checkpoint
            if '://' not in start:
                start = str(Path(start).resolve())
            settings = fine_tuning_config(cfg, start, self.iterations, stop, self.options.lr,
                                          self.options.held)
            for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):  # judged afterwards
                settings[key] = None
            settings.custom_hooks = [*settings.custom_hooks, *hooks]
            settings.work_dir = str(folder)
            write_file(job.config, config_text(settings).encode())
        return job

    def _folder(self, tuned: Tuned) -> Path:
        return make_folder(self.out / 'candidates' / tuned.name)

    def evaluate(self, cfg: Config, checkpoint: str | Path, held: float | None) -> Evaluation:
        """Evaluate a network on held-back images, or on those of the config's validation."""
        if held is not None:
            cfg = fine_tuning_config(cfg, str(checkpoint), self.iterations, held=held)
        return evaluate(load_network(cfg, str(checkpoint), self.options.device), cfg)

    def _judge(self, tuned: Tuned, job: Job | None = None) -> Evaluation:
        """A network, untouched or fine-tuned, on the data that the fine-tuning does not see."""
        checkpoint, path = self.checkpoint, self._folder(tuned) / 'untouched.npz'
        if job is not None:
            checkpoint, path = str(job.checkpoint), job.checkpoint.with_suffix('.npz')
        if not path.is_file():
            found = self.evaluate(self.config(tuned.size), checkpoint, self.options.held)
            content = io.BytesIO()
            np.savez(content, **{name: getattr(found, name) for name in AREAS})
            write_file(path, content.getvalue())
        with np.load(path) as areas:
            return evaluation_type(self.cfg)([], [], [], dataset=cast(Any, None), **areas)

    def compare(self, tuned: Sequence[Tuned]) -> list[Tuned]:
        """Fine-tune candidates for a third, and judge them: the choice first, then by score.

        Of those whose score is within a standard error of the best one's, the choice is the one
        whose untouched network was least behind in the race.
        """
        jobs = [self.job(one) for one in tuned]
        run_jobs([job for job in jobs if not job.is_done], self.options.device)
        judged = [self._judge(one, job) for one, job in zip(tuned, jobs)]
        best = max(judged, key=lambda evaluation: evaluation.score())
        for one, evaluation in zip(tuned, judged):
            one.score = evaluation.score()
            one.score_behind, one.score_noise = evaluation.behind(best)
        choice = min((one for one in tuned if one.score_behind <= one.score_noise),
                     key=lambda one: one.behind)
        return [choice, *sorted((one for one in tuned if one is not choice),
                                key=lambda one: one.score_behind)]

    def finish(self, tuned: Tuned) -> str | Path:
        """Fine-tune one to its end; returns its checkpoint.

        If the untouched network is ahead by more than a standard error, the trained one instead.
        """
        job = self.job(tuned, whole=True)
        if not job.is_done:
            run_jobs([job], self.options.device)
        behind, noise = self._judge(tuned, job).behind(self._judge(tuned))
        return self.checkpoint if behind > noise else job.checkpoint
