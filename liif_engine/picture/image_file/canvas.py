"""An animation's canvas: frames that are parts of the picture become whole pictures."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from liif_engine.picture.image_file.contents import Pixels


class Disposal(IntEnum):
    """What becomes of a frame before the next is drawn; the numbers are APNG's."""

    KEEP = 0
    CLEAR = 1
    RESTORE = 2


class Blend(IntEnum):
    """How a frame meets the canvas; the numbers are APNG's."""

    REPLACE = 0
    OVER = 1


class Canvas:
    """Draws frames one after the other.

    Args:
        height, width: of the picture.
        layout: of the frames; without alpha the canvas begins black, with alpha transparent black.
        dtype: uint8 or uint16.
    """

    def __init__(self, height: int, width: int, layout: str, dtype: np.dtype[Any]) -> None:
        self._pixels: Pixels = np.zeros((height, width, len(layout)), dtype)
        self._has_alpha = layout.endswith("A")
        self._is_first = True

    def draw(self, part: Pixels, y: int, x: int, blend: Blend, disposal: Disposal) -> Pixels:
        """The whole picture once `part` is drawn at (y, x); the canvas is then made ready for the next.

        Args:
            part: (h, w, C) in the canvas's layout and dtype, inside the canvas.
            y, x: of its upper left corner, pixels.
            blend: how it meets what is there.
            disposal: what becomes of it afterwards.

        Returns:
            (H, W, C), a copy.
        """
        if self._is_first and disposal is Disposal.RESTORE:  # there is nothing to restore to
            disposal = Disposal.CLEAR
        self._is_first = False
        place = self._pixels[y : y + part.shape[0], x : x + part.shape[1]]
        before = place.copy() if disposal is Disposal.RESTORE else None
        place[...] = over(part, place) if blend is Blend.OVER and self._has_alpha else part
        shown = self._pixels.copy()
        if disposal is Disposal.CLEAR:
            place[...] = 0
        elif before is not None:
            place[...] = before
        return shown


def over(source: Pixels, below: Pixels) -> Pixels:
    """Porter and Duff's "over" on straight alpha, rounded; exact where either is opaque or transparent."""
    full = float(np.iinfo(source.dtype).max)
    is_opaque = source[..., -1:] == full
    if (is_opaque | (source[..., -1:] == 0)).all():  # all of GIF, most of the rest
        return np.where(is_opaque, source, below)
    top, bottom = source.astype(np.float64) / full, below.astype(np.float64) / full
    a, b = top[..., -1:], bottom[..., -1:]
    alpha = a + b * (1 - a)
    with np.errstate(invalid="ignore", divide="ignore"):
        colour = (top[..., :-1] * a + bottom[..., :-1] * b * (1 - a)) / alpha
    mixed = np.concatenate([np.where(alpha > 0, colour, 0), alpha], axis=2)
    rounded: Pixels = np.rint(mixed * full).astype(source.dtype)
    return np.where(is_opaque, source, np.where(source[..., -1:] == 0, below, rounded))
