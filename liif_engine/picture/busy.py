"""How busy a picture is where it is busiest: the content on which half precision strays too far from fp32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture.planes import FULL_SCALE

#: Side of the blocks that are looked at, in pixels: small enough that a dithered button in a photograph counts.
BLOCK = 32

#: From here on a block is computed in fp32. Only one-bit dithering and lines of one pixel reach it, where each pixel is
#: the opposite of its neighbour; docs/fidelity.md has the figures on both sides.
TOO_BUSY = 0.75


def alternation(pixels: NDArray[Any]) -> float:
    """The mean step between neighbouring pixels, down plus across, in the block where it is largest.

    Args:
        pixels: (H, W, C) uint8, uint16 or float32; the channel that steps furthest counts.

    Returns:
        0 where all is flat, 2 for a chequer of black and white pixels.
    """
    rows, columns = (-(-side // BLOCK) for side in pixels.shape[:2])
    across = _means(_steps(pixels[:, :-1], pixels[:, 1:]), rows, columns)
    down = _means(_steps(pixels[:-1], pixels[1:]), rows, columns)
    return float((across + down).max()) / FULL_SCALE[pixels.dtype.name]


def _steps(before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    """(H, W) how far two pixels are apart, in the channel in which that is furthest."""
    apart = np.maximum(before, after) - np.minimum(before, after)  # of bytes without widening them
    furthest: NDArray[Any] = apart[..., 0]
    for channel in range(1, apart.shape[-1]):
        furthest = np.maximum(furthest, apart[..., channel])
    return furthest


def _means(steps: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """(rows, columns) the mean of each block; 0 where a block has no steps."""
    means = np.zeros((rows, columns))
    if steps.size:
        tops, lefts = (np.arange(0, side, BLOCK) for side in steps.shape)
        wide = np.float32 if steps.dtype.kind == "f" else np.uint32
        bands = np.stack([steps[top : top + BLOCK].sum(0, dtype=wide) for top in tops])
        heights, widths = (np.diff([*starts, side]) for starts, side in zip((tops, lefts), steps.shape, strict=True))
        means[: len(tops), : len(lefts)] = np.add.reduceat(bands, lefts, axis=1) / np.outer(heights, widths)
    return means
