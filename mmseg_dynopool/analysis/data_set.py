"""Numbers for the distribution of information over height and width.

The paper's second limitation: "it would be great if future research could provide a way to
numerically analyze" it. Here: how much of the energy of images and label maps lies above what a
scale keeps, how dense the boundaries of classes are, and by how much the contents are stretched,
along each axis; and from that the scales at which to start.
"""

import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from mmseg_dynopool.layers.image import IMAGE

from .spectra import (
    FREQUENCIES,
    LAGS,
    boundary_density,
    cumulative_energy,
    fill_ignored,
    stretch_between,
    structure_function,
)

SCALES = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)
_KEPT = 0.95
_LEAST_SIDE = 32


def analyze(samples: Iterable[tuple[str, np.ndarray, np.ndarray, int]]) -> dict:
    """Analyze images and label maps.

    Every image has the same weight, whatever its size and contrast. Ignored pixels take the
    class of the nearest pixel that has one.

    Args:
        samples: ``(name, image (H, W, C), label map (H, W), value of ignored pixels)``.

    Returns:
        A dict that JSON can hold; pairs are ``[along the height, along the width]``:

        - ``images``: how many; ``mean_size``: ``[H, W]`` in pixels;
        - ``stretch``: how many times as long in height as in width the contents are, the geometric
          mean of images and label maps; ``stretch_error``: standard error (jackknife), None for one
          image; ``starting_scales``: ``{'image': (scale_h, scale_w)}``, see `image_scale`;
        - ``image`` and ``label``, or None where nothing varies: their own ``stretch`` and
          ``stretch_error``; ``energy_above``, a list of ``dict(scale, share=[h, w])``, the shares
          of the energy above ``scale / 2`` cycles per pixel, the most that a map reduced by
          ``scale`` can hold; ``scale_keeping_95``; ``curves``; of ``label``
          ``boundaries_per_pixel``, changes of class on a step of one pixel.

    Raises:
        ValueError: there are no samples, one is too small or does not fit its label map, or
            nothing varies in any of them.
    """
    images, labels, sizes = _Curves(), _Curves(), []
    for name, image, label, ignored in samples:
        if min(image.shape[:2]) < _LEAST_SIDE:
            raise ValueError(f'{name} is {image.shape[0]} x {image.shape[1]} pixels (height x '
                             'width), too small for a spectrum: each side must have '
                             f'{_LEAST_SIDE} pixels or more')
        if label.shape != image.shape[:2]:
            raise ValueError(f'the label map of {name} has shape {label.shape}, the image '
                             f'{image.shape[:2]}; they must have one size')
        sizes.append(image.shape[:2])
        image = image.reshape(*image.shape[:2], -1).astype(np.float32)
        images.add(image, image)
        label = fill_ignored(label, ignored)
        labels.add((label[..., None] == np.unique(label)).astype(np.float32), label)
        labels.boundaries.append([boundary_density(label, axis) for axis in (0, 1)])
    if not sizes:
        raise ValueError('there are no images to analyze; give a data set that is not empty')
    parts = [part for part in (images, labels) if part]
    if not parts:
        raise ValueError('nothing varies in the images and label maps: each is of one color, '
                         'which has no spectrum; look at the data set')
    stretch = float(np.exp(_log_stretch(parts)))
    if not np.isfinite(stretch):
        raise ValueError('the images and label maps vary along one axis alone, so that no stretch '
                         'can be measured; look at the data set')
    return dict(
        images=len(sizes),
        mean_size=np.mean(sizes, 0).tolist(),
        image=images.summary() if images else None,
        label=labels.summary() if labels else None,
        stretch=stretch,
        stretch_error=_error(parts),
        starting_scales={IMAGE: image_scale(stretch)})


def image_scale(stretch: float, bounds: Sequence[float] = (0.25, 4.0)
                ) -> tuple[float, float]:
    """The scale ``(scale_h, scale_w)`` of the image that undoes a stretch.

    It keeps the image's area, if the ``bounds`` (lowest and highest scale) allow that.

    Raises:
        ValueError: ``stretch`` is not positive and finite.

    Examples:
        >>> from mmseg_dynopool.analysis.data_set import image_scale
        >>> image_scale(2.25), image_scale(2.25, bounds=(0.25, 1.0))
        ((0.667, 1.5), (0.444, 1.0))
    """
    _check_stretch(stretch)
    low, high = bounds
    longest = max(stretch, 1 / stretch)**0.5
    height, width = (max(low, side * min(1, high / longest))
                     for side in (stretch**-0.5, stretch**0.5))
    return round(height, 3), round(width, 3)


