"""Pictures of one to three pixels a side: spacers, rules, gradients of a row. The network is not asked for them bare.

A convolution sees zeros beyond the border. Where nothing but border is left they outweigh the picture: of one white
pixel `web` makes a gray of 218. So the network is shown more of the same: the picture with its outermost pixels
repeated around it, of which the middle is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture.tiles import Grid, Rect

Pixels = NDArray[Any]

#: From so many pixels a side the border does a flat picture no more harm than it does a large one's.
LEAST_SIDE = 4

#: How many times its own height or width is added on each side: whole ones, so that a result's pixels stay in step.
TIMES = 3


def surrounded(pixels: Pixels) -> tuple[Pixels, Rect]:
    """The picture with surroundings if it is too narrow to be without, and where it lies among them.

    Args:
        pixels: (H, W, C).
    """
    height, width = pixels.shape[:2]
    down, across = (side * TIMES * (side < LEAST_SIDE) for side in (height, width))
    middle = Rect(down, down + height, across, across + width)
    if not (down or across):
        return pixels, middle
    return np.pad(pixels, [(down, down), (across, across), (0, 0)], mode="edge"), middle


def grid_of(wide: Pixels, middle: Rect, size: tuple[int, int], halo: int) -> Grid:
    """The grid of a picture with its surroundings, of which only the middle need be computed.

    Args:
        wide, middle: from `surrounded`.
        size: (width, height) of the picture's own result.
        halo: of the network.
    """
    height, width = wide.shape[:2]
    return Grid(height, width, height // middle.height * size[1], width // middle.width * size[0], halo)
