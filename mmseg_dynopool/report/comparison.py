"""An image beside label maps painted on it."""

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmseg_dynopool.data.images import paint_labels

from .figures import draw_legend, save_figure

_OPACITY = 0.65
_LONGEST_SIDE = 480


def paint_on_gray(image: np.ndarray, label: np.ndarray, palette: list,
                  ignore_index: int | None = None) -> np.ndarray:
    """Labels ``(h, w)`` painted on the RGB image ``(H, W, 3)``, made gray and resized to them.

    Pixels of ``ignore_index`` stay gray.
    """
    image = cv2.resize(image, label.shape[::-1], interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return paint_labels(gray, label, palette, _OPACITY, ignore_index)


def encode_panels(image: np.ndarray, labels: dict[str, np.ndarray], palette: list,
                  ignore_index: int) -> dict[str, bytes]:
    """PNG files of an RGB image ``(H, W, 3)`` and of its label maps ``(H, W)``, by title.

    The longer side has at most 480 pixels.
    """
    panels = {'Image': image} | {title: paint_on_gray(image, label, palette, ignore_index)
                                 for title, label in labels.items()}
    files = {}
    for title, panel in panels.items():
        shrink = _LONGEST_SIDE / max(panel.shape[:2])
        if shrink < 1:
            panel = cv2.resize(panel, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        files[title] = cv2.imencode('.png', panel[..., ::-1])[1].tobytes()
    return files


def draw_comparison(image: np.ndarray, labels: dict[str, np.ndarray], dataset_meta: dict,
                    path: str | Path) -> None:
    """Write a PNG file of a BGR image ``(H, W, 3)`` beside its label maps ``(H, W)``, by title.

    ``dataset_meta`` holds the ``classes`` and the ``palette`` of the data set.
    """
    palette, image = dataset_meta['palette'], image[..., ::-1]
    panels = {'image': image} | {title: paint_on_gray(image, label, palette)
                                 for title, label in labels.items()}
    figure = Figure(figsize=(2.6 * len(panels), 3.9), layout='constrained')
    for axis, (title, panel) in zip(figure.subplots(1, len(panels)), panels.items()):
        axis.imshow(panel)
        axis.set_title(title)
        axis.set_axis_off()
    handles = [Patch(facecolor=tuple(np.array(color) / 255), edgecolor='gray', label=name)
               for name, color in zip(dataset_meta['classes'], palette, strict=True)]
    draw_legend(figure, handles=handles, ncols=len(handles))
    save_figure(figure, path, dpi=110)
