"""Segment images and write what a person and a program can read."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmseg.apis import inference_model
from mmseg.models import BaseSegmentor

from mmseg_dynopool.config import complete_test_pipeline
from mmseg_dynopool.data.images import paint_labels, read_image
from mmseg_dynopool.files import check_folder, write_image


def segment_images(model: BaseSegmentor, images: list[Path], out_dir: str | Path,
                   opacity: float = 0.5) -> Iterator[Path]:
    """Segment images one by one.

    Args:
        model: a segmentor made by mmseg's ``init_model``.
        images: image files; each is yielded when its files are written.
        out_dir: gets ``overlays/NAME.png`` and ``labels/NAME.png``; a label map holds the class
            of each pixel, as 8 bits, or 16 where there are more than 256 classes.
        opacity: of the overlay, 0 to 1.

    Raises:
        ValueError: an image cannot be read, two have one name, or ``opacity`` is out of range.
        ValueError, OSError: a file cannot be written.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be from 0 to 1, got {opacity!r}')
    twice = [name for name, n in Counter(path.stem for path in images).items() if n > 1]
    if twice:
        raise ValueError(f'several images are named {twice[:3]} but for their suffix; their '
                         'results would overwrite each other. Rename them')
    colors = np.array(model.dataset_meta['palette'], dtype=np.uint8)[:, ::-1]
    # Classes that the data set does not name are black, as in mmseg's visualizer.
    palette = np.zeros((max(model.num_classes, len(colors)), 3), np.uint8)
    palette[:len(colors)] = colors
    complete_test_pipeline(model.cfg)
    overlays, labels = (check_folder(Path(out_dir, name)) for name in ('overlays', 'labels'))
    for path in images:
        image = read_image(path)
        result = inference_model(model, image)
        label = result.pred_sem_seg.data[0].cpu().numpy()
        dtype = np.uint8 if model.num_classes <= 256 else np.uint16
        write_image(labels / f'{path.stem}.png', label.astype(dtype))
        write_image(overlays / f'{path.stem}.png', paint_labels(image, label, palette, opacity))
        yield path
