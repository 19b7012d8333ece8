"""Where a file's 8x8 blocks lie in the picture as displayed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liif_engine.lab.field import Field
from liif_engine.lab.subject import Subject
from liif_engine.picture.consistency import displayed_view
from liif_engine.picture.tiles import Rect


def displayed_phase(picture: Subject) -> tuple[int, int] | None:
    """(y, x) of the first whole block in the window as displayed, each 0-7; None: no grid is known.

    Of a JPEG it is the file's own grid, else the one that the pixels show.
    """
    if picture.stored is None or picture.stored.estimated:
        return picture.damage.grid_phase
    y = picture.window.height % 8 if picture.orientation in {3, 4, 7, 8} else 0
    x = picture.window.width % 8 if picture.orientation in {2, 3, 6, 7} else 0
    return y, x


def blocks_of(field: Field, picture: Subject) -> Rect:
    """The whole 8x8 blocks that hold a field's patch, in the field's window; of a picture without a grid, from 0."""
    phase = displayed_phase(picture) or (0, 0)
    spans = []
    for start, stop, origin, length, first in (
        (field.patch.top, field.patch.bottom, field.window.top, field.window.height, phase[0]),
        (field.patch.left, field.patch.right, field.window.left, field.window.width, phase[1]),
    ):
        low = (start - first) // 8 * 8 + first - origin
        high = -(-(stop - first) // 8) * 8 + first - origin
        spans += [max(low, 0), min(high, length)]
    return Rect(*spans)


def spread(blocks: NDArray[np.float32], picture: Subject) -> NDArray[np.float32]:
    """A value for each stored block, (rows, columns), as one for each pixel of the window as displayed, (H, W)."""
    assert picture.stored is not None
    stored = picture.stored
    plane = blocks.repeat(8, 0).repeat(8, 1)
    rows = np.clip(np.arange(stored.height) - stored.phase[0], 0, len(plane) - 1)
    columns = np.clip(np.arange(stored.width) - stored.phase[1], 0, plane.shape[1] - 1)
    return displayed_view(plane[rows][:, columns][..., None], picture.orientation)[..., 0]
