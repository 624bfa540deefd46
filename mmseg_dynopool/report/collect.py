"""Collect what a report shows: numbers first, the page is made of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mmseg_dynopool.analysis.cost import (
    MeasuredCost,
    build,
    learned_scales,
    measure,
    resized_images,
    stock_model,
)
from mmseg_dynopool.analysis.evaluation import Evaluation, evaluate, segment
from mmseg_dynopool.analysis.recipe import machine
from mmseg_dynopool.analysis.work_dir import Run
from mmseg_dynopool.checkpoints import load_network
from mmseg_dynopool.config import counted_shape, is_segmentor
from mmseg_dynopool.costs.budget import Outcome
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.export.budget_outcome import budget_outcome
from mmseg_dynopool.models.cost import watch_shapes

from .comparison import encode_panels

RUN, STOCK, BASELINE = 'this run', 'stock network', 'baseline'


def heading(title: str) -> str:
    """The title of a baseline at the beginning of a text; a work dir's name stays as it is."""
    return title.capitalize() if title == BASELINE else title


@dataclass
class Trained:
    """A training, and its last checkpoint's result on validation images, whose sizes are ``seen``.

    ``scales`` are the learned ``(r_h, r_w)`` by DynOPool, empty for a stock network.
    """

    run: Run
    model: nn.Module
    evaluation: Evaluation
    scales: dict[str, tuple[float, float]]
    seen: Counter


@dataclass
class Sample:
    """A validation image: its name, mIoU in percent, and PNG files by their titles."""

    name: str
    miou: float
    baseline_mious: dict[str, float]
    panels: dict[str, bytes]


@dataclass
class Report:
    """All that the page shows.

    Attributes:
        baselines: by their titles, ``'baseline'`` or, of several, the names of their work dirs.
        shape: ``(H, W)`` at which ``costs`` and sizes count.
        costs: by network: ``'this run'``, ``'stock network'``, those of the baselines.
        stock: the one in ``costs`` with the stock strides, which may be a baseline.
        resized: ``(H, W)`` to which networks resize the image first, if they do.
        outcome: the cost of this run's network beside its budget.
    """

    ours: Trained
    baselines: dict[str, Trained]
    shape: tuple[int, int]
    costs: dict[str, MeasuredCost]
    stock: str | None
    resized: dict[str, list[tuple[int, int]]]
    best: list[Sample]
    worst: list[Sample]
    machine: dict[str, str]
    repeats: int
    outcome: Outcome | None

    @property
    def reference(self) -> str:
        """The network that the others' costs are compared with."""
        return self.stock or next(iter(self.baselines), RUN)


def collect(run: Run, baselines: Sequence[Run], shape: Sequence[int] | None, images: int,
            repeats: int, device: str) -> Report:
    """Evaluate, count and time; the arguments are those of `run_report`."""
    for each in (run, *baselines):
        check_data(each.cfg, 'val_dataloader')
    ours = _evaluate(run, device)
    others = dict(zip(_titles(baselines), [_evaluate(each, device) for each in baselines]))
    height, width = shape or counted_shape(run.cfg) or ours.seen.most_common(1)[0][0]
    # A classifier's image is right or wrong: none is the best.
    best, worst = ours.evaluation.extremes(images) if is_segmentor(run.cfg.model) else ([], [])
    networks, stock = _networks(ours, others, device)
    resized = {name: resized_images(model, (height, width)) for name, model in networks.items()}
    return Report(
        ours, others, (height, width),
        measure(networks, (height, width), repeats, _parts(ours.model)), stock,
        {name: sizes for name, sizes in resized.items() if sizes},
        [_sample(ours, others, i) for i in best], [_sample(ours, others, i) for i in worst],
        machine(device), repeats, budget_outcome(run.cfg, ours.model, run.checkpoint))


def _titles(baselines: Sequence[Run]) -> list[str]:
    names = [run.name for run in baselines]
    if len(names) == 1:
        return [BASELINE]
    # Folders of one name are told apart by their order.
    return [name if names.count(name) == 1 else f'{name} ({i})' for i, name in enumerate(names, 1)]


def _evaluate(run: Run, device: str) -> Trained:
    model = load_network(run.cfg, run.checkpoint, device)
    with watch_shapes(model.get_submodule(_parts(model)[0])) as seen:
        evaluation = evaluate(model, run.cfg)
    return Trained(run, model, evaluation, learned_scales(model), seen)


def _parts(model: nn.Module) -> list[str]:
    """The names of the modules that hold the DynOPools; for a stock network ``backbone``."""
    return [name for name, module in model.named_modules()
            if hasattr(module, 'dynopools')] or ['backbone']


def _networks(ours: Trained, baselines: dict[str, Trained], device: str
              ) -> tuple[dict[str, nn.Module], str | None]:
    """The networks to compare, and the name of the stock one, which is not measured twice."""
    networks, stock = {RUN: ours.model}, stock_model(ours.run.cfg.model)
    named = None
    if stock is not None:
        named = next((title for title, each in baselines.items() if not each.scales
                      and stock_model(each.run.cfg.model, is_stock=True) == stock), None)
        if ours.scales and not named:
            named, networks[STOCK] = STOCK, build(stock, device)
    return networks | {title: each.model for title, each in baselines.items()}, named


def _sample(ours: Trained, baselines: dict[str, Trained], index: int) -> Sample:
    evaluation, mious = ours.evaluation, {}
    path = evaluation.paths[index]
    image, truth, prediction = segment(ours.model, evaluation.dataset, index)
    labels = {'Truth': truth, 'Prediction': prediction}
    for title, baseline in baselines.items():
        other = baseline.evaluation
        if path in other.paths:
            same = other.paths.index(path)
            mious[title] = float(other.image_miou()[same])
            labels[heading(title)] = segment(baseline.model, other.dataset, same)[2]
    panels = encode_panels(image, labels, evaluation.palette, evaluation.ignore_index)
    return Sample(Path(path).name, float(evaluation.image_miou()[index]), mious, panels)
