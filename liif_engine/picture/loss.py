"""What compression took from each block of a JPEG, estimated from what it left: the damage map.

A level that is not zero was rounded: its error is that of a uniform error of one step. A level of zero says only that
the coefficient was small; how small is taken from the block's own surroundings, whose spectrum is assumed to fall as
photographs' spectra do on average, with the square of frequency (Field, "Relations between the statistics of natural
images and the response properties of cortical cells", 1987). An estimate of size, not of content.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture.coefficients import Component

#: Squared frequency of each coefficient, in the units of the block; DC has none.
SQUARED_FREQUENCY = np.add.outer(np.arange(8) ** 2, np.arange(8) ** 2).astype(np.float32)


#: Rows of blocks that are looked at together, so that the coefficients of a large picture need not be held as numbers
#: with a point, eight times over.
BAND = 64


def expected_loss(component: Component) -> NDArray[np.float32]:
    """The root mean square error to be expected in each block, in grey levels, (rows, columns)."""
    rounding = component.steps.astype(np.float32) ** 2 / 12
    rows = component.levels.shape[0]
    own = np.concatenate([_own_activity(_rows(component, top, top + BAND).values) for top in range(0, rows, BAND)])
    activity = _with_neighbours(own)
    bands = []
    for top in range(0, rows, BAND):
        levels = component.levels[top : top + BAND]
        small = activity[top : top + BAND, :, None, None] / np.maximum(SQUARED_FREQUENCY, 1)
        variance = np.where(levels == 0, np.minimum(rounding, small), rounding)
        bands.append(np.sqrt(variance.mean((2, 3))))
    loss: NDArray[np.float32] = np.concatenate(bands)
    return loss


def survivors(component: Component) -> NDArray[np.float64]:
    """(8, 8) the part of a picture's blocks in which each frequency is not zero, 0-1."""
    shares: NDArray[np.float64] = (component.levels != 0).mean((0, 1))
    return shares


def kept(component: Component) -> NDArray[np.int64]:
    """(rows, columns) how many of the 63 frequencies above DC each block still has."""
    counts: NDArray[np.int64] = (component.levels != 0).sum((2, 3)) - (component.levels[..., 0, 0] != 0)
    return counts


def _rows(component: Component, top: int, bottom: int) -> Component:
    return replace(component, levels=component.levels[top:bottom])


def _own_activity(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The factor A of a spectrum A / frequency² that fits each block alone, (rows, columns)."""
    activity: NDArray[np.float32] = (values**2 * SQUARED_FREQUENCY).sum((2, 3)) / 63
    return activity


def _with_neighbours(own: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same for each block together with its eight neighbours."""
    padded = np.pad(own, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    mean: NDArray[np.float32] = windows.mean((2, 3))
    return mean
