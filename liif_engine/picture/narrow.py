"""Pictures of one to three pixels a side: spacers, rules, gradients of a row. The network is not asked for them bare.

A convolution sees zeros beyond the border. Where nothing but border is left they outweigh the picture: of one white
pixel `web` makes a gray of 218. So the network is shown more of the same: the picture with its outermost pixels
repeated around it, of which the middle is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]

#: From so many pixels a side the border does a flat picture no more harm than it does a large one's.
LEAST_SIDE = 4

#: How many times its own height or width is added on each side: whole ones, so that a result's pixels stay in step.
TIMES = 3


def is_narrow(height: int, width: int) -> bool:
    """Whether a picture of this size needs surroundings."""
    return min(height, width) < LEAST_SIDE


def restore_surrounded(
    restore: Callable[[Pixels, tuple[int, int]], Pixels], pixels: Pixels, size: tuple[int, int]
) -> Pixels:
    """Restores a narrow picture.

    Args:
        restore: gives for pixels and a size (width, height) the result.
        pixels: (H, W, ...).
        size: (width, height) of the result.

    Returns:
        (height, width, ...).
    """
    height, width = pixels.shape[:2]
    rows, columns = (TIMES * (side < LEAST_SIDE) for side in (height, width))
    around = [(rows * height,) * 2, (columns * width,) * 2, *[(0, 0)] * (pixels.ndim - 2)]
    wide = np.pad(pixels, around, mode="edge")
    result = restore(wide, (size[0] * (1 + 2 * columns), size[1] * (1 + 2 * rows)))
    top, left = rows * size[1], columns * size[0]
    return np.ascontiguousarray(result[top : top + size[1], left : left + size[0]])
