"""Which part of an animation's picture changed, so that the rest of it need not be stored again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liif_engine.picture.image_file.contents import Pixels


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: its upper left corner and its size."""

    y: int
    x: int
    height: int
    width: int

    def cut_from(self, pixels: Pixels) -> Pixels:
        """The (height, width, C) part of a picture, C-contiguous."""
        return np.ascontiguousarray(pixels[self.y : self.y + self.height, self.x : self.x + self.width])


def whole(pixels: Pixels) -> Box:
    return Box(0, 0, pixels.shape[0], pixels.shape[1])


def changed_box(before: Pixels, after: Pixels, *, step: int = 1) -> Box:
    """The smallest rectangle outside of which two (H, W, C) pictures are equal.

    Args:
        before, after: of one shape.
        step: the corner is a multiple of this.

    Returns:
        A rectangle of at least one pixel, also where nothing changed.
    """
    differs = (before != after).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not rows.size:
        return Box(0, 0, 1, 1)
    y, x = int(rows[0]) // step * step, int(columns[0]) // step * step
    return Box(y, x, int(rows[-1]) + 1 - y, int(columns[-1]) + 1 - x)
