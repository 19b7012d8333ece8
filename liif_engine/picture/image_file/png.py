"""PNG: what its header promises, and stills and animations (APNG) in and out.

Kept: every chunk that does not depend on the pixels, as it is and in its place; 8 and 16 bits, alpha, interlace; every
frame of an animation with its time, the loop count, the hidden still. Palettes and transparent colours become RGB and
alpha, since a restored picture has more colours; EXIF and XMP that ImageMagick wrote as texts become chunks. Left out
with a note: sBIT, hIST, iDOT, prVW and a suggested palette. Refused: chunks that depend on the pixels and are not
known, HDR (PQ, HLG), Apple's CgBI, animations that contradict themselves.
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from liif_engine.errors import InputError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file.canvas import Blend, Canvas, Disposal
from liif_engine.picture.image_file.contents import Frame, Limits, Piece, Pixels
from liif_engine.picture.image_file.inflate import MOST_GROWTH
from liif_engine.picture.image_file.png_chunks import SIGNATURE, Chunks, chunk_bytes, chunk_parts, take_apart
from liif_engine.picture.image_file.png_filter import filtered
from liif_engine.picture.image_file.png_metadata import ancillary, read_metadata
from liif_engine.picture.image_file.png_pixels import SAMPLES, Part, Plan, decode_part, unpacked_size, with_layout
from liif_engine.picture.image_file.room import Capacity, Header, Order
from liif_engine.picture.image_file.shortage import require_pixels, shortage
from liif_engine.picture.image_file.timing import as_small_fraction

#: The standard allows 2**31 - 1 pixels a side; libpng, and with it most viewers, refuses more than a million.
CAPACITY = Capacity(
    longest_side=1_000_000,
    layouts=frozenset({"L", "LA", "RGB", "RGBA"}),
    bits=frozenset({8, 16}),
    animated=True,
    carries=dict.fromkeys(
        ("exif", "icc", "xmp", "photoshop", "iptc", "density", "comments", "texts"), (1 << 31) - 1 - 100
    ),
    aspects=(1 / ((1 << 31) - 1), (1 << 31) - 1),
    coding=(0, 5.5),
)

_COLOUR_TYPES = {"L": 0, "LA": 4, "RGB": 2, "RGBA": 6}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}


def inspect(data: bytes, limits: Limits) -> Header:
    """Size, layout and metadata of a PNG file.

    Args:
        data: the file.
        limits: what is refused as too large.

    Raises:
        InputError, UnsupportedError, TooLargeError: in words.
    """
    chunks = take_apart(data, limits)
    width, height, depth, colour_type, interlaced = _header(chunks)
    palette, key = _palette(chunks, colour_type), _key(chunks, colour_type)
    parts = tuple(_parts(chunks, width, height))
    if not parts:
        raise TruncatedError("the PNG data ends before the first pixel")
    metadata = read_metadata(chunks, limits)
    layout = _layout(colour_type, palette, key, parts, has_profile=metadata.icc is not None)
    plan = Plan(depth, colour_type, interlaced, palette, key, parts, layout)
    pieces = metadata.pieces + tuple(_background(chunks, plan))
    notes = metadata.notes
    if colour_type in {2, 6} and chunks.first(b"PLTE") is not None:
        notes += ("the suggested palette (PLTE) was left out: it was made from the old pixels",)
    loop = chunks.first(b"acTL")
    hidden = ("a picture for viewers without animation",) if any(part.hidden for part in parts) else ()
    metadata = replace(
        metadata,
        bound_to_home=metadata.bound_to_home + hidden,
        pieces=pieces,
        notes=notes,
        progressive=interlaced,
        loop=int.from_bytes(loop[4:8]) if loop is not None else None,
    )
    cut = _cut(chunks, plan)
    orientation = exif_block.orientation(metadata.exif)
    bits = 16 if depth == 16 else 8
    return Header(width, height, layout, bits, metadata, len(parts), orientation, cut, plan)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """The pixels as stored (not upright); what is missing of a cut file is 0.

    Raises:
        TruncatedError, InputError.
    """
    del data  # the plan holds what is needed of it
    plan: Plan = header.plan
    dtype = np.dtype(np.uint16 if header.bits == 16 else np.uint8)
    canvas = Canvas(header.height, header.width, header.layout, dtype)
    animated = header.metadata.loop is not None
    frames = []
    for part in plan.parts:
        pixels = decode_part(part, plan, allow_truncated=allow_truncated)
        if not animated or part.hidden:
            frames.append(Frame(with_layout(pixels, header.layout), part.duration, hidden=part.hidden))
            continue
        shown = canvas.draw(with_layout(pixels, header.layout), part.y, part.x, part.blend, part.disposal)
        frames.append(Frame(shown, part.duration))
    return frames


def encode(order: Order) -> tuple[bytes, list[str]]:
    """A PNG file of all frames; an animation's frames are whole pictures, so nothing depends on the one before."""
    early, late = ancillary(order.metadata)
    interlaced = order.metadata.progressive and order.metadata.home == "PNG"
    colour_type = _COLOUR_TYPES[order.layout]
    head = struct.pack(">IIBBBBB", order.width, order.height, order.bits, colour_type, 0, 0, int(interlaced))
    parts = [SIGNATURE, chunk_bytes(b"IHDR", head), early]
    animated = len(order.frames) > 1 or order.metadata.loop is not None
    shown = sum(not frame.hidden for frame in order.frames)
    if animated:
        parts.append(chunk_bytes(b"acTL", struct.pack(">II", shown, order.metadata.loop or 0)))
    sequence = 0
    for index, frame in enumerate(order.frames):
        if animated and not frame.hidden:
            parts.append(chunk_bytes(b"fcTL", _frame_control(sequence, frame)))
            sequence += 1
        for block in filtered(frame.pixels, interlaced=interlaced):
            if index == 0:
                parts += chunk_parts(b"IDAT", block)
            else:
                parts += chunk_parts(b"fdAT", struct.pack(">I", sequence) + block)
                sequence += 1
    after = b"".join(p.data for p in order.metadata.pieces if p.kind == "<AFTER>" and order.metadata.home == "PNG")
    return b"".join([*parts, late, chunk_bytes(b"IEND", b""), after]), []


