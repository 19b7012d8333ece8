"""From many colours to the 256 of a palette: exactly where they fit, else by representative ones with dithering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from liif_engine.picture.image_file.contents import Pixels

_SAMPLES = 1 << 20  # [pixels] the palette is made from; more change it no more

_FEW = 4096  # distinct colours


@dataclass(frozen=True)
class Indexed:
    """A picture by palette.

    Attributes:
        indexes: (H, W) uint8.
        palette: (N, 3) uint8, N at most 256.
        transparent: the index of the transparent pixels, None if there is none.
        exact: whether every colour is the picture's own.
    """

    indexes: Pixels
    palette: Pixels
    transparent: int | None
    exact: bool


def indexed(colours: Pixels, opaque: Pixels, *, transparent: bool) -> Indexed:
    """A picture in at most 256 colours, of which transparency takes one.

    Args:
        colours: (H, W, 3) uint8.
        opaque: (H, W) bool.
        transparent: whether to keep an index for transparency even where every pixel is opaque.
    """
    is_opaque = bool(opaque.all())
    transparent = transparent or not is_opaque
    most = 255 if transparent else 256
    packed: Pixels = colours[..., 0].astype(np.uint32)  # (H, W), the three bytes in one number
    for channel in (1, 2):
        packed <<= 8
        packed |= colours[..., channel]
    used = np.zeros(1 << 24, bool)
    used[packed.ravel() if is_opaque else packed[opaque]] = True
    found = np.flatnonzero(used)
    exact = found.size <= most
    if exact:
        place = np.zeros(1 << 24, np.uint8)
        place[found] = np.arange(found.size)
        indexes = place[packed]
        palette = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
    else:
        del packed
        palette = _representative(colours.reshape(-1, 3) if is_opaque else colours[opaque], most, distinct=found.size)
        indexes = _dithered(colours if is_opaque else np.where(opaque[..., None], colours, palette[0]), palette)
    if not transparent:
        return Indexed(indexes, palette, None, exact)
    last = len(palette)
    palette = np.vstack([palette, np.zeros((1, 3), np.uint8)])
    return Indexed(np.where(opaque, indexes, np.uint8(last)), palette, last, exact)


def _representative(colours: Pixels, most: int, *, distinct: int) -> Pixels:
    """(N, 3) colours that stand for (n, 3) of them."""
    step = -(-len(colours) // _SAMPLES)
    sample = Image.fromarray(np.ascontiguousarray(colours[::step])[None])
    # Measured on photographs the octree is 1 to 2 dB closer and 10 times as fast; its bins are too coarse for grays.
    method = Image.Quantize.MEDIANCUT if distinct <= _FEW else Image.Quantize.FASTOCTREE
    return np.array(sample.quantize(most, method).getpalette(), np.uint8).reshape(-1, 3)[:most]


def _dithered(colours: Pixels, palette: Pixels) -> Pixels:
    """(H, W) indexes; the error of a pixel goes to its neighbours, after Floyd and Steinberg."""
    image = Image.new("P", (1, 1))
    image.putpalette(palette.tobytes())
    reduced = Image.fromarray(colours).quantize(palette=image, dither=Image.Dither.FLOYDSTEINBERG)
    indexes: Pixels = np.minimum(np.asarray(reduced), np.uint8(len(palette) - 1))
    return indexes
