"""Collect what a report shows: numbers first, the page is made of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mmseg_dynopool.analysis.cost import Cost, build, learned_scales, measure, stock_model
from mmseg_dynopool.analysis.evaluation import Evaluation, evaluate, segment
from mmseg_dynopool.analysis.recipe import machine
from mmseg_dynopool.analysis.work_dir import Run
from mmseg_dynopool.config import counted_shape, is_segmentor
from mmseg_dynopool.costs.budget import Outcome
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.export.budget_outcome import budget_outcome
from mmseg_dynopool.models.cost import watch_shapes

from .comparison import paint_on_gray
from .figures import encode_image

RUN, STOCK, BASELINE = 'this run', 'stock network', 'baseline'
BASELINE_IS_STOCK = 'baseline (the stock network)'


@dataclass
class Trained:
    """A training, and its last checkpoint on the validation images.

    Attributes:
        scales: learned ``(r_h, r_w)`` by DynOPool; empty for a stock network.
        seen: how often the backbone saw an image of ``(H, W)``.
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
    baseline_miou: float | None
    panels: dict[str, bytes]


@dataclass
class Report:
    """All that the page shows.

    Attributes:
        shape: ``(H, W)`` at which ``costs`` and sizes count.
        costs: by network: ``'this run'``, ``'stock network'``, ``'baseline'`` or
            ``'baseline (the stock network)'``.
        best, worst: validation images of highest and lowest mIoU.
        machine: packages and device.
        repeats: timed passes.
        outcome: the cost of this run's network beside its budget; None without one.
    """

    ours: Trained
    baseline: Trained | None
    shape: tuple[int, int]
    costs: dict[str, Cost]
    best: list[Sample]
    worst: list[Sample]
    machine: dict[str, str]
    repeats: int
    outcome: Outcome | None

    @property
    def stock(self) -> str | None:
        """The name in ``costs`` of the network with the stock strides, if there is one."""
        return next((name for name in (STOCK, BASELINE_IS_STOCK) if name in self.costs), None)

    @property
    def reference(self) -> str:
        """The network that the others' costs are compared with."""
        return self.stock or (BASELINE if self.baseline else RUN)


def collect(run: Run, baseline: Run | None, shape: Sequence[int] | None, images: int,
            repeats: int, device: str) -> Report:
    """Evaluate, count and time; the arguments are those of `run_report`."""
    runs = [run] if baseline is None else [run, baseline]
    for each in runs:
        check_data(each.cfg, 'val_dataloader')
    ours = _evaluate(run, device)
    other = None if baseline is None else _evaluate(baseline, device)
    height, width = shape or counted_shape(run.cfg) or ours.seen.most_common(1)[0][0]
    shape = height, width
    # A classifier's image is right or wrong: none is the best.
    best, worst = ours.evaluation.extremes(images) if is_segmentor(run.cfg.model) else ([], [])
    costs = measure(_networks(ours, other, device), shape, repeats,
                    _parts(ours.model))
    return Report(ours, other, shape, costs,
                  [_sample(ours, other, i) for i in best],
                  [_sample(ours, other, i) for i in worst], machine(device), repeats,
                  budget_outcome(run.cfg, ours.model, run.checkpoint))


def _evaluate(run: Run, device: str) -> Trained:
    model = run.load(device)
    with watch_shapes(model.get_submodule(_parts(model)[0])) as seen:
        evaluation = evaluate(model, run.cfg)
    return Trained(run, model, evaluation, learned_scales(model), seen)


def _parts(model: nn.Module) -> list[str]:
    """The names of what holds the DynOPools, of a stock network of its backbone."""
    return [name for name, module in model.named_modules()
            if hasattr(module, 'dynopools')] or ['backbone']


def _networks(ours: Trained, baseline: Trained | None, device: str) -> dict[str, nn.Module]:
    """The networks to compare; a stock network is not measured twice."""
    networks = {RUN: ours.model}
    stock = stock_model(ours.run.cfg.model)
    is_stock = baseline and not baseline.scales and stock is not None and (
        stock_model(baseline.run.cfg.model, is_stock=True) == stock)
    if ours.scales and stock is not None and not is_stock:
        networks[STOCK] = build(stock, device)
    if baseline:
        networks[BASELINE_IS_STOCK if is_stock else BASELINE] = baseline.model
    return networks


def _sample(ours: Trained, baseline: Trained | None, index: int) -> Sample:
    evaluation, baseline_miou = ours.evaluation, None
    path, miou = evaluation.paths[index], float(evaluation.image_miou()[index])
    image, truth, prediction = segment(ours.model, evaluation.dataset, index)
    labels = {'Truth': truth, 'Prediction': prediction}
    if baseline and path in baseline.evaluation.paths:
        same = baseline.evaluation.paths.index(path)
        baseline_miou = float(baseline.evaluation.image_miou()[same])
        labels['Baseline'] = segment(baseline.model, baseline.evaluation.dataset, same)[2]
    painted = {title: paint_on_gray(image, label, evaluation.palette, evaluation.ignore_index)
               for title, label in labels.items()}
    return Sample(Path(path).name, miou, baseline_miou, {
        title: encode_image(panel) for title, panel in {'Image': image, **painted}.items()})