def starting_scales(stretch: float, streams: int = 3, bounds: Sequence[float] = (0.125, 1.0)
                    ) -> dict[str, tuple[float, float]]:
    """Scales that undo a stretch as early as a stream can, at the cost of 0.5 x 0.5.

    For a network whose image keeps its size; else see `image_scale`.

    Returns:
        ``{instance: (scale_h, scale_w)}``, each with the product 0.25. What the ``bounds`` (lowest
        and highest scale) do not allow in one stream is left to the next.

    Raises:
        ValueError: ``stretch`` is not positive and finite, or 0.5 lies outside ``bounds``.

    Examples:
        >>> from mmseg_dynopool.analysis.data_set import starting_scales
        >>> starting_scales(2.25)['stream1']
        (0.333, 0.75)
    """
    _check_stretch(stretch)
    low, high = bounds
    if not 0 < low <= 0.5 <= high:
        raise ValueError(f'bounds must be (lowest, highest) scale about 0.5, got {bounds!r}')
    most = min(0.5 / low, high / 0.5)**2  # the largest stretch that one instance can undo
    scales = {}
    for k in range(streams):
        undone = float(np.clip(stretch, 1 / most, most))
        stretch /= undone
        scales[f'stream{k + 1}'] = (round(0.5 / undone**0.5, 3), round(0.5 * undone**0.5, 3))
    return scales


def _check_stretch(stretch: float) -> None:
    if not (np.isfinite(stretch) and stretch > 0):
        raise ValueError(f'stretch must be positive and finite, got {stretch}')


class _Curves:
    """The curves of each image, along both axes; NaN for an image of one color."""

    def __init__(self) -> None:
        self.energy: list[np.ndarray] = []  # (2, frequencies) each
        self.difference: list[np.ndarray] = []  # (2, lags) each
        self.boundaries: list[list[float]] = []  # (2,) each

    def __bool__(self) -> bool:
        return bool(np.isfinite(self.difference).any())

    def add(self, array: np.ndarray, compared: np.ndarray) -> None:
        energy = np.array([cumulative_energy(array, axis) for axis in (0, 1)])
        difference = np.array([structure_function(compared, axis) for axis in (0, 1)])
        if np.isnan([energy[:, 0], difference[:, 0]]).any():
            energy[:], difference[:] = np.nan, np.nan
        self.energy.append(energy)
        self.difference.append(difference)

    def summary(self) -> dict:
        energy, difference = _mean(self.energy), _mean(self.difference)
        above = [dict(scale=scale, share=[1 - float(np.interp(scale / 2, FREQUENCIES, curve))
                                          for curve in energy]) for scale in SCALES]
        keeping = [float(2 * FREQUENCIES[np.argmax(curve >= _KEPT)]) for curve in energy]
        summary = dict(
            energy_above=above, scale_keeping_95=keeping,
            stretch=_finite(np.exp(_log_stretch([self]))), stretch_error=_error([self]),
            curves=dict(
                frequency=FREQUENCIES.tolist(), energy=energy.tolist(), lag=LAGS.tolist(),
                difference=[[_finite(v) for v in curve] for curve in difference]))
        if self.boundaries:
            summary['boundaries_per_pixel'] = np.mean(self.boundaries, 0).tolist()
        return summary


def _mean(curves: list) -> np.ndarray:
    """Mean over images, without NaN, as large lags of small images are."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # of lags that no image has
        return np.nanmean(curves, 0)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _log_stretch(parts: list[_Curves], without: int | None = None) -> float:
    """Mean logarithm of the parts' stretch, one image left out; NaN if it is unknown."""
    logs = []
    for part in parts:
        chosen = [curves for i, curves in enumerate(part.difference) if i != without]
        logs.append(np.log(stretch_between(*_mean(chosen))) if chosen else np.nan)
    return float(_mean(logs))


def _error(parts: list[_Curves]) -> float | None:
    """Standard error by the jackknife: each image is left out once."""
    n = len(parts[0].difference)
    logs = [_log_stretch(parts, without=i) for i in range(n)]
    if n < 2 or not np.isfinite(logs).all():
        return None
    return _finite(np.exp(_log_stretch(parts)) * np.sqrt((n - 1) * np.var(logs)))
