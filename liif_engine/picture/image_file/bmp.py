"""BMP pixels: 1 to 32 bits, palettes, bit masks, run lengths, rows from below or from above.

Kept: density, an embedded ICC profile, the name of a linked one, primaries, gamma and intent of the V4 and V5 headers.
Converted: palettes to 24 bits (to 8 if all are gray), 16 and 32 bits to 24, run lengths and rows from above to plain
rows from below; 32 bits with alpha only where the header names alpha bits, and alpha that is 0 everywhere is taken as
opaque. Pixels that run lengths skip have the palette's first colour. Refused: JPEG, PNG or fax data inside, gray with a
profile from another format. No place for: EXIF, XMP and so our marker, IPTC, texts, comments, 16 bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from liif_engine.errors import InputError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import bmp_header as headers
from liif_engine.picture.image_file.bmp_header import BmpHeader
from liif_engine.picture.image_file.contents import Frame, Limits, Pixels
from liif_engine.picture.image_file.room import ANY_SIZE, Capacity, Header, Order

CAPACITY = Capacity(
    longest_side=32_767,  # a square of that with alpha is 4 GiB, the most its header can say
    layouts=frozenset({"L", "RGB", "RGBA"}),
    bits=frozenset({8}),
    animated=False,
    carries={"icc": ANY_SIZE, "density": ANY_SIZE},
    coding=(0, 4),
    turned_to_colour=frozenset({"L"}),
)


def inspect(data: bytes, limits: Limits) -> Header:
    """Size, layout and metadata of a BMP file.

    Args:
        data: the file.
        limits: what is refused as too large.

    Raises:
        InputError, UnsupportedError: in words.
    """
    plan = headers.read_header(data)
    metadata = headers.read_metadata(data, plan, limits)
    is_gray = plan.palette is not None and metadata.icc is None and not metadata.bound_to_home
    if is_gray and plan.palette is not None:
        is_gray = bool((plan.palette == plan.palette[:, :1]).all())
    layout = "L" if is_gray else "RGBA" if plan.masks[3] else "RGB"
    if plan.bits > 8 and any(mask.bit_count() > 8 for mask in plan.masks):
        metadata = replace(metadata, notes=(*metadata.notes, "colours of more than 8 bits were rounded to 8"))
    return Header(plan.width, plan.height, layout, 8, metadata, 1, 1, _cut(data, plan), plan)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """The pixels, (H, W, 1, 3 or 4) uint8, upright; what is missing of a cut file is black.

    Raises:
        TruncatedError: run-length data ends early.
        InputError: it is damaged.
    """
    plan: BmpHeader = header.plan
    content = memoryview(data)[plan.start :]
    if plan.compression in {headers.RLE4, headers.RLE8}:
        pixels = _coloured(_run_lengths(bytes(content), plan, allow_truncated=allow_truncated), plan, header.layout)
    else:
        size = plan.stride * plan.height
        raw = bytes(content[:size]).ljust(size, b"\0") if len(content) < size else content[:size]
        rows = np.frombuffer(raw, np.uint8).reshape(plan.height, plan.stride)
        pixels = _unpacked(rows, plan, header.layout)
        if header.layout == "RGBA" and not pixels[..., 3].any():
            pixels[..., 3] = 255  # some writers name alpha bits and leave them 0; no one means to show nothing
    if not plan.top_down:
        pixels = pixels[::-1]
    return [Frame(np.ascontiguousarray(pixels))]


def encode(order: Order) -> tuple[bytes, list[str]]:
    """A BMP file: gray by palette, 24 bits, or 32 with alpha.

    Raises:
        UnsupportedError: it would be transparent everywhere, which no reader believes.
    """
    pixels = order.frames[0].pixels[::-1]
    channels = pixels.shape[2]
    if channels == 4 and not pixels[..., 3].any():
        raise UnsupportedError(
            "is transparent everywhere, which BMP cannot say: readers take it for opaque", remedy="Keep its format."
        )
    palette = b"".join(bytes([v, v, v, 0]) for v in range(256)) if channels == 1 else b""
    head, profile = headers.headers_for(
        order.metadata,
        width=order.width,
        height=order.height,
        bits=8 * channels,
        has_alpha=channels == 4,
        palette=palette,
    )
    stride = (order.width * channels + 3) // 4 * 4
    rows = np.zeros((order.height, stride), np.uint8)
    places = rows[:, : order.width * channels].reshape(order.height, order.width, channels)
    places[..., : min(channels, 3)] = pixels[..., [0] if channels == 1 else [2, 1, 0]]
    if channels == 4:
        places[..., 3] = pixels[..., 3]
    rows[:, : order.width * channels] = places.reshape(order.height, -1)
    notes = ["BMP has no place for a note of the restoration"]
    return b"".join([head, rows.data, profile]), notes


def _cut(data: bytes, plan: BmpHeader) -> str | None:
    """Why the file counts as truncated, or None; of run lengths only decoding can tell."""
    if plan.compression in {headers.RLE4, headers.RLE8}:
        return None
    # The last row may lack the bytes that fill it up.
    needed = plan.stride * (plan.height - 1) + (plan.width * plan.bits + 7) // 8
    there = max(0, len(data) - plan.start)
    return None if there >= needed else f"the BMP data ends early: {there / needed:.0%} of the pixels are there"


def _unpacked(rows: Pixels, plan: BmpHeader, layout: str) -> Pixels:
    """(H, W, C) of (H, stride) bytes as stored."""
    width, bits = plan.width, plan.bits
    if bits == 24:
        colours: Pixels = rows[:, : 3 * width].reshape(plan.height, width, 3)[..., ::-1]
        return colours
    if bits in {16, 32}:
        values = rows[:, : width * bits // 8].copy().view(f"<u{bits // 8}")
        return np.stack([_channel(values, mask) for mask in plan.masks[: len(layout)]], axis=2)
    if bits == 8:
        indexes = rows[:, :width]
    else:
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        indexes = (rows[..., None] >> shifts & np.uint8((1 << bits) - 1)).reshape(plan.height, -1)[:, :width]
    return _coloured(indexes, plan, layout)


def _channel(values: Pixels, mask: int) -> Pixels:
    """(H, W) uint8: the bits of a mask, scaled to the full range."""
    shift, most = (mask & -mask).bit_length() - 1, mask >> (mask & -mask).bit_length() - 1
    bits: Pixels = (values & values.dtype.type(mask)) >> values.dtype.type(shift)
    if most == 255:
        return bits.astype(np.uint8)
    if most < 1 << 16:
        scaled: Pixels = np.rint(np.arange(most + 1) * (255 / most)).astype(np.uint8)[bits]
        return scaled
    return np.rint(bits * (255 / most)).astype(np.uint8)


def _coloured(indexes: Pixels, plan: BmpHeader, layout: str) -> Pixels:
    assert plan.palette is not None
    return plan.palette[:, : len(layout)][indexes]


def _run_lengths(data: bytes, plan: BmpHeader, *, allow_truncated: bool) -> Pixels:
    """(H, W) palette indexes in the order of the file.

    Raises:
        TruncatedError: the data ends before the picture does.
    """
    width, height, nibbles = plan.width, plan.height, plan.compression == headers.RLE4
    flat = bytearray(width * height)
    at = x = y = steps = 0
    # Each step draws, ends a row or skips ahead; more of them than pixels and rows lead nowhere.
    most_steps = width * height + 2 * height + 1000
    while y < height and steps < most_steps:
        steps += 1
        if at + 2 > len(data):
            if allow_truncated:
                break
            raise TruncatedError(f"the BMP data ends early, in row {y + 1:,} of {height:,}")
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = bytes((value >> 4, value & 15)) * (count // 2 + 1) if nibbles else bytes((value,)) * count
            run = run[:count]
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1:
            break
        elif value == 2:
            x, y = x + int.from_bytes(data[at : at + 1]), y + int.from_bytes(data[at + 1 : at + 2])
            at += 2
            continue
        else:
            size = (value + 1) // 2 if nibbles else value
            run = data[at : at + size]
            run = _nibbles(run)[:value] if nibbles else run
            at += size + size % 2
        room = max(0, min(len(run), width - x))  # what runs over the end of the row is not drawn
        flat[y * width + x : y * width + x + room] = run[:room]
        x += len(run)
    if steps == most_steps:
        raise InputError("holds run lengths that lead nowhere")
    return np.frombuffer(flat, np.uint8).reshape(height, width)


def _nibbles(data: bytes) -> bytes:
    """Two palette indexes out of each byte."""
    return bytes(index for value in data for index in (value >> 4, value & 15))
