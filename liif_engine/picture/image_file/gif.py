"""GIF pixels: palettes become colours, an animation's parts whole frames, and back.

Kept byte for byte: comments, application extensions and unknown ones (those between two frames move behind the last),
XMP and ICC extensions, what follows the end mark; each frame's hundredths of a second, the loop count, interlacing, the
pixels' aspect ratio. Converted: the result has one palette a frame, exact where it holds at most 256 colours (255
beside transparency), else representative ones and dithering; transparency stays hard; disposal and partial frames are
resolved, then found anew. Left out with a note: the background colour, waiting for input. Refused: plain text blocks.
No place for: EXIF, IPTC, texts, pixels per inch, 16 bits.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import imagecodecs
import numpy as np
from PIL import Image

from liif_engine.errors import InputError, TooLargeError, TruncatedError
from liif_engine.picture.image_file import gif_blocks as blocks_of
from liif_engine.picture.image_file.canvas import Blend, Canvas, Disposal
from liif_engine.picture.image_file.change import Box, changed_box, whole
from liif_engine.picture.image_file.contents import RAISE_THE_LIMIT, Density, Frame, Limits, Pixels
from liif_engine.picture.image_file.gif_blocks import Blocks, Part
from liif_engine.picture.image_file.lzw import MOST_INDEXES_PER_BYTE, unpack_what_is_there
from liif_engine.picture.image_file.palette import Indexed, indexed
from liif_engine.picture.image_file.room import ANY_SIZE, Capacity, Header, Order
from liif_engine.picture.image_file.shortage import require_pixels, shortage
from liif_engine.picture.image_file.timing import in_ticks

CAPACITY = Capacity(
    longest_side=65_535,
    layouts=frozenset({"L", "LA", "RGB", "RGBA"}),
    bits=frozenset({8}),
    animated=True,
    carries={"icc": ANY_SIZE, "xmp": ANY_SIZE, "comments": ANY_SIZE},
    aspects=(16 / 64, 270 / 64),
    coding=(10, 3),
    turned_to_colour=frozenset({"L", "LA"}),
)
_HALF = 128  # alpha from which a pixel is drawn


def inspect(data: bytes, limits: Limits) -> Header:
    """Size, layout and metadata of a GIF file.

    Args:
        data: the file.
        limits: what is refused as too large.

    Raises:
        InputError, UnsupportedError, TooLargeError: in words.
    """
    blocks = blocks_of.take_apart(data, limits)
    parts = blocks.parts
    if not parts:
        raise TruncatedError("the GIF data ends before the first picture")
    width, height, notes = _canvas_size(blocks)
    most = max(limits.max_pixels, 0)
    if (total := sum(part.width * part.height for part in parts)) > most:
        words = f"holds frames of {total:,} pixels together, more than the limit of {most:,}"
        raise TooLargeError(words, remedy=RAISE_THE_LIMIT)
    covers = parts[0].y == parts[0].x == 0 and parts[0].width >= width and parts[0].height >= height
    # Parts may leave pixels undrawn and the picture be opaque all the same, if the first one fills it.
    cleared = any(part.disposal is Disposal.CLEAR for part in parts[:-1])
    cleared = cleared or (len(parts) > 1 and parts[0].disposal is Disposal.RESTORE)
    has_alpha = parts[0].transparent is not None or not covers or cleared
    is_gray = blocks.metadata.icc is None and all((p.palette == p.palette[:, :1]).all() for p in parts)
    layout = ("L" if is_gray else "RGB") + ("A" if has_alpha else "")
    metadata = replace(blocks.metadata, notes=(*blocks.metadata.notes, *notes))
    return Header(width, height, layout, 8, metadata, len(parts), 1, _lack(parts) or blocks.cut, parts)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """Every frame as a whole picture; what is missing of a cut file is transparent, or else black.

    Raises:
        TruncatedError: a frame's data ends early.
    """
    del data  # the plan holds what is needed
    parts: list[Part] = header.plan
    colours = 1 if header.layout in {"L", "LA"} else 3
    canvas = Canvas(header.height, header.width, "LA" if colours == 1 else "RGBA", np.dtype(np.uint8))
    frames = []
    for part in parts:
        height, width = min(part.height, header.height - part.y), min(part.width, header.width - part.x)
        if height <= 0 or width <= 0:  # wholly outside: a pause
            drawn = canvas.draw(np.zeros((1, 1, colours + 1), np.uint8), 0, 0, Blend.OVER, Disposal.KEEP)
        else:
            pixels, has_holes = _decode_part(part, colours, allow_truncated=allow_truncated)
            blend = Blend.OVER if has_holes else Blend.REPLACE
            drawn = canvas.draw(pixels[:height, :width], part.y, part.x, blend, part.disposal)
        shown = drawn if header.layout.endswith("A") else np.ascontiguousarray(drawn[..., :colours])
        frames.append(Frame(shown, part.duration))
    return frames


def encode(order: Order) -> tuple[bytes, list[str]]:
    """A GIF file of all frames, each with a palette of its own."""
    notes: list[str] = []
    frames = order.frames
    animated = len(frames) > 1
    before, behind, after = blocks_of.around(order.metadata, animated=animated)
    drawings = _drawings(frames, order.layout)
    if order.layout.endswith("A") and any(_is_soft(frame.pixels[..., -1]) for frame in frames):
        notes.append("GIF has no partial transparency: each pixel became opaque or transparent")
    if not all(drawing.picture.exact for drawing in drawings):
        notes.append("the colours were reduced to the 256 that a GIF frame holds")
    interlaced = order.metadata.progressive and order.metadata.home == "GIF"
    first = drawings[0].picture.palette
    bits = _palette_bits(first)
    screen = struct.pack("<HHBBB", order.width, order.height, 0xF0 | bits - 1, 0, _aspect(order.metadata.density))
    parts = [b"GIF89a", screen, _palette_bytes(first), before]
    hundredths = in_ticks((frame.duration for frame in frames), per_second=100, most=0xFFFF)
    for drawing, duration in zip(drawings, hundredths, strict=True):
        if animated or drawing.picture.transparent is not None or duration:
            parts.append(_control(drawing, duration))
        parts.append(_picture_bytes(drawing, None if drawing is drawings[0] else first, interlaced=interlaced))
    return b"".join([*parts, behind, b";", after]), notes


@dataclass(frozen=True)
class _Drawing:
    """A frame of the result: what is drawn where, and what becomes of it."""

    box: Box
    picture: Indexed
    disposal: Disposal


def _canvas_size(blocks: Blocks) -> tuple[int, int, list[str]]:
    """Width and height, by the rule of browsers: the first frame may enlarge the screen, later ones are clipped."""
    first = blocks.parts[0]
    width, height = max(blocks.width, first.x + first.width), max(blocks.height, first.y + first.height)
    beyond = any(part.x + part.width > width or part.y + part.height > height for part in blocks.parts)
    return width, height, ["what lies outside of the picture was left out of its later frames"] if beyond else []


def _lack(parts: list[Part]) -> str | None:
    """Why the file counts as truncated, or None."""
    require_pixels("GIF", sum(len(part.packed) for part in parts))
    reasons = (
        shortage("GIF", len(part.packed), len(part.packed) * MOST_INDEXES_PER_BYTE, part.width * part.height, "a frame")
        for part in parts
    )
    return next(filter(None, reasons), None)


def _decode_part(part: Part, colours: int, *, allow_truncated: bool) -> tuple[Pixels, bool]:
    """(h, w, colours + alpha) of one picture, and whether some of it is not drawn."""
    indexes, drawn = _indexes(part, allow_truncated=allow_truncated)
    palette = np.full((256, colours + 1), 255, np.uint8)
    palette[:, :colours] = part.palette[:, :colours]
    if part.transparent is not None:
        palette[part.transparent] = 0
    pixels = palette[indexes]
    if drawn is not None:
        pixels[~drawn] = 0
    has_holes = drawn is not None or (part.transparent is not None and bool((indexes == part.transparent).any()))
    return pixels, has_holes


def _indexes(part: Part, *, allow_truncated: bool) -> tuple[Pixels, Pixels | None]:
    """(h, w) palette indexes, and which of them the data holds (None: all)."""
    with contextlib.suppress(imagecodecs.GifError):  # the slow way says how much there is
        return _unpacked(part), None
    count = part.height * part.width
    there = unpack_what_is_there(part.packed, part.code_size, count)
    if len(there) < count and not allow_truncated:
        raise TruncatedError(f"the GIF data of a frame ends or breaks after {len(there) / count:.0%} of its pixels")
    rows = np.arange(part.height)
    if part.interlaced:
        rows = np.concatenate([rows[0::8], rows[4::8], rows[2::4], rows[1::2]])
    indexes = np.zeros((part.height, part.width), np.uint8)
    indexes[rows] = np.frombuffer(there.ljust(count, b"\0"), np.uint8).reshape(part.height, part.width)
    if len(there) == count:
        return indexes, None
    drawn = np.zeros((part.height, part.width), bool)
    drawn[rows] = (np.arange(count) < len(there)).reshape(part.height, part.width)
    return indexes, drawn


def _unpacked(part: Part) -> Pixels:
    """(h, w) palette indexes, by giflib from a file that holds nothing else."""
    head = struct.pack("<HHBBB", part.width, part.height, 0xF7, 0, 0)
    place = b"," + struct.pack("<HHHHB", 0, 0, part.width, part.height, part.interlaced << 6)
    data = [b"GIF89a", head, bytes(768), place, bytes([part.code_size]), blocks_of.subblocks(part.packed), b";"]
    pixels: Pixels = imagecodecs.gif_decode(b"".join(data), index=0, asrgb=False)
    if pixels.shape != (part.height, part.width):
        raise InputError("the GIF data and its header tell different sizes")
    return pixels


def _is_soft(alpha: Pixels) -> bool:
    return bool(((alpha != 0) & (alpha != 255)).any())


def _drawings(frames: Sequence[Frame], layout: str) -> list[_Drawing]:
    """What each frame has to draw: what changed, or all of it where pixels have to vanish."""
    has_alpha = layout.endswith("A")
    opaque = [f.pixels[..., -1] >= _HALF if has_alpha else np.ones(f.pixels.shape[:2], bool) for f in frames]
    colours = [f.pixels[..., :-1] if has_alpha else f.pixels for f in frames]
    vanishing = any((before & ~after).any() for before, after in itertools.pairwise(opaque))
    disposal = Disposal.CLEAR if vanishing else Disposal.KEEP
    drawings = []
    seen: Pixels | None = None
    for plane, mask in zip(colours, opaque, strict=True):
        box = whole(plane)
        if len(frames) > 1 and not vanishing:
            now = np.dstack([np.where(mask[..., None], plane, 0), mask])
            box = box if seen is None else changed_box(seen, now)
            seen = now
        part = box.cut_from(plane)
        part = part if part.shape[2] == 3 else part.repeat(3, axis=2)
        # Where pixels vanish each frame names a transparent index: some viewers clear to the background colour without.
        picture = indexed(part, box.cut_from(mask[..., None])[..., 0], transparent=vanishing)
        drawings.append(_Drawing(box, picture, disposal))
    return drawings


def _control(drawing: _Drawing, hundredths: int) -> bytes:
    """The block that says how long a frame stays and which index is transparent."""
    transparent = drawing.picture.transparent
    flags = {Disposal.KEEP: 1, Disposal.CLEAR: 2}[drawing.disposal] << 2 | (transparent is not None)
    return b"!\xf9\x04" + struct.pack("<BHBB", flags, hundredths, transparent or 0, 0)


def _picture_bytes(drawing: _Drawing, shared: Pixels | None, *, interlaced: bool) -> bytes:
    """An image block, with a palette of its own where the shared one (None: its own) is another."""
    file = io.BytesIO()
    Image.fromarray(drawing.picture.indexes).save(file, "GIF", optimize=False, interlace=int(interlaced))
    coded = blocks_of.take_apart(file.getvalue(), Limits(max_pieces=1 << 40)).parts[0]
    palette = drawing.picture.palette
    own = b""
    flags = coded.interlaced << 6
    if shared is not None and not np.array_equal(palette, shared):
        own, flags = _palette_bytes(palette), flags | 0x80 | _palette_bits(palette) - 1
    box = drawing.box
    place = b"," + struct.pack("<HHHHB", box.x, box.y, box.width, box.height, flags)
    return place + own + bytes([coded.code_size]) + blocks_of.subblocks(coded.packed)


def _palette_bits(palette: Pixels) -> int:
    return max(1, int(len(palette) - 1).bit_length())


def _palette_bytes(palette: Pixels) -> bytes:
    return palette.tobytes().ljust(3 << _palette_bits(palette), b"\0")


def _aspect(density: Density | None) -> int:
    """The pixels' aspect ratio in 64ths less 15, or 0."""
    if density is None or density.unit != "aspect" or (aspect := density.aspect()) is None:
        return 0
    ratio = round(64 * aspect) - 15
    return ratio if 1 <= ratio <= 255 else 0
