"""How fast images and label maps change along their height and width.

Power spectra say how much of the energy a scale keeps. Structure functions, their counterpart in
pixels, say by how much one axis is stretched against the other: they have no leakage, so that sharp
edges, whose spectra fall like 1 / f^2, shift as cleanly as smooth textures.
"""

import cv2
import numpy as np

FREQUENCIES = np.linspace(0, 0.5, 257)
LAGS = np.unique(np.geomspace(1, 512, 49).round().astype(int))
# Structure functions are compared between these shares of their common top: below, blur (also of
# resized images) and noise of single pixels count, above, few independent pairs.
_LOW, _HIGH = 0.25, 0.65
_LINES = 256


def lines_along(array: np.ndarray, axis: int) -> np.ndarray:
    """At most 256 lines along an axis, evenly spread: ``(lines, length, ...)``."""
    lines = np.moveaxis(array, axis, 1)
    chosen = np.linspace(0, len(lines) - 1, min(_LINES, len(lines))).round().astype(int)
    return lines[chosen]


def fill_ignored(label: np.ndarray, ignored: int) -> np.ndarray:
    """Give the ignored pixels of a label map ``(H, W)`` the class of the nearest other pixel.

    Else the outlines that some data sets leave open would count as regions. A map that is ignored
    as a whole stays as it was.
    """
    hole = label == ignored
    if hole.all() or not hole.any():
        return label
    _, nearest = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    classes = np.zeros(nearest.max() + 1, label.dtype)
    classes[nearest[~hole]] = label[~hole]
    return classes[nearest]


def cumulative_energy(array: np.ndarray, axis: int) -> np.ndarray:
    """Share ``(257,)`` of the energy of ``(H, W, C)`` at or below each of ``FREQUENCIES``.

    Energy is the variance about the mean of the image, so that what changes along the other axis
    alone has frequency 0 here. Channels and lines, in Hann's window, add up. NaN for an image of
    one color.
    """
    array = array - array.mean((0, 1), dtype=np.float64).astype(np.float32)
    lines = lines_along(array, axis)
    length = lines.shape[1]
    spectrum = np.zeros(length // 2 + 1)
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    for channel in np.moveaxis(lines, 2, 0):  # one at a time: labels may have many classes
        power = np.abs(np.fft.rfft(channel * window, axis=1))**2
        spectrum += power.sum(0, dtype=np.float64)
    # A real signal has each frequency twice, except the first and, at even lengths, the last.
    spectrum[1:(length + 1) // 2] *= 2
    total = spectrum.sum()
    if not total > 1e-12:
        return np.full(len(FREQUENCIES), np.nan)
    return np.interp(FREQUENCIES, np.fft.rfftfreq(length), np.cumsum(spectrum) / total)


def structure_function(array: np.ndarray, axis: int) -> np.ndarray:
    """Mean square difference of two pixels at a distance of ``LAGS`` pixels along an axis.

    As a share of the mean over all pairs of pixels; NaN where the lag is more than half of the
    side, and for an image of one color. ``array`` is ``(H, W, C)``, or a label map ``(H, W)``,
    whose difference is 1 where the classes differ.
    """
    labels = array.ndim == 2
    if labels:
        counts = np.unique(array, return_counts=True)[1] / array.size
        top = 1 - (counts**2).sum()
    else:
        top = 2 * array.var((0, 1), dtype=np.float64).sum()
    lines = lines_along(array, axis)
    values = np.full(len(LAGS), np.nan)
    for i, lag in enumerate(LAGS):
        if top > 1e-12 and lag <= lines.shape[1] // 2:
            ahead, behind = lines[:, lag:], lines[:, :-lag]
            square = ahead != behind if labels else (ahead - behind)**2
            values[i] = square.mean((0, 1), dtype=np.float64).sum() / top
    return values


def boundary_density(label: np.ndarray, axis: int) -> float:
    """Changes of class per pixel, going along an axis of a label map ``(H, W)``."""
    return float((np.diff(label, axis=axis) != 0).mean())


def stretch_between(along_h: np.ndarray, along_w: np.ndarray) -> float:
    """How many times as long in height as in width an image's contents are.

    The factor between the lags of two structure functions: the mean, over a range of levels, of
    the shift of their logarithms. NaN if nothing changes along an axis.
    """
    noise = min(_pixel_noise(along_h), _pixel_noise(along_w))
    along_h, along_w = along_h - noise, along_w - noise
    # Above 1 they mean nothing but few pairs.
    top = min(1.0, np.nanmax(along_h, initial=0.0), np.nanmax(along_w, initial=0.0))
    if not top > 0:
        return float('nan')
    low = min(max(_LOW, along_h[0] / top, along_w[0] / top), 0.8)
    levels = top * np.geomspace(low, min(max(_HIGH, 2 * low), 0.9), 13)
    shift = np.log(_lag_at(levels, along_h)) - np.log(_lag_at(levels, along_w))
    return float(np.exp(shift.mean()))


def _pixel_noise(curve: np.ndarray) -> float:
    """Height at lag 0 of the line through lags 1 and 2: the share of noise of single pixels."""
    noise = 2 * curve[0] - curve[1]  # 0 for textures and edges
    return noise if 0 < noise < 0.7 else 0.0  # mostly noise: there is nothing else to compare


def _lag_at(levels: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """The lags, in pixels, at which a curve first reaches the levels.

    Between its points a curve is a power of the lag; below a lag of 1, a straight line from 0.
    """
    known = np.isfinite(curve)
    heights = np.maximum.accumulate(np.maximum(curve[known], 1e-12))
    lags = np.exp(np.interp(np.log(levels), np.log(heights), np.log(LAGS[known])))
    return np.where(levels < heights[0], levels / heights[0], lags)