def _header(chunks: Chunks) -> tuple[int, int, int, int, bool]:
    """Width, height, bits per sample, colour type, interlaced.

    Raises:
        InputError, UnsupportedError.
    """
    first = chunks.all[0] if chunks.all else None
    if first is not None and first.kind == b"CgBI":
        raise UnsupportedError(
            "is Apple's own variant of PNG (CgBI), not a PNG file", remedy="Convert it to PNG first."
        )
    if first is None:
        raise TruncatedError("the PNG data ends before the picture's size")
    if first.kind != b"IHDR" or len(first.data) != 13:
        raise InputError("does not begin with a PNG header chunk")
    width, height, depth, colour_type, compression, method, interlace = struct.unpack(">IIBBBBB", first.data)
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise InputError(f"the PNG header says {width} x {height} pixels")
    if max(width, height) > CAPACITY.longest_side:
        raise UnsupportedError(f"is {width:,} x {height:,} pixels; more than a million a side no PNG library reads")
    if depth not in _DEPTHS.get(colour_type, ()):
        raise InputError(f"the PNG header says {depth} bits in colour type {colour_type}, which does not exist")
    if compression or method or interlace > 1:
        raise InputError("the PNG header names a compression, filter or interlace method that does not exist")
    return width, height, depth, colour_type, interlace == 1


def _palette(chunks: Chunks, colour_type: int) -> Pixels | None:
    """(256, 3) or, with transparency, (256, 4) uint8; entries the file lacks are opaque black, as in every viewer."""
    if colour_type != 3:
        return None
    entries = chunks.first(b"PLTE")
    if entries is None or not entries or len(entries) % 3 or len(entries) > 768:
        raise InputError("is a palette picture without a proper palette")
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 3] = 255
    count = len(entries) // 3
    palette[:count, :3] = np.frombuffer(entries, np.uint8).reshape(count, 3)
    alpha = np.frombuffer((chunks.first(b"tRNS") or b"")[:count], np.uint8)
    palette[: len(alpha), 3] = alpha
    return palette if (alpha < 255).any() else palette[:, :3]


def _key(chunks: Chunks, colour_type: int) -> tuple[int, ...] | None:
    """The colour that is transparent in a gray or RGB picture."""
    data = chunks.first(b"tRNS")
    if data is None or colour_type not in {0, 2}:
        return None
    if len(data) != 2 * SAMPLES[colour_type]:
        raise InputError("the PNG transparency chunk has the wrong length")
    return struct.unpack(f">{SAMPLES[colour_type]}H", data)


