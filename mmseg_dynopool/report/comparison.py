"""An image beside label maps of it."""

import io
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmseg_dynopool.files import write_file


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
