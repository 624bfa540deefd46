"""Collect what a report shows: numbers first, the page is made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mmseg_dynopool.analysis.cost import Cost, build, learned_scales, measure, stock_model
from mmseg_dynopool.analysis.evaluation import Evaluation, evaluate, segment
from mmseg_dynopool.analysis.recipe import machine
from mmseg_dynopool.analysis.work_dir import Run
from mmseg_dynopool.config import counted_shape
from mmseg_dynopool.data.check import check_data
from mmseg_dynopool.models.seen_shapes import watch_shapes

from .comparison import paint_on_gray
from .figures import encode_image

RUN, STOCK, BASELINE = 'this run', 'stock network', 'baseline'
BASELINE_IS_STOCK = 'baseline (the stock network)'


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
        run, baseline: the trainings.
        evaluation, baseline_evaluation: their last checkpoints on the validation images.
        shape: ``(H, W)`` at which ``costs`` and sizes count.
        costs: by network: ``'this run'``, ``'stock network'``, ``'baseline'`` or
            ``'baseline (the stock network)'``.
        scales, baseline_scales: learned ``(r_h, r_w)`` by DynOPool; empty for a stock network.
        best, worst: validation images of highest and lowest mIoU.
        machine: packages and device.
        repeats: timed passes.
    """

    run: Run
    baseline: Run | None
    evaluation: Evaluation
    baseline_evaluation: Evaluation | None
    shape: tuple[int, int]
    costs: dict[str, Cost]
    scales: dict[str, tuple[float, float]]
    baseline_scales: dict[str, tuple[float, float]]
    best: list[Sample]
    worst: list[Sample]
    machine: dict[str, str]
    repeats: int

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
    """Evaluate, count and time; the arguments are those of :func:`run_report`."""
    runs = [run] if baseline is None else [run, baseline]
    for each in runs:
        check_data(each.cfg, 'val_dataloader')
    models = [each.load(device) for each in runs]
    with watch_shapes(models[0]) as seen:
        evaluations = [evaluate(model, each.cfg) for model, each in zip(models, runs)]
    shape = tuple(shape or counted_shape(run.cfg) or seen.most_common(1)[0][0])
    best, worst = evaluations[0].extremes(images)
    return Report(
        run, baseline, evaluations[0], evaluations[1] if baseline else None, shape,
        measure(_networks(runs, models, device), shape, repeats), learned_scales(models[0]),
        learned_scales(models[1]) if baseline else {},
        [_sample(models, evaluations, i) for i in best],
        [_sample(models, evaluations, i) for i in worst], machine(device), repeats)


def _networks(runs: list[Run], models: list[nn.Module], device: str) -> dict[str, nn.Module]:
    """The networks to compare; a stock network is not measured twice."""
    networks = {RUN: models[0]}
    stock = stock_model(runs[0].cfg.model)
    name = BASELINE
    if len(models) > 1 and not learned_scales(models[1]) and stock is not None and (
            stock_model(runs[1].cfg.model) == stock):
        name = BASELINE_IS_STOCK
    elif stock is not None and learned_scales(models[0]):
        networks[STOCK] = build(stock, device)
    if len(models) > 1:
        networks[name] = models[1]
    return networks


def _sample(models: list[nn.Module], evaluations: list[Evaluation], index: int) -> Sample:
    evaluation = evaluations[0]
    path = evaluation.paths[index]
    image, truth, label = segment(models[0], evaluation.dataset, index)
    labels = {'Truth': truth, 'Prediction': label}
    baseline_miou = None
    if len(models) > 1 and path in evaluations[1].paths:
        same = evaluations[1].paths.index(path)
        baseline_miou = float(evaluations[1].image_miou()[same])
        labels['Baseline'] = segment(models[1], evaluations[1].dataset, same)[2]
    panels = {'Image': encode_image(image)}
    for title, painted in labels.items():
        panels[title] = encode_image(paint_on_gray(image, painted, evaluation.palette,
                                                   evaluation.ignore_index))
    return Sample(Path(path).name, float(evaluation.image_miou()[index]), baseline_miou, panels)