def _parts(chunks: Chunks, width: int, height: int) -> list[Part]:
    """The coded pictures, in order.

    Raises:
        InputError: the animation's chunks contradict each other.
    """
    still = tuple(chunk.data for chunk in chunks.all if chunk.kind == b"IDAT")
    control = chunks.first(b"acTL")
    kinds = [chunk.kind for chunk in chunks.all if chunk.kind in {b"acTL", b"IDAT"}]
    if kinds.count(b"acTL") > 1 or (control is not None and kinds[0] != b"acTL"):
        raise InputError("the header of its animation stands twice, or after the pixels")
    if control is None:
        return [Part(still, width, height)] if still else []
    parts: list[Part] = []
    pending: Part | None = None
    sequence = 0
    data: list[bytes] = []
    for chunk in chunks.all:
        if chunk.kind in {b"fcTL", b"fdAT"}:
            if len(chunk.data) < 4 or int.from_bytes(chunk.data[:4]) != sequence:
                raise InputError("the animation's frames are out of order")
            sequence += 1
        if chunk.kind == b"IDAT":
            if pending is None and not parts and not data:
                parts.append(Part(still, width, height, hidden=True))
            elif pending is not None and not data:
                if (pending.width, pending.height) != (width, height):
                    raise InputError("the animation's first frame, which is also the still, is not as large as it")
                data = list(still)
        elif chunk.kind == b"fdAT":
            data.append(chunk.data[4:])
        elif chunk.kind == b"fcTL":
            if pending is not None:
                parts.append(_filled(pending, data))
            pending, data = _frame_of(chunk.data, width, height), []
    if pending is not None:
        parts.append(_filled(pending, data))
    shown = sum(not part.hidden for part in parts)
    if len(control) != 8 or shown != int.from_bytes(control[:4]) or shown == 0:
        raise InputError(f"says it has {int.from_bytes(control[:4])} frames and has {shown}")
    return parts


def _filled(part: Part, data: list[bytes]) -> Part:
    if not data:
        raise InputError("holds a frame without pixels")
    return replace(part, data=tuple(data))


def _frame_of(data: bytes, width: int, height: int) -> Part:
    if len(data) != 26:
        raise InputError("the header of an animation's frame has the wrong length")
    w, h, x, y, numerator, denominator, disposal, blend = struct.unpack(">IIIIHHBB", data[4:])
    if not w or not h or x + w > width or y + h > height:
        raise InputError("a frame of the animation lies outside of the picture")
    if disposal > 2 or blend > 1:
        raise InputError("a frame of the animation names a way of drawing that does not exist")
    return Part((), w, h, x, y, (numerator, denominator or 100), Disposal(disposal), Blend(blend))


def _layout(
    colour_type: int,
    palette: Pixels | None,
    key: tuple[int, ...] | None,
    parts: tuple[Part, ...],
    *,
    has_profile: bool,
) -> str:
    """The layout of the arrays: palettes become colours, a transparent colour becomes alpha."""
    is_gray = colour_type in {0, 4}
    if palette is not None and not has_profile:  # an RGB profile must not meet gray pixels
        is_gray = bool((palette[:, :1] == palette[:, :3]).all())
    has_alpha = colour_type in {4, 6} or key is not None or (palette is not None and palette.shape[1] == 4)
    shown = [part for part in parts if not part.hidden]
    if len(shown) > 1 or len(parts) > 1:
        # Where a frame is cleared away, or never drawn, the canvas is transparent.
        whole = max((part.width * part.height for part in parts), default=0)
        has_alpha = has_alpha or any(part.disposal is not Disposal.KEEP for part in shown)
        has_alpha = has_alpha or (bool(shown) and shown[0].width * shown[0].height < whole)
    return ("L" if is_gray else "RGB") + ("A" if has_alpha else "")


def _cut(chunks: Chunks, plan: Plan) -> str | None:
    """Why the file counts as truncated, or None."""
    packed = [sum(map(len, part.data)) for part in plan.parts]
    require_pixels("PNG", sum(packed))
    for part, octets in zip(plan.parts, packed, strict=True):
        if why := shortage("PNG", octets, octets * MOST_GROWTH, unpacked_size(part, plan)):
            return why
    return "the PNG data ends early, without its end chunk" if chunks.cut else None


def _background(chunks: Chunks, plan: Plan) -> list[Piece]:
    """The background colour (bKGD), converted to the samples of the result."""
    data = chunks.first(b"bKGD")
    if data is None:
        return []
    if plan.palette is not None:
        values = [int(v) for v in plan.palette[data[0], :3]] if data else []
    else:
        scale = 255 // ((1 << plan.depth) - 1) if plan.depth < 8 else 1
        values = [v * scale for v in struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2])]
    wanted = 1 if plan.layout in {"L", "LA"} else 3
    values = values[:1] if wanted == 1 else values
    if len(values) != wanted:
        raise InputError("the PNG background chunk has the wrong length")
    return [Piece("bKGD", struct.pack(f">{wanted}H", *values))]


def _frame_control(sequence: int, frame: Frame) -> bytes:
    height, width = frame.pixels.shape[:2]
    numerator, denominator = as_small_fraction(frame.duration, most=0xFFFF)
    return struct.pack(">IIIIIHHBB", sequence, width, height, 0, 0, numerator, denominator, 0, 0)
