"""From coded PNG pictures to arrays: interlace, few bits, palettes and transparent colours.

libpng gets a file of header and pixel data alone, never interlaced and always sound, so no hostile text or profile
reaches it and it has nothing to print on the user's terminal.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np

from liif_engine.errors import InputError, TruncatedError
from liif_engine.picture.image_file.canvas import Blend, Disposal
from liif_engine.picture.image_file.contents import Pixels
from liif_engine.picture.image_file.inflate import holds_exactly, inflate_what_is_there
from liif_engine.picture.image_file.png_chunks import SIGNATURE, chunk_parts
from liif_engine.picture.image_file.png_filter import passes

#: Samples per pixel, by colour type.
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True)
class Part:
    """One coded picture of the file: the still, or a frame of an animation at its place on the canvas."""

    data: tuple[bytes, ...]
    width: int
    height: int
    x: int = 0
    y: int = 0
    duration: tuple[int, int] = (0, 1000)
    disposal: Disposal = Disposal.KEEP
    blend: Blend = Blend.REPLACE
    hidden: bool = False


@dataclass(frozen=True)
class Plan:
    """How the pixels are coded."""

    depth: int
    colour_type: int
    interlaced: bool
    palette: Pixels | None  # (entries, 3 or 4) uint8
    key: tuple[int, ...] | None  # the transparent colour, in samples of `depth`
    parts: tuple[Part, ...]
    layout: str


def unpacked_size(part: Part, plan: Plan) -> int:
    """Bytes of the filtered rows of a part."""
    if not plan.interlaced:
        return _bytes_of_rows(part.width, part.height, plan)
    return sum(_bytes_of_rows(p.width, p.height, plan) for p in passes(part.width, part.height))


def _bytes_of_rows(width: int, height: int, plan: Plan) -> int:
    if width <= 0 or height <= 0:
        return 0
    return (1 + -(-width * plan.depth * SAMPLES[plan.colour_type] // 8)) * height


def decode_part(part: Part, plan: Plan, *, allow_truncated: bool) -> Pixels:
    """(H, W, C) of one coded picture, with alpha if the palette or a key colour has it; what is missing is 0.

    Raises:
        TruncatedError: the data ends or breaks early, and that is not allowed.
        InputError: it is damaged in another way.
    """
    needed = unpacked_size(part, plan)
    if not plan.interlaced and holds_exactly(part.data, needed):
        return _coloured(_samples(part.width, part.height, plan, part.data), plan)
    rows = inflate_what_is_there(b"".join(part.data), needed)
    if len(rows) < needed and not allow_truncated:
        raise TruncatedError(f"the PNG data ends or breaks after {len(rows) / needed:.0%} of the pixels")
    rows = rows.ljust(needed, b"\0")
    if not plan.interlaced:
        return _coloured(_samples(part.width, part.height, plan, [zlib.compress(rows, 0)]), plan)
    return _coloured(_deinterlaced(part, plan, rows), plan)


def _deinterlaced(part: Part, plan: Plan, rows: bytes) -> Pixels:
    """(H, W, C) samples from the filtered rows of all passes; each pass is a small picture of its own."""
    samples, start = None, 0
    for one in passes(part.width, part.height):
        if not (one.width > 0 and one.height > 0):
            continue
        size = _bytes_of_rows(one.width, one.height, plan)
        decoded = _samples(one.width, one.height, plan, [zlib.compress(rows[start : start + size], 0)])
        if samples is None:
            samples = np.empty((part.height, part.width, decoded.shape[2]), decoded.dtype)
        samples[one.y :: one.step_y, one.x :: one.step_x] = decoded
        start += size
    assert samples is not None  # no picture is empty
    return samples


def _samples(width: int, height: int, plan: Plan, packed: Sequence[bytes]) -> Pixels:
    """(H, W, C) samples as coded, of a stream without interlace: palette indexes, or colours in their dtype's range.

    The stream comes in pieces, as in a file, so that it is put together only once.
    """
    # A palette's indexes are read as gray, which libpng does not look up; 1, 2 and 4 bits it scales to 8.
    colour_type = 0 if plan.colour_type == 3 else plan.colour_type
    head = struct.pack(">IIBBBBB", width, height, plan.depth, colour_type, 0, 0, 0)
    data = [part for piece in packed for part in chunk_parts(b"IDAT", piece)]
    file = [SIGNATURE, *chunk_parts(b"IHDR", head), *data, *chunk_parts(b"IEND", b"")]
    try:
        samples: Any = imagecodecs.png_decode(b"".join(file))
    except imagecodecs.PngError as error:
        raise InputError(f"the PNG pixel data is damaged ({error})") from error
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.shape != (height, width, SAMPLES[colour_type]):
        raise InputError("the PNG data and its header tell different sizes")
    if plan.colour_type == 3 and plan.depth < 8:
        samples = samples // (255 // ((1 << plan.depth) - 1))
    return np.ascontiguousarray(samples)


def _coloured(samples: Pixels, plan: Plan) -> Pixels:
    if plan.palette is not None:
        colours: Pixels = plan.palette[samples[..., 0]]
        return colours
    if plan.key is None:
        return samples
    scale = 255 // ((1 << plan.depth) - 1) if plan.depth < 8 else 1
    full = np.iinfo(samples.dtype).max
    key = np.array(plan.key, np.int64) * scale
    alpha = np.where((samples == key).all(axis=2), 0, full).astype(samples.dtype)
    return np.dstack([samples, alpha])


def with_layout(pixels: Pixels, layout: str) -> Pixels:
    """Drops equal colour channels of a gray palette, and adds opaque alpha where the animation needs it."""
    channels = pixels.shape[2]
    if layout in {"L", "LA"} and channels >= 3:
        pixels = pixels[..., [0, 3]] if channels == 4 else pixels[..., :1]
    wanted = len(layout)
    if pixels.shape[2] < wanted:
        opaque = np.full((*pixels.shape[:2], 1), np.iinfo(pixels.dtype).max, pixels.dtype)
        pixels = np.dstack([pixels, opaque])
    return np.ascontiguousarray(pixels)
