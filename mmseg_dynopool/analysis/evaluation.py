"""Evaluate a trained network class by class and image by image."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmseg.evaluation import IoUMetric
from mmseg.models import BaseSegmentor
from rich.progress import track
from torch.utils.data import Dataset

from mmseg_dynopool.config import enter_scope, is_segmentor, metrics_of
from mmseg_dynopool.data.images import to_picture

AREAS = ('intersection', 'union', 'predicted', 'truth')


@dataclass
class Evaluation:
    """Areas ``(images, classes)`` in pixels of the validation images, scored by mmseg's IoUMetric.

    Pixels of the label ``ignore_index`` do not count.
    """

    classes: list[str]
    palette: list
    paths: list[str]
    intersection: np.ndarray
    union: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    dataset: Dataset
    ignore_index: int = 255
    score_name = 'mIoU'
    class_score_name = 'IoU'
    class_metric = 'IoU'
    total_name = 'Mean'
    counted = 'pixels'
    dtype = torch.double

    def totals(self) -> dict:
        """``aAcc`` in percent; ``IoU`` and ``Acc`` in percent by class, NaN without a pixel."""
        areas = [torch.from_numpy(getattr(self, name).sum(0, dtype=float)) for name in AREAS]
        metrics = IoUMetric.total_area_to_metrics(*areas, metrics=['mIoU'])
        return {name: 100 * np.asarray(value) for name, value in metrics.items()}

    def class_scores(self) -> dict[str, float]:
        """``class_metric`` of `totals` by the class's name."""
        return dict(zip(self.classes, self.totals()[self.class_metric].tolist(), strict=True))

    def score(self) -> float:
        """Mean over the classes, in percent; classes without a pixel are omitted."""
        return float(np.nanmean(self.totals()['IoU']))

    def behind(self, other: 'Evaluation', draws: int = 200) -> tuple[float, float]:
        """By how much another's score on the same images is higher, and its standard error.

        The error is by bootstrap; for a single image it is infinite.
        """
        def score(evaluation: 'Evaluation', images: np.ndarray) -> float:
            areas = {name: getattr(evaluation, name)[images] for name in AREAS}
            return replace(evaluation, **areas).score()

        count = len(self.truth)
        if count == 1:
            return other.score() - self.score(), math.inf
        drawn = np.random.default_rng(0).integers(0, count, (draws, count))
        noise = np.std([score(other, images) - score(self, images) for images in drawn])
        return other.score() - self.score(), float(noise)

    def image_miou(self) -> np.ndarray:
        """mIoU ``(images, )`` in percent of the classes in each image or in its prediction."""
        with np.errstate(invalid='ignore'):
            iou = self.intersection / self.union
            return 100 * np.nansum(iou, 1) / np.isfinite(iou).sum(1)

    def extremes(self, count: int) -> tuple[list[int], list[int]]:
        """At most ``count`` images of highest mIoU and as many of lowest; none twice."""
        scores = self.image_miou()
        order = [int(i) for i in np.argsort(scores, kind='stable') if np.isfinite(scores[i])]
        best = order[::-1][:min(count, (len(order) + 1) // 2)]
        return best, [i for i in order if i not in best][:count]


class ImageEvaluation(Evaluation):
    """Evaluation of a classifier: an image counts as one pixel of its class."""

    score_name = 'Top-1 accuracy'
    class_score_name = 'Accuracy'
    class_metric = 'Acc'
    total_name = 'All images'
    counted = 'images'
    dtype = torch.uint8

    def score(self) -> float:
        """Top-1 accuracy over all images, in percent."""
        return float(self.totals()['aAcc'])


def evaluation_type(cfg: Config) -> type[Evaluation]:
    """The kind of evaluation for a config's network."""
    return Evaluation if is_segmentor(cfg.model) else ImageEvaluation


def evaluate(model: BaseModel, cfg: Config) -> Evaluation:
    """Run the validation images of a config through a network in evaluation mode.

    The ``ignore_index`` is that of the config's IoUMetric.

    Raises:
        ValueError: the data set has no class names.
    """
    enter_scope(cfg)
    settings = dict(cfg.val_dataloader, drop_last=False, batch_sampler=None,
                    sampler=dict(type='DefaultSampler', shuffle=False))
    loader = Runner.build_dataloader(Config(settings)._cfg_dict)
    classes = loader.dataset.metainfo.get('classes')
    if not classes:
        raise ValueError('the validation data set has no class names: set '
                         'val_dataloader.dataset.metainfo.classes')
    metrics = metrics_of(cfg.get('val_evaluator'))
    kind = evaluation_type(cfg)
    ignore_index = -1 if kind is ImageEvaluation else next(  # 255 is a class
        (m['ignore_index'] for m in metrics if 'ignore_index' in m), 255)
    # Classes to which the data set gives no color are black, as in mmseg.
    palette = [list(color) for color in loader.dataset.metainfo.get('palette') or []]
    palette = (palette + [[0, 0, 0]] * len(classes))[:len(classes)]
    areas: list[torch.Tensor] = []
    paths: list[str] = []
    with torch.no_grad():
        for batch in track(loader, description='evaluating', transient=True):
            for sample in model.val_step(batch):
                label, truth = _labels(sample)
                areas.append(torch.stack(IoUMetric.intersect_and_union(
                    label, truth, len(classes), ignore_index)).to(kind.dtype))
                paths.append(str(sample.get('img_path', f'image {len(paths)}')))
    intersection, union, predicted, truth = torch.stack(areas, 1).numpy()
    return kind(list(classes), palette, paths, intersection, union, predicted, truth,
                loader.dataset, ignore_index)


def _labels(sample: BaseDataElement) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and true labels, ``(H, W)`` of a segmentor, ``(1,)`` of a classifier."""
    if 'pred_label' in sample:
        return sample.pred_label, sample.gt_label.to(sample.pred_label)
    label = sample.pred_sem_seg.data.squeeze(0)
    return label, sample.gt_sem_seg.data.squeeze(0).to(label)


def segment(model: BaseSegmentor, dataset: Dataset, index: int
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A validation image ``(H, W, 3)`` in RGB, its true and its predicted labels ``(H, W)``."""
    item = dataset[index]
    with torch.no_grad():
        sample = model.val_step(pseudo_collate([item]))[0]
    image = to_picture(item['inputs'].permute(1, 2, 0).numpy())[..., ::-1]
    prediction, truth = (label.cpu().numpy() for label in _labels(sample))
    return np.ascontiguousarray(image), truth, prediction
