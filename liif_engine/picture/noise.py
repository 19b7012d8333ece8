"""How much noise a picture holds, told from texture: by its calmest places, by colours that disagree, by its grain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

#: Side of the blocks whose noise is looked at, and the part of them that counts as the calmest. [px, percent]
BLOCK, CALMEST = 8, 10

#: The calmest tenth of blocks of pure noise holds so much of its standard deviation; by simulation.
BIAS = 0.8

#: Fewer blocks say nothing.
ENOUGH = 16

#: Averaging 2x2 pixels halves white noise; texture mostly keeps or gains. More than this part left is no noise.
LEFT_IN_HALF = 0.65

#: BT.601 luma, and two directions of colour without it, each of length 1 where channels vary independently.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
COLOURS = (np.array([1, -1, 0], np.float32) / np.sqrt(2), np.array([1, 1, -2], np.float32) / np.sqrt(6))


def measure(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """The standard deviation of a picture's noise [8-bit levels], as seen in its colour and in its luma.

    In each block the response to the difference of two Laplacians, which is blind to slopes and edges along the axes
    (Immerkær, "Fast noise variance estimation", 1996), is taken, and of all blocks the calmest tenth. Texture passes
    for noise where a picture has no calm place. But it moves red, green and blue together, so in colour it hardly
    shows; and in luma it does not vanish from a picture of half the size, as white noise does.

    Args:
        pixels: (H, W, 1 or 3) uint8.

    Returns:
        (colour, luma). Colour is the smaller of two directions and 0 for a gray picture; luma is 0 where what looks
        like noise may be texture, coarse grain included. Both are 0 where too few blocks are free of clipped pixels.
    """
    usable = ~((pixels == 0) | (pixels == 255)).any(-1)
    plain = pixels.astype(np.float32)
    if pixels.shape[-1] == 1:
        return 0.0, _white(plain[..., 0], usable)
    return min(_spread(plain @ colour, usable) for colour in COLOURS), _white(plain @ LUMA, usable)


def _white(plane: Plane, usable: NDArray[Any]) -> float:
    """The spread, if it is that of white noise, else 0."""
    full, half = _spread(plane, usable), _spread(halved(plane), np.asarray(_pairs(usable).all((1, 3))))
    return full if 0 < half <= LEFT_IN_HALF * full else 0.0


def _spread(plane: Plane, usable: NDArray[Any]) -> float:
    if min(plane.shape) < BLOCK + 2:
        return 0.0
    kept = blocks(response(plane), BLOCK)[blocks(usable[1:-1, 1:-1], BLOCK).all(-1)]
    if len(kept) < ENOUGH:
        return 0.0
    deviations = np.sqrt(np.square(kept).mean(-1))
    return round(float(np.percentile(deviations, CALMEST)) / BIAS, 2)


def response(plane: Plane) -> Plane:
    """The difference of two Laplacians, (H - 2, W - 2); of unit noise it has a standard deviation of 1."""
    across = plane[:, :-2] - 2 * plane[:, 1:-1] + plane[:, 2:]
    both: Plane = (across[:-2] - 2 * across[1:-1] + across[2:]) / 6
    return both


def halved(plane: Plane) -> Plane:
    """The means of 2x2 pixels, (H / 2, W / 2)."""
    means: Plane = _pairs(plane).mean((1, 3))
    return means


def blocks(plane: NDArray[Any], side: int) -> NDArray[Any]:
    """(B, side * side), whole blocks only."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    whole = plane[: rows * side, : columns * side]
    return whole.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side * side)


def _pairs(plane: NDArray[Any]) -> NDArray[Any]:
    """(H / 2, 2, W / 2, 2), an odd last row or column left out."""
    rows, columns = plane.shape[0] // 2, plane.shape[1] // 2
    return plane[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
