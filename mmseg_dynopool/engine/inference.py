"""Segment images and write what a person and a program can read."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmseg.apis import inference_model
from mmseg.models import BaseSegmentor
from mmseg.visualization import SegLocalVisualizer

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def find_images(path: str | Path) -> list[Path]:
    """The image at ``path``, or all images in the folder ``path``.

    Raises:
        ValueError: there is nothing at ``path``, or a folder without images.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f'there is no image or folder {str(path)!r}')
    images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise ValueError(f'the folder {str(path)!r} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    return images


def segment_images(model: BaseSegmentor, images: list[Path], out_dir: str | Path,
                   opacity: float = 0.5) -> Iterator[Path]:
    """Segment images one by one.

    Args:
        model: a segmentor made by mmseg's ``init_model``.
        images: image files.
        out_dir: gets ``overlays/NAME.png`` and ``labels/NAME.png``; a label map holds the class
            of each pixel, as 8 bits, or 16 where there are more than 256 classes.
        opacity: of the overlay, 0 to 1.

    Yields:
        Each image when its files are written.

    Raises:
        ValueError: an image cannot be read, two have one name, or ``opacity`` is out of range.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f'opacity must be from 0 to 1, got {opacity}')
    twice = [name for name, n in Counter(path.stem for path in images).items() if n > 1]
    if twice:
        raise ValueError(f'several images are named {twice[:3]} but for their suffix; their '
                         'results would overwrite each other. Rename them')
    visualizer = SegLocalVisualizer(alpha=opacity)
    visualizer.dataset_meta = model.dataset_meta
    overlays, labels = Path(out_dir, 'overlays'), Path(out_dir, 'labels')
    for path in images:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f'{path} cannot be read as an image')
        result = inference_model(model, image)
        label = result.pred_sem_seg.data[0].cpu().numpy()
        dtype = np.uint8 if model.num_classes <= 256 else np.uint16
        visualizer.add_datasample(
            path.stem, image[..., ::-1], result, draw_gt=False, with_labels=False)
        _write(labels / f'{path.stem}.png', label.astype(dtype))
        _write(overlays / f'{path.stem}.png', visualizer.get_image()[..., ::-1])
        yield path


def draw_comparison(image: np.ndarray, labels: dict[str, np.ndarray], dataset_meta: dict,
                    path: str | Path) -> None:
    """Draw an image and label maps of it side by side.

    Args:
        image: ``(H, W, 3)``, BGR.
        labels: label maps ``(H, W)`` by title.
        dataset_meta: ``classes`` and ``palette`` of the data set.
        path: PNG file to write.
    """
    palette = np.array(dataset_meta['palette'], dtype=np.uint8)
    figure = Figure(figsize=(2.6 * (1 + len(labels)), 3.6), layout='constrained')
    axes = figure.subplots(1, 1 + len(labels))
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
    panels = {'image': image[..., ::-1]}
    for title, label in labels.items():
        colors = palette[np.minimum(label, len(palette) - 1)]
        panels[title] = (0.35 * gray + 0.65 * colors).astype(np.uint8)
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        axis.imshow(panel)
        axis.set_title(title)
        axis.set_axis_off()
    handles = [Patch(facecolor=c / 255, edgecolor='gray', label=name)
               for name, c in zip(dataset_meta['classes'], palette, strict=True)]
    figure.legend(handles=handles, loc='outside lower center', ncols=len(handles))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'cannot write {path}')
