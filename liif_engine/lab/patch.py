"""Which patch of a picture is explained: the one asked for, or the most damaged and the most changed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.lab.blocks import displayed_phase, spread
from liif_engine.lab.subject import Subject
from liif_engine.picture.tiles import Rect

Pixels = NDArray[np.uint8]

#: Side of the patch that is chosen, of the largest one taken as asked for, and of the smallest [input pixels].
PATCH, LARGEST_PATCH, SMALLEST_PATCH = 16, 32, 8

#: The most pixels of the result that a patch becomes: each is asked for some hundred times, and what led to its answer
#: is kept in memory, 34 KB by measurement.
MOST_ANSWERS = 1 << 14

#: So far from the border a patch is chosen [input pixels].
MARGIN = 24


def largest_side(scale: float) -> int:
    """How large a patch may be at a scale [input pixels]."""
    return max(min(LARGEST_PATCH, int(MOST_ANSWERS**0.5 / scale)), SMALLEST_PATCH)


def choose(
    picture: Subject, reduced: Pixels, loss: NDArray[np.float32] | None, region: Rect | None, *, largest: int
) -> Rect:
    """The patch that was asked for, or else the most damaged and the most changed, in the window's pixels.

    Args:
        picture: the window.
        reduced: its result in its own size.
        loss: of each block; None: unknown.
        region: what was asked for, in the picture's pixels; None: nothing.
        largest: a patch's longest side, from `largest_side`.
    """
    window, (height, width) = picture.window, picture.pixels.shape[:2]
    if region is None:
        # Where the patch has surroundings to see, if there is such a place.
        down, across = (MARGIN if side >= 3 * MARGIN else 0 for side in (height, width))
        place = Rect(down, height - down, across, width - across)
    else:
        top, left = max(region.top - window.top, 0), max(region.left - window.left, 0)
        place = Rect(top, min(region.bottom - window.top, height), left, min(region.right - window.left, width))
        if max(place.height, place.width) <= largest:
            rows = _grown(place.top, place.bottom, height, SMALLEST_PATCH)
            columns = _grown(place.left, place.right, width, SMALLEST_PATCH)
            return Rect(*rows, *columns)
    change = (reduced.astype(np.float32) - picture.pixels).mean(-1) ** 2
    weight = np.sqrt(_means(change))
    phase = displayed_phase(picture) or (0, 0)
    if loss is not None:
        weight = weight * _means(spread(loss, picture))
    side_y, side_x = min(PATCH, largest, height), min(PATCH, largest, width)
    best, patch = -1.0, Rect(0, side_y, 0, side_x)
    for top in _starts(place.top, place.bottom, height, phase[0], side_y):
        for left in _starts(place.left, place.right, width, phase[1], side_x):
            if weight[top, left] > best:
                best, patch = float(weight[top, left]), Rect(top, top + side_y, left, left + side_x)
    return patch


def _starts(first: int, last: int, length: int, phase: int, side: int) -> list[int]:
    """Where a patch may start on the grid so that it lies in a stretch; if nowhere, its start."""
    low = first + (phase - first) % 8
    return list(range(low, last - side + 1, 8)) or [max(min(first, length - side), 0)]


def _means(plane: NDArray[Any]) -> NDArray[Any]:
    """(H, W) the mean over the patch that starts at each pixel, cut at the border."""
    height, width = plane.shape
    sums = np.zeros((height + PATCH, width + PATCH))
    sums[1 : height + 1, 1 : width + 1] = plane.cumsum(0, dtype=np.float64).cumsum(1)
    sums[height + 1 :] = sums[height]
    sums[:, width + 1 :] = sums[:, width : width + 1]
    bottom, right = sums[PATCH : PATCH + height], slice(PATCH, PATCH + width)
    patch = bottom[:, right] - sums[:height, right] - bottom[:, :width] + sums[:height, :width]
    means: NDArray[Any] = np.maximum(patch, 0) / PATCH**2
    return means


def _grown(start: int, stop: int, length: int, least: int) -> tuple[int, int]:
    """A stretch made at least so long, within a length."""
    if stop - start >= least:
        return start, stop
    start = min(max(start - (least - (stop - start)) // 2, 0), max(length - least, 0))
    return start, min(start + least, length)
