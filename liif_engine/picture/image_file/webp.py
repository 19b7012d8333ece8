"""WebP pixels: lossy stays lossy, lossless stays lossless; alpha and animation. libwebp codes, the container is ours.

Kept byte for byte: ICCP, EXIF and XMP chunks, unknown chunks and their place, what follows the container; the loop
count, the background colour and each frame's milliseconds. Gray pixels become RGB, since WebP knows no other. A lossy
result is 4:2:0, the one sampling that WebP has. Left out with a note: chunks inside of an animation's frame that are no
part of its picture. No place for: comments, texts, Photoshop resources, IPTC and density (but in EXIF), 16 bits, CMYK,
sides above 16,383. Refused: gray with a gray profile from another format.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from liif_engine.errors import InputError, TruncatedError
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file import webp_chunks as chunks_of
from liif_engine.picture.image_file.canvas import Blend, Canvas, Disposal
from liif_engine.picture.image_file.change import Box, changed_box, whole
from liif_engine.picture.image_file.contents import Frame, Limits, Piece, Pixels
from liif_engine.picture.image_file.room import Capacity, Header, Order
from liif_engine.picture.image_file.timing import in_ticks
from liif_engine.picture.image_file.webp_chunks import Chunk, Chunks, chunk_bytes, triple

CAPACITY = Capacity(
    longest_side=16_383,  # 14 bits
    layouts=frozenset({"L", "LA", "RGB", "RGBA"}),
    bits=frozenset({8}),
    animated=True,
    carries={"exif": (1 << 32) - 64, "icc": (1 << 32) - 64, "xmp": (1 << 32) - 64},
    coding=(40, 1),
    turned_to_colour=frozenset({"L", "LA"}),
)
_METHOD = 4  # libwebp's own default balance of size and time, 0 to 6


@dataclass(frozen=True)
class _Part:
    """One coded picture: the still, or a frame of an animation at its place on the canvas."""

    image: Chunk
    alpha: Chunk | None
    width: int
    height: int
    has_alpha: bool
    y: int = 0
    x: int = 0
    duration: tuple[int, int] = (0, 1000)
    disposal: Disposal = Disposal.KEEP
    blend: Blend = Blend.REPLACE


def inspect(data: bytes, limits: Limits) -> Header:
    """Size, layout and metadata of a WebP file.

    Args:
        data: the file.
        limits: what is refused as too large.

    Raises:
        InputError, TooLargeError: in words.
    """
    chunks = chunks_of.take_apart(data, limits)
    metadata = chunks_of.read_metadata(chunks, limits)
    notes: list[str] = []
    parts = tuple(_parts(chunks, limits, notes))
    animation = chunks.first(b"ANIM")
    if not parts:
        raise TruncatedError("the WebP data ends before the first pixel")
    width, height = _canvas_size(chunks, parts)
    if animation is not None and len(animation.data) >= 6:
        background, loop = animation.data[:4], int.from_bytes(animation.data[4:6], "little")
        metadata = replace(metadata, loop=loop, pieces=(*metadata.pieces, Piece("<BACKGROUND>", background)))
    elif animation is not None:
        raise InputError("the animation's header is damaged")
    lossless = [part.image.kind == b"VP8L" for part in parts]
    if any(lossless) and not all(lossless):
        notes.append("frames stored without loss become lossy, as the animation's other frames are")
    metadata = replace(metadata, lossless=all(lossless), notes=tuple(dict.fromkeys(notes)))
    extended = chunks.first(b"VP8X")
    has_alpha = any(part.has_alpha for part in parts)
    has_alpha = has_alpha or (extended is not None and bool(extended.data[0] & chunks_of.ALPHA_FLAG))
    if animation is not None:  # where a frame is cleared away, or never drawn, the canvas is transparent
        has_alpha = has_alpha or (parts[0].width, parts[0].height) != (width, height)
        has_alpha = has_alpha or any(part.disposal is Disposal.CLEAR for part in parts[:-1])
    layout = "RGBA" if has_alpha else "RGB"
    orientation = exif_block.orientation(metadata.exif)
    return Header(width, height, layout, 8, metadata, len(parts), orientation, chunks.cut, parts)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """The pixels as stored (not upright); what is missing of a cut file is a smear of what is there.

    Raises:
        InputError: the pixel data is damaged.
    """
    del data, allow_truncated  # the plan holds what is needed
    parts: tuple[_Part, ...] = header.plan
    if header.metadata.loop is None:
        return [Frame(_decode_part(parts[0], header.layout), parts[0].duration)]
    canvas = Canvas(header.height, header.width, header.layout, np.dtype(np.uint8))
    frames = []
    for part in parts:
        shown = canvas.draw(_decode_part(part, header.layout), part.y, part.x, part.blend, part.disposal)
        frames.append(Frame(shown, part.duration))
    return frames


def encode(order: Order) -> tuple[bytes, list[str]]:
    """A WebP file of all frames; of an animation each frame holds the rectangle that changed."""
    before, behind, after, flags = chunks_of.around(order.metadata)
    frames = [replace(frame, pixels=_as_colour(frame.pixels)) for frame in order.frames]
    has_alpha = frames[0].pixels.shape[2] == 4
    if len(frames) == 1 and order.metadata.loop is None:
        image = _encode_pixels(frames[0].pixels, order)
        if not flags and not has_alpha and not before and not behind:
            return chunks_of.riff(image) + after, []
    else:
        flags |= chunks_of.ANIMATION_FLAG
        background = next((p.data for p in order.metadata.pieces if p.kind == "<BACKGROUND>"), bytes(4))
        loop = struct.pack("<H", min(order.metadata.loop or 0, 0xFFFF))
        image = chunk_bytes(b"ANIM", background + loop) + b"".join(_animation(frames, order))
    flags |= has_alpha * chunks_of.ALPHA_FLAG
    header = chunks_of.extended_header(order.width, order.height, flags)
    return chunks_of.riff(b"".join([header, before, image, behind])) + after, []


def _parts(chunks: Chunks, limits: Limits, notes: list[str]) -> list[_Part]:
    """The coded pictures, in order.

    Raises:
        InputError: chunks contradict each other.
    """
    frames = [chunk for chunk in chunks.all if chunk.kind == b"ANMF"]
    if chunks.first(b"ANIM") is None:
        if frames:
            raise InputError("holds an animation's frames without its header")
        part = _picture(chunks.all)
        return [] if part is None else [part]
    parts = []
    for chunk in frames:
        part = _animation_part(chunk, limits, notes)
        if part is not None:
            parts.append(part)
    return parts


def _picture(chunks: list[Chunk]) -> _Part | None:
    """The one picture among chunks, None if the data ends before its size.

    Raises:
        InputError.
    """
    images = [chunk for chunk in chunks if chunk.kind in {b"VP8 ", b"VP8L"}]
    if len(images) > 1:
        raise InputError("holds several pictures where there should be one")
    if not images:
        return None
    image = images[0]
    alpha = next((chunk for chunk in chunks if chunk.kind == b"ALPH"), None) if image.kind == b"VP8 " else None
    size = _size(image)
    return None if size is None else _Part(image, alpha, size[0], size[1], size[2] or alpha is not None)


def _size(image: Chunk) -> tuple[int, int, bool] | None:
    """Width, height and whether there is alpha, of a coded picture.

    Raises:
        InputError: the data is not what its chunk says.
    """
    data = image.data
    if len(data) < min(image.size, 10):
        return None
    if image.kind == b"VP8L":
        if len(data) < 5 or data[0] != 0x2F or data[4] >> 5:
            raise InputError("the header of the lossless WebP data is damaged")
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if len(data) < 10 or data[0] & 1 or data[3:6] != b"\x9d\x01\x2a":
        raise InputError("the header of the lossy WebP data is damaged")
    width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (6, 8))
    if not width or not height:
        raise InputError(f"the WebP header says {width} x {height} pixels")
    return width, height, False


def _animation_part(chunk: Chunk, limits: Limits, notes: list[str]) -> _Part | None:
    """One frame of an animation, None if the data ends before its size."""
    head = chunk.data[:16]
    if len(head) < 16:
        if chunk.size < 16:
            raise InputError("the header of an animation's frame is damaged")
        return None
    inner = chunks_of.chunks_of(chunk.data, 16, limits)
    part = _picture(inner)
    if part is None:
        if len(chunk.data) < chunk.size:
            return None
        raise InputError("holds a frame without pixels")
    if any(other.kind not in {b"VP8 ", b"VP8L", b"ALPH"} for other in inner):
        notes.append("unknown chunks inside of an animation's frame were left out")
    x, y, width, height, milliseconds = (int.from_bytes(head[i : i + 3], "little") for i in range(0, 15, 3))
    if (width + 1, height + 1) != (part.width, part.height):
        raise InputError("a frame of the animation and its header tell different sizes")
    disposal = Disposal.CLEAR if head[15] & 1 else Disposal.KEEP
    blend = Blend.REPLACE if head[15] & 2 else Blend.OVER
    return replace(part, y=2 * y, x=2 * x, duration=(milliseconds, 1000), disposal=disposal, blend=blend)


def _canvas_size(chunks: Chunks, parts: tuple[_Part, ...]) -> tuple[int, int]:
    """Width and height of the whole picture.

    Raises:
        InputError: it and its parts contradict each other.
    """
    extended = chunks.first(b"VP8X")
    if extended is None:
        return parts[0].width, parts[0].height
    if len(extended.data) < 10:
        raise InputError("the WebP header is damaged")
    width, height = (int.from_bytes(extended.data[i : i + 3], "little") + 1 for i in (4, 7))
    if chunks.first(b"ANIM") is None:
        if (width, height) != (parts[0].width, parts[0].height):
            raise InputError("the WebP data and its header tell different sizes")
    elif any(part.x + part.width > width or part.y + part.height > height for part in parts):
        raise InputError("a frame of the animation lies outside of the picture")
    return width, height


def _decode_part(part: _Part, layout: str) -> Pixels:
    """(H, W, 3 or 4) uint8 of one coded picture."""
    image = _whole(part.image)
    alone = chunk_bytes(part.image.kind, image)
    if part.alpha is not None:
        head = chunks_of.extended_header(part.width, part.height, chunks_of.ALPHA_FLAG)
        alone = head + chunk_bytes(b"ALPH", _whole(part.alpha)) + alone
    pixels: Any = imagecodecs.webp_decode(chunks_of.riff(alone), hasalpha=layout == "RGBA")
    if pixels.shape != (part.height, part.width, len(layout)) or pixels.dtype != np.uint8:
        raise InputError("the WebP data and its header tell different sizes")
    return np.ascontiguousarray(pixels)


def _whole(chunk: Chunk) -> bytes:
    """Its data, with zeros for what is cut off: to the coder of WebP they mean "as predicted"."""
    if len(chunk.data) == chunk.size:
        return chunk.data
    most = len(chunk.data) + (1 << 24)  # a lying size takes no memory worth mention
    return chunk.data.ljust(min(chunk.size, most), b"\0")


def _as_colour(pixels: Pixels) -> Pixels:
    """(H, W, 3 or 4) of gray or colour."""
    if pixels.shape[2] > 2:
        return pixels
    return np.ascontiguousarray(pixels[..., [0, 0, 0, 1][: 2 + pixels.shape[2]]])


def _encode_pixels(pixels: Pixels, order: Order) -> bytes:
    """The image chunks of one picture, as libwebp wrote them."""
    file = io.BytesIO()
    lossless = order.metadata.lossless
    quality = 75 if lossless else order.quality  # of lossless coding it is the effort
    # `exact`: colours under transparent pixels are part of what a lossless file carries.
    image = Image.fromarray(pixels)
    image.save(file, "WEBP", lossless=lossless, quality=quality, method=_METHOD, exact=True)
    chunks = chunks_of.take_apart(file.getvalue(), Limits())
    return b"".join(chunk_bytes(c.kind, c.data) for c in chunks.all if c.kind in {b"ALPH", b"VP8 ", b"VP8L"})


def _animation(frames: list[Frame], order: Order) -> list[bytes]:
    """The frames' chunks; each replaces what was there, so nothing is blended twice."""
    chunks = []
    before: Pixels | None = None
    milliseconds = in_ticks((frame.duration for frame in frames), per_second=1000, most=(1 << 24) - 1)
    for frame, duration in zip(frames, milliseconds, strict=True):
        box: Box = whole(frame.pixels) if before is None else changed_box(before, frame.pixels, step=2)
        before = frame.pixels
        head = triple(box.x // 2) + triple(box.y // 2) + triple(box.width - 1) + triple(box.height - 1)
        head += triple(duration) + b"\x02"
        chunks.append(chunk_bytes(b"ANMF", head + _encode_pixels(box.cut_from(frame.pixels), order)))
    return chunks
