"""Segment images and write what a person and a program can read."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.models import BaseSegmentor

from mmseg_dynopool.data.images import paint_labels, to_picture
from mmseg_dynopool.data.pipeline import ImagePipeline
from mmseg_dynopool.files import check_folder, write_image


def segment_images(model: BaseSegmentor, images: list[Path], out_dir: str | Path,
                   opacity: float = 0.5) -> Iterator[Path]:
    """Segment images one by one, through the config's test pipeline and the model's own test.

    Each is yielded when its files are written.

    Args:
        model: a segmentor made by mmseg's ``init_model``.
        images: image files.
        out_dir: gets ``overlays/NAME.png`` and ``labels/NAME.png``, the class of each pixel, as 8
            bits, or 16 where there are more than 256 classes.
        opacity: of the overlay, 0 to 1.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be from 0 to 1, got {opacity!r}')
    twice = [name for name, n in Counter(path.stem for path in images).items() if n > 1]
    if twice:
        raise ValueError(f'several images are named {twice[:3]} but for their suffix; their '
                         'results would overwrite each other. Rename them')
    palette, pipeline = _palette(model), ImagePipeline(model.cfg)
    overlays, labels = (check_folder(Path(out_dir, name)) for name in ('overlays', 'labels'))
    for path in images:
        image, sample = pipeline(path)
        label = _segment(model, sample)
        dtype = np.uint8 if len(palette) <= 256 else np.uint16
        write_image(labels / f'{path.stem}.png', label.astype(dtype))
        if image.shape[:2] != label.shape == image.shape[-2:]:  # the channels are first
            image = np.moveaxis(image, 0, -1)
        picture = to_picture(image)
        if picture.shape[:2] != label.shape:
            picture = cv2.resize(picture, label.shape[::-1], interpolation=cv2.INTER_AREA)
        write_image(overlays / f'{path.stem}.png', paint_labels(picture, label, palette, opacity))
        yield path


def _segment(model: BaseSegmentor, sample: dict) -> np.ndarray:
    """The labels ``(H, W)`` of what the pipeline made of an image."""
    with torch.no_grad():
        result = model.test_step(pseudo_collate([sample]))[0]
    if 'pred_sem_seg' not in result:
        raise ValueError(f'{type(model).__name__} gives no pred_sem_seg, which is to be written; '
                         f'it gives {", ".join(result.keys()) or "nothing"}')
    label = result.pred_sem_seg.data.cpu().numpy()
    return label.reshape(-1, *label.shape[-2:])[0].astype(int)


def _palette(model: BaseSegmentor) -> np.ndarray:
    """``(classes, 3)`` in BGR. A head with one channel has two classes.

    Classes that the data set does not name are black, as in mmseg's visualizer; without any
    palette the colors are random, and the same each time.
    """
    meta = getattr(model, 'dataset_meta', None) or {}
    classes = max(2, getattr(model, 'num_classes', None) or 0, len(meta.get('classes') or ()))
    given = meta.get('palette')
    if given is None or not len(given):
        given = np.random.default_rng(42).integers(0, 256, (classes, 3))
    colors = np.array(given, dtype=np.uint8)[:, ::-1]
    palette = np.zeros((max(classes, len(colors)), 3), np.uint8)
    palette[:len(colors)] = colors
    return palette
