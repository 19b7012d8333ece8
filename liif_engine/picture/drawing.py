"""Whether a picture was drawn, as a screenshot, a chart or clip art, and was not photographed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture.noise import blocks

#: Side of the blocks that are looked at, and how many with anything in them are wanted. [px, blocks]
BLOCK, ENOUGH = 8, 16

#: A jump between neighbours is hard from here on; below `GENTLE` it is an encoder's rounding. [8-bit levels]
HARD, GENTLE = 32, 3

#: Hard jumps are followed by the ringing of whatever reduced the picture, so many pixels far. [px]
RINGING = 2

#: Share of a drawing's pixels, beside hard edges, that are their neighbours' equals, and of its changes that are gentle
#: and away from all edges. A photograph has either no exact flats or, cut out or overexposed, gentle changes within.
FLAT, SHADED = 0.25, 0.1


def is_drawn(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture is a drawing or a screenshot; no, where too little is in it to tell.

    Args:
        pixels: (H, W, 1 or 3) uint8.
    """
    measured = measure(pixels)
    return measured is not None and measured[0] >= FLAT and measured[1] <= SHADED


def measure(pixels: NDArray[np.uint8]) -> tuple[float, float] | None:
    """How flat a picture is beside its hard edges, and how much of it is shaded.

    Args:
        pixels: (H, W, 1 or 3) uint8.

    Returns:
        Both 0-1; None where too few blocks have anything in them. Flat: the share of pixels that are exactly like
        their neighbours, in blocks with a hard jump; blocks with gentle ones alone count as not flat, and those
        with none not at all. Shaded: of the pixels that change, how many do so gently and are not beside a hard jump.
    """
    jumps = _jumps(pixels)
    each = blocks(jumps, BLOCK)
    largest = each.max(1)
    filled = int((largest >= GENTLE).sum())
    if filled < ENOUGH:
        return None
    flat = (each == 0).mean(1)[largest >= HARD].sum() / filled
    changes = jumps >= GENTLE
    gentle = changes & ~_widened(jumps >= HARD)
    return float(flat), float(gentle.sum() / changes.sum())


def _jumps(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H - 1, W - 1): the largest difference of any channel to the pixel on the right and to the one below."""
    jumps = np.zeros((max(pixels.shape[0] - 1, 0), max(pixels.shape[1] - 1, 0)), np.uint8)
    for channel in range(pixels.shape[-1]):
        plane = np.ascontiguousarray(pixels[..., channel])
        here = plane[:-1, :-1]
        for other in (plane[:-1, 1:], plane[1:, :-1]):
            np.maximum(jumps, np.maximum(here, other) - np.minimum(here, other), out=jumps)
    return jumps


def _widened(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is marked, and all within `RINGING` pixels of it along each axis."""
    for _ in range(RINGING):
        for lines in (marked, marked.T):
            before = lines.copy()
            lines[1:] |= before[:-1]
            lines[:-1] |= before[1:]
    return marked
