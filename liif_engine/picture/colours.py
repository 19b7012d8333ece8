"""Whether a photograph's colours were reduced to those of a palette, as for a GIF, and how many are left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A palette's colours: more are none, and with fewer it is a drawing or a pattern.
FEWEST, MOST = 8, 256

#: Each colour is to be that of so many pixels on the average; a thumbnail has no more colours than pixels.
PIXELS_EACH = 8

#: Every so many pixels are looked at first: most pictures show more colours than a palette's in these alone.
STRIDE = 7

#: Share of lonely pixels from which on it was a photograph; fewer colours than `FEW` may be pixel art, which has some.
#: Reduced photographs of the training set have 0.02 to 0.2, its drawings and screenshots up to 0.013.
LONELY, FEW, LONELY_IN_FEW = 0.03, 32, 0.08


def quantised(pixels: NDArray[np.uint8]) -> int | None:
    """The number of colours that a photograph was reduced to; None if it was not, or cannot be told.

    Drawings have few colours too, but in them a pixel is like its neighbours or at an edge. In a photograph that was
    reduced, dithered or not, pixels flip back and forth between two colours: one is another than those on both its
    sides, which are equal. A gray picture has no more than 256 levels anyway, nor has one that was toned, as in sepia:
    of these nothing is said.

    Args:
        pixels: (H, W, 1 or 3) uint8.
    """
    if pixels.shape[-1] == 1 or pixels.shape[0] * pixels.shape[1] < PIXELS_EACH * FEWEST:
        return None
    packed: NDArray[np.uint32] = np.zeros(pixels.shape[:2], np.uint32)
    for channel in range(3):
        packed = packed << np.uint32(8) | pixels[..., channel]
    if len(np.unique(packed.ravel()[::STRIDE])) > MOST:
        return None
    palette = np.unique(packed)
    if not FEWEST <= len(palette) <= min(MOST, packed.size // PIXELS_EACH) or _is_toned(palette):
        return None
    return len(palette) if _lonely(packed) >= (LONELY if len(palette) > FEW else LONELY_IN_FEW) else None


def _is_toned(palette: NDArray[Any]) -> bool:
    """Whether the colours are levels of one tone, gray or another: of two of them one is brighter in every channel."""
    channels = np.stack([palette >> shift & 0xFF for shift in (16, 8, 0)], -1).astype(np.int64)
    by_brightness = channels[np.argsort(channels.sum(-1), kind="stable")]
    return bool((np.diff(by_brightness, axis=0) >= 0).all())


def _lonely(packed: NDArray[Any]) -> float:
    """The share of pixels that are unlike both neighbours, which are like each other; the mean of across and down."""
    shares = []
    for lines in (packed, packed.T):
        before, here, after = lines[:, :-2], lines[:, 1:-1], lines[:, 2:]
        shares.append(float(((here != before) & (before == after)).mean()) if here.size else 0.0)
    return sum(shares) / 2
