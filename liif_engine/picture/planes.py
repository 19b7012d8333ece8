"""Which channels the network sees, and what happens to the others: colour goes through it, alpha is resized."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liif_engine.errors import UsageError

Pixels = NDArray[Any]

#: Channels that go through the network together, by layout; a group of one is shown to it as gray.
NETWORK_GROUPS: dict[str, tuple[slice, ...]] = {
    "L": (slice(0, 1),),
    "LA": (slice(0, 1),),
    "RGB": (slice(0, 3),),
    "RGBA": (slice(0, 3),),
    "CMYK": (slice(0, 3), slice(3, 4)),
}

#: The layout of an array that names none, by its number of channels.
LAYOUT_OF_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


#: The value of full brightness, by dtype.
FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}


def as_channels(pixels: Pixels, layout: str | None) -> tuple[Pixels, str]:
    """The pixels as (H, W, C), a view unless their bytes are in another order than this machine's, and their layout.

    Raises:
        UsageError: not a picture.
    """
    if not isinstance(pixels, np.ndarray):
        raise UsageError(f"pixels are a numpy array, not of type {type(pixels).__name__}")
    if np.ma.is_masked(pixels):  # numbers lie below the mask too, and would be restored as a picture
        remedy = "Give those that are missing a value: pixels.filled(value)."
        raise UsageError("some of the pixels are masked, and a result has no mask", remedy=remedy)
    if pixels.dtype.name not in FULL_SCALE:
        raise UsageError(f"pixels are uint8, uint16 or float32, not {pixels.dtype}")
    source = pixels[..., None] if pixels.ndim == 2 else pixels
    source = source.astype(source.dtype.newbyteorder("="), copy=False)  # those of FITS, for one, are big-endian
    if source.ndim != 3 or source.shape[2] not in LAYOUT_OF_CHANNELS or source.size == 0:
        raise UsageError(f"pixels have the shape (H, W) or (H, W, 1 to 4), not {pixels.shape}")
    layout = LAYOUT_OF_CHANNELS[source.shape[2]] if layout is None else layout
    if layout not in list(NETWORK_GROUPS) or len(layout) != source.shape[2]:  # a letter for each channel
        raise UsageError(f"there is no layout {layout!r} of {source.shape[2]} channels")
    if source.dtype == np.float32 and not np.isfinite(source).all():
        raise UsageError("the pixels hold infinities or not-a-numbers")
    if source.dtype == np.float32 and _is_of_another_scale(source[..., :-1] if has_alpha(layout) else source):
        remedy = "Divide them by what is white, such as 255."
        raise UsageError("most of the pixels lie above 2, where float32 ones are in 0 to 1", remedy=remedy)
    return source, layout


def _is_of_another_scale(colours: Pixels) -> bool:
    """Whether floats are a picture in 0 to 255 or the like, which would come out white: no highlights are so many."""
    return bool(np.count_nonzero(colours > 2) * 2 > colours.size)


def has_alpha(layout: str) -> bool:
    """Whether the last channel is straight (unassociated) alpha."""
    return layout in {"LA", "RGBA"}


def resize_alpha(alpha: Pixels, height: int, width: int) -> Pixels:
    """Alpha by bicubic interpolation.

    The network learned pictures, not masks, and alpha carries no compression artifacts; bicubic keeps a mask exactly as
    it is at scale 1.

    Args:
        alpha: (H, W), uint8, uint16 or float32.
        height, width: of the result, pixels.

    Returns:
        (height, width) in the same dtype and range.
    """
    if alpha.shape == (height, width):
        return alpha
    lowest, highest = alpha.min(), alpha.max()
    if lowest == highest:
        return np.full((height, width), lowest, alpha.dtype)
    plane = Image.fromarray(np.ascontiguousarray(alpha if alpha.dtype == np.uint8 else alpha.astype(np.float32)))
    # Clipped to the mask's own range: bicubic rings, and what was half transparent everywhere is so at its edges too.
    resized = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC)).clip(lowest, highest)
    if alpha.dtype == np.uint16:
        resized = np.rint(resized)
    return resized.astype(alpha.dtype)


def settle_alpha(source: Pixels, layout: str, result: Pixels) -> Pixels:
    """Writes the alpha of a result, if the layout has any, and returns the colours for the network.

    Args:
        source: (H, W, C), as `as_channels` gives it.
        layout: likewise.
        result: (height, width, C), of the dtype of `source`; its last channel is written to.
    """
    if not has_alpha(layout):
        return source
    result[..., -1] = resize_alpha(source[..., -1], *result.shape[:2])
    return spread_visible_colour(source)


def spread_visible_colour(pixels: Pixels) -> Pixels:
    """Gives fully transparent pixels the colour of the visible ones around them.

    What lies under transparent pixels is arbitrary, often black; the network would draw it into the visible edge as a
    fringe. Averages of the visible pixels are built as a pyramid, then handed down to where nothing is visible
    (push-pull interpolation, Gortler et al. 1996).

    Args:
        pixels: (H, W, C + 1), the last channel straight alpha; uint8, uint16 or float32.

    Returns:
        (H, W, C): the input's colours where alpha > 0. The input itself is left as it is.
    """
    colour, hidden = pixels[..., :-1], pixels[..., -1] == 0
    if not hidden.any():
        return colour
    filled = colour.copy()
    if hidden.all():
        return filled
    below = _fill(*_halve(colour, ~hidden))
    # By rows of the half-size level, so that no full-size copy beyond the result is made.
    for row in range(pixels.shape[0]):
        columns = np.flatnonzero(hidden[row])
        values = below[row // 2, columns // 2]
        filled[row, columns] = values if colour.dtype.kind == "f" else np.rint(values)
    return filled


def _halve(colour: Pixels, weight: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of the visible pixels of each 2x2 cell, (h, w, C), and how many they are, (h, w)."""
    height, width = (colour.shape[0] + 1) // 2, (colour.shape[1] + 1) // 2
    total = np.zeros((height, width, colour.shape[2]), np.float32)
    count = np.zeros((height, width), np.float32)
    for dy in (0, 1):
        for dx in (0, 1):
            part = colour[dy::2, dx::2]
            seen = weight[dy::2, dx::2].astype(np.float32)
            total[: part.shape[0], : part.shape[1]] += part * seen[..., None]
            count[: part.shape[0], : part.shape[1]] += seen
    total /= np.maximum(count, 1)[..., None]
    return total, np.minimum(count, 1, dtype=np.float32)


def _fill(colour: NDArray[np.float32], visible: NDArray[np.float32]) -> NDArray[np.float32]:
    if visible.all() or colour.shape[:2] == (1, 1):
        return colour
    below = _fill(*_halve(colour, visible))
    handed_down = below.repeat(2, axis=0).repeat(2, axis=1)[: colour.shape[0], : colour.shape[1]]
    filled: NDArray[np.float32] = np.where(visible[..., None] > 0, colour, handed_down)
    return filled
