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
    full = FULL_SCALE[pixels.dtype.name]
    largest = 0.0
    for top in range(0, pixels.shape[0], BLOCK):
        # A row more than the block has, for the step to the next block; in bands, so that no large copy is made.
        band = pixels[top : top + BLOCK + 1].astype(np.float32)
        across = np.abs(np.diff(band[:BLOCK], axis=1)).max(-1).sum(0)  # (W - 1,)
        down = np.abs(np.diff(band, axis=0)).max(-1).sum(0)  # (W,)
        steps = max(min(BLOCK, len(band) - 1), 1)
        for left in range(0, pixels.shape[1], BLOCK):
            here = slice(left, left + BLOCK)
            mean = float(down[here].mean()) / steps
            if across[here].size:
                mean += float(across[here].mean()) / min(BLOCK, len(band))
            largest = max(largest, mean)
    return largest / full
