"""Segment images and write what a person and a program can read."""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mmengine.config import Config
from mmseg.apis import inference_model
from mmseg.models import BaseSegmentor

from mmseg_dynopool.datasets.files import check_folder, write_file, write_image

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
    images = sorted(p for p in path.iterdir()
                    if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir())
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
        ValueError: an image cannot be read, two have one name, ``opacity`` is out of range, or
            ``out_dir`` is or lies in a file.
        OSError: a file cannot be written.
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
        overlay = (1 - opacity) * image + opacity * palette[label]
        write_image(labels / f'{path.stem}.png', label.astype(dtype))
        write_image(overlays / f'{path.stem}.png', overlay.astype(np.uint8))
        yield path


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as ``(H, W, 3)``, BGR, 8 bits.

    Gray images get three equal channels, 16 bits are cut to their upper 8, an alpha channel is
    left out.

    Raises:
        ValueError: it cannot be read, or is a JPEG whose end is missing: OpenCV would fill up
            what it lacks.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f'the image {path} cannot be opened: {error.strerror}') from error
    if not content:
        raise ValueError(f'the image {path} is empty; copy it again')
    if _is_cut_jpeg(content):
        raise ValueError(f'the image {path} is cut off: a JPEG without its end; copy it again')
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} cannot be read as an image: it is damaged, or of a kind that '
                         'OpenCV does not read; convert it to PNG with 8 or 16 bits')
    return image


def _is_cut_jpeg(content: bytes) -> bool:
    """Whether ``content`` is a JPEG without the marker of its end.

    Segments before the pixels, which may hold a whole thumbnail, are stepped over.
    """
    if not content.startswith(b'\xff\xd8'):
        return False
    at = 2
    while content[at:at + 2] != b'\xff\xda':  # start of the pixels
        if at >= len(content):
            return True
        if content[at] != 0xff:
            return False  # not as the standard says: let the decoder judge
        at += 2 + int.from_bytes(content[at + 2:at + 4], 'big')
    return b'\xff\xd9' not in content[at:]


def complete_test_pipeline(cfg: Config) -> None:
    """Set ``test_pipeline``, which mmseg's inference reads, where a config has its loader's alone.

    Raises:
        ValueError: it has neither.
    """
    if cfg.get('test_pipeline') is None:
        pipeline = ((cfg.get('test_dataloader') or {}).get('dataset') or {}).get('pipeline')
        if not pipeline:
            raise ValueError('the config has neither test_pipeline nor '
                             'test_dataloader.dataset.pipeline; add test_pipeline, the list of '
                             'transforms of an image')
        cfg.test_pipeline = pipeline


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
    content = io.BytesIO()
    figure.savefig(content, dpi=110, format='png')
    write_file(path, content.getvalue())
