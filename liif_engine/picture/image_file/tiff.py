"""TIFF pixels: 1 to 16 bits, gray, palette, RGB and CMYK, strips and tiles. libtiff decodes, the container is ours.

libtiff gets a minimal file of the pixels' tags and data alone. Kept byte for byte: every tag that does not describe how
pixels are stored, XMP, ICC, IPTC, Photoshop resources, the EXIF and GPS directories; byte order and BigTIFF; none, LZW
and deflate as the compression. Converted: 1, 2 and 4 bits to 8, palettes to colours, white-is-zero to black-is-zero,
YCbCr and JPEG to RGB without loss, associated alpha to straight, planes and tiles to strips. Left out with a note:
reduced copies on other pages. Refused: several pages, floating point and signed samples, 12 or 32 bits, Lab, CMYK with
alpha, spot channels, GeoTIFF, DNG, Photoshop layers. Another format's EXIF block is taken apart into directories, its
comments become the image description; texts have no place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any, Literal

import imagecodecs
import numpy as np

from liif_engine.errors import InputError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import tiff_metadata
from liif_engine.picture.image_file.contents import ANY_SIZE, Capacity, Frame, Header, Limits, Order, Pixels
from liif_engine.picture.image_file.tiff_tags import (
    LONG,
    LONG8,
    Directory,
    Form,
    Reader,
    number_tag,
    serialised,
)

CAPACITY = Capacity(
    longest_side=(1 << 31) - 1,
    layouts=frozenset({"L", "LA", "RGB", "RGBA", "CMYK"}),
    bits=frozenset({8, 16}),
    animated=False,
    carries=dict.fromkeys(("exif", "icc", "xmp", "photoshop", "iptc", "density", "comments"), ANY_SIZE),
)
_NONE, _LZW, _DEFLATE = 1, 5, 8
#: Compressions by number, and how much one byte can become where that has a bound.
_GROWTH = {1: 1, 2: None, 3: None, 4: None, 5: 2731, 6: None, 7: None, 8: 1032, 32773: 64, 32946: 1032}
_GROWTH |= {34925: None, 50000: None, 50001: None}
_LOSSY = {6, 7, 50001}
_BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 1, 2, 3, 5, 6
_NAMES = {4: "a transparency mask", 8: "Lab", 9: "Lab", 10: "Lab", 32803: "a camera's raw data", 32844: "HDR (LogLuv)"}
_NAMES |= {32845: "HDR (LogLuv)", 34892: "a camera's raw data"}
_STRIP_BYTES = 1 << 18
_MOST_SAMPLES = 5
#: What a decoder has to know of the old pixels.
_PIXEL_TAGS = {256, 257, 258, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 338, 339, 347} | {
    *range(512, 522),
    *range(529, 533),
}


@dataclass(frozen=True)
class _Plan:
    """How the pixels are stored."""

    file: Directory  # the pixels' tags without offsets
    form: Form
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tiled: bool
    height: int
    rows: int  # of a strip
    bits: int
    photometric: int
    samples: int
    planar: bool
    alpha: int | None  # 1 associated, 2 straight
    colours: Pixels | None  # (N, 3) uint8
    uncompressed: bool


def inspect(data: bytes, limits: Limits) -> Header:
    """Size, layout and metadata of a TIFF file.

    Args:
        data: the file.
        limits: what is refused as too large.

    Raises:
        InputError, UnsupportedError, TooLargeError: in words.
    """
    reader = Reader(data, replace(limits, max_metadata_bytes=2 * limits.max_metadata_bytes))
    directory = reader.directory(reader.first)
    if directory is None:
        raise TruncatedError("the TIFF data ends before the list of its tags")
    notes = _other_pages(reader, directory)
    width, height = (reader.integer(directory.tags.get(number)) for number in (256, 257))
    if not width or not height or max(width, height) > CAPACITY.longest_side:
        raise InputError(f"the TIFF header says {width} x {height} pixels")
    plan = _plan(reader, directory, width, height)
    compression = reader.integer(directory.tags.get(259)) or _NONE
    metadata = tiff_metadata.read_metadata(directory, reader)
    coding = {_LZW: "LZW", _NONE: "none"}.get(compression, "deflate")
    lossless = compression not in _LOSSY
    if plan.bits < 8 and plan.photometric <= _BLACK_IS_ZERO:
        notes.append(f"{plan.bits} bit{'s'[: plan.bits - 1]} per pixel became 8")
    if not lossless:
        notes.append("the lossy coding inside of TIFF was not used again: the result is stored without loss")
    if plan.alpha == 1:
        notes.append("the alpha was multiplied into the colours (associated); the result has it straight")
    metadata = replace(metadata, lossless=lossless, coding=coding, notes=(*metadata.notes, *notes))
    orientation = reader.integer(directory.tags.get(tiff_metadata.ORIENTATION)) or 1
    cut = _cut(data, plan, width, compression)
    layout = _layout(plan, has_profile=metadata.icc is not None)
    bits = 16 if plan.bits == 16 else 8
    return Header(width, height, layout, bits, metadata, 1, orientation if 1 <= orientation <= 8 else 1, cut, plan)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """The pixels as stored (not upright); rows missing from a cut file are black or transparent.

    Raises:
        TruncatedError: too little is there.
        InputError: the pixel data is damaged.
    """
    plan: _Plan = header.plan
    height = header.height
    if header.cut is not None and allow_truncated:
        height = _whole_rows(data, plan, header.width)
    samples = _decoded(data, plan, header.width, height)
    pixels = _coloured(samples, plan, header.layout)
    if height < header.height:
        missing = ((0, header.height - height), (0, 0), (0, 0))
        pixels = np.pad(pixels, missing)
    return [Frame(np.ascontiguousarray(pixels))]


def encode(order: Order) -> tuple[bytes, list[str]]:
    """A TIFF file of one page in strips, compressed as its source was: not at all, by LZW or by deflate."""
    notes: list[str] = []
    metadata, pixels = order.metadata, order.frames[0].pixels
    byte_order, big = tiff_metadata.form_of(metadata)
    directory = tiff_metadata.directory_for(metadata, byte_order, notes)
    coding = metadata.coding if metadata.home == "TIFF" else "deflate"
    compression = {"none": _NONE, "LZW": _LZW}.get(coding, _DEFLATE)
    if order.layout == "CMYK":
        pixels = np.iinfo(pixels.dtype).max - pixels
    rows = max(1, _STRIP_BYTES // (order.width * pixels.shape[2] * pixels.itemsize))
    strips = [_packed(pixels[y : y + rows], compression, byte_order) for y in range(0, order.height, rows)]
    size = sum(map(len, strips)) + sum(len(tag.data) for tag in directory.tags.values())
    big = big or size + 20 * len(strips) + (1 << 24) > 1 << 32

    def number(*values: int, kind: int = LONG) -> Any:
        return number_tag(byte_order, *values, kind=kind)

    short = 3
    channels, layout = pixels.shape[2], order.layout
    photometric = {"L": _BLACK_IS_ZERO, "LA": _BLACK_IS_ZERO, "CMYK": _CMYK}.get(layout, _RGB)
    directory.tags |= {
        256: number(order.width),
        257: number(order.height),
        258: number(*[order.bits] * channels, kind=short),
        259: number(compression, kind=short),
        262: number(photometric, kind=short),
        277: number(channels, kind=short),
        278: number(rows),
        279: number(*map(len, strips), kind=LONG8 if big else LONG),
        284: number(1, kind=short),
    }
    if compression != _NONE:
        directory.tags[317] = number(2, kind=short)
    if layout.endswith("A"):
        directory.tags[338] = number(2, kind=short)
    return _file(directory, (byte_order, big), strips), notes


def _other_pages(reader: Reader, first: Directory) -> list[str]:
    """Notes on reduced copies of the picture, on later pages or below the first.

    Raises:
        UnsupportedError: there are other pictures.
    """
    if (reader.integer(first.tags.get(254)) or 0) & 1:
        raise UnsupportedError("begins with a reduced copy, as cameras' raw files do", remedy="Convert it first.")
    seen, offset, notes = {reader.first}, first.next, set[str]()
    below = reader.integers(first.tags.get(330))
    for sub in below[:100]:
        directory = reader.directory(sub)
        if directory is None or not (reader.integer(directory.tags.get(254)) or 0) & 1:
            raise UnsupportedError("holds other pictures below the first (SubIFDs)", remedy="Save a flat copy first.")
        notes.add("smaller copies of the picture were left out: they show the old pixels")
    while offset and offset not in seen:
        seen.add(offset)
        directory = reader.directory(offset)
        if directory is None:
            break
        if not (reader.integer(directory.tags.get(254)) or 0) & 1:
            raise UnsupportedError("holds several pages", remedy="Save each page as a file of its own first.")
        notes.add("smaller copies of the picture were left out: they show the old pixels")
        offset = directory.next
    return sorted(notes)


def _plan(reader: Reader, directory: Directory, width: int, height: int) -> _Plan:
    """How the pixels are stored.

    Raises:
        InputError, UnsupportedError.
    """
    tags = directory.tags

    def one(number: int, default: int) -> int:
        value = reader.integer(tags.get(number))
        return default if value is None else value

    compression, samples, photometric = one(259, _NONE), one(277, 1), one(262, -1)
    if compression not in _GROWTH:
        raise UnsupportedError(f"is compressed by a method (number {compression}) that is not supported")
    if not 1 <= samples <= _MOST_SAMPLES:
        raise UnsupportedError(f"has {samples} samples per pixel")
    depths = set((reader.integers(tags.get(258)) or (1,))[:samples])
    if len(depths) != 1 or depths - {1, 2, 4, 8, 16}:
        raise UnsupportedError(f"has {' and '.join(map(str, sorted(depths)))} bits per sample")
    bits = depths.pop()
    if set(reader.integers(tags.get(339))) - {1, 4}:
        raise UnsupportedError("has signed or floating-point samples")
    base = {0: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}.get(photometric)
    if base is None:
        raise UnsupportedError(f"is stored in colours that are not supported: {_NAMES.get(photometric, photometric)}")
    if photometric == _CMYK and (one(332, 1) != 1 or one(334, 4) != 4):
        raise UnsupportedError("is stored in inks other than CMYK")
    if samples < base or (bits < 8 and samples > 1) or (photometric in {_PALETTE, _YCBCR} and bits > 8):
        raise UnsupportedError(f"has {samples} samples of {bits} bits per pixel, which do not fit its kind of colours")
    alpha = _alpha(reader, tags.get(338), samples - base, photometric)
    tiled = 322 in tags
    offsets = reader.integers(tags.get(324 if tiled else 273)) or reader.integers(tags.get(513))
    counts = reader.integers(tags.get(325 if tiled else 279)) or reader.integers(tags.get(514))
    rows = min(one(278, height) or height, height)
    planes = samples if one(284, 1) == 2 else 1
    if tiled:
        tile_width, tile_height = one(322, 0), one(323, 0)
        if not 0 < tile_width <= 1 << 16 or not 0 < tile_height <= 1 << 16 or tile_width % 16 or tile_height % 16:
            raise InputError(f"the TIFF header says tiles of {tile_width} x {tile_height} pixels")
        expected = -(-width // tile_width) * -(-height // tile_height) * planes
    else:
        expected = -(-height // rows) * planes
    if not counts and expected == 1 and offsets:
        counts = (len(reader.data) - offsets[0],)
    if len(offsets) < expected or len(counts) < expected:
        raise InputError(f"lists {min(len(offsets), len(counts))} of the {expected} parts of its pixels")
    if compression == _NONE and not tiled:  # some writers claim more bytes than the rows have
        row = (width * bits * (1 if planes > 1 else samples) + 7) // 8
        counts = tuple(min(count, row * rows) for count in counts)
    file = Directory({number: tag for number, tag in tags.items() if number in _PIXEL_TAGS})
    return _Plan(
        file=file,
        form=(reader.order, reader.big),
        offsets=offsets[:expected],
        counts=counts[:expected],
        tiled=tiled,
        height=height,
        rows=rows,
        bits=bits,
        photometric=photometric,
        samples=samples,
        planar=planes > 1,
        alpha=alpha,
        colours=_colour_map(reader, directory, bits) if photometric == _PALETTE else None,
        uncompressed=compression == _NONE,
    )


def _alpha(reader: Reader, tag: Any, extra: int, photometric: int) -> int | None:
    """What the one extra sample means, None if there is none.

    Raises:
        UnsupportedError: it is no alpha, or there are several.
    """
    if not extra:
        return None
    meaning = reader.integers(tag)[:extra] or (2,)  # without a word it is meant as alpha by most writers
    if extra > 1 or meaning[0] not in {1, 2} or photometric in {_CMYK, _YCBCR}:
        raise UnsupportedError("has extra channels (spot colours, masks or alpha beside CMYK)")
    return meaning[0]


def _colour_map(reader: Reader, directory: Directory, bits: int) -> Pixels:
    """(2 ** bits, 3) uint8."""
    values = reader.integers(directory.tags.get(320))
    count = 1 << bits
    if len(values) < 3 * count:
        raise InputError("is a palette picture without a proper palette")
    colours = np.array(values[: 3 * count], np.int64).reshape(3, count).T
    # Some writers put 8-bit values where 16 are meant.
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)


def _layout(plan: _Plan, *, has_profile: bool) -> str:
    if plan.photometric == _CMYK:
        return "CMYK"
    is_gray = plan.photometric <= _BLACK_IS_ZERO
    if plan.colours is not None and not has_profile:  # an RGB profile must not meet gray pixels
        is_gray = bool((plan.colours == plan.colours[:, :1]).all())
    return ("L" if is_gray else "RGB") + ("A" if plan.alpha else "")


def _cut(data: bytes, plan: _Plan, width: int, compression: int) -> str | None:
    """Why the file counts as truncated, or None."""
    beyond = sum(offset + count > len(data) for offset, count in zip(plan.offsets, plan.counts, strict=True))
    if beyond:
        return f"the TIFF data ends early: {beyond} of the {len(plan.offsets)} parts of its pixels lie behind its end"
    growth = _GROWTH[compression]
    if growth is None or plan.photometric == _YCBCR:
        return None
    needed = (width * plan.bits * plan.samples + 7) // 8 * plan.height
    if (there := sum(plan.counts) * growth) < needed:
        return (
            f"the TIFF data ends early: {sum(plan.counts):,} bytes can hold at most {there / needed:.0%} of the picture"
        )
    return None


def _whole_rows(data: bytes, plan: _Plan, width: int) -> int:
    """How many rows of a cut file are there, from the top.

    Raises:
        TruncatedError: none, or they are not stored from the top.
    """
    whole = 0
    for offset, count in zip(plan.offsets, plan.counts, strict=True):
        if offset + count > len(data):
            break
        whole += 1
    rows = min(whole * plan.rows, plan.height)
    if plan.uncompressed and whole < len(plan.offsets):
        row_bytes = (width * plan.bits * plan.samples + 7) // 8
        rows += max(0, len(data) - plan.offsets[whole]) // row_bytes
    if plan.tiled or plan.planar or plan.form[1] or not 0 < rows <= plan.height:
        raise TruncatedError("too little of the TIFF data is there")
    return rows


def _decoded(data: bytes, plan: _Plan, width: int, height: int) -> Pixels:
    """(height, width, samples) as stored, from the first rows."""
    order, big = plan.form
    parts = -(-height // plan.rows) if height < plan.height else len(plan.offsets)
    tags = dict(plan.file.tags)
    tags[257] = number_tag(order, height, kind=LONG)
    if plan.photometric == _CMYK:
        # The decoder turns inks into RGB without a profile; what it takes for RGB and one sample more it leaves alone.
        tags[262] = number_tag(order, _RGB)
        tags[338] = number_tag(order, 0)
    if plan.photometric == _PALETTE:
        tags[262] = number_tag(order, _BLACK_IS_ZERO)
    strips = [data[o : o + c] for o, c in zip(plan.offsets[:parts], plan.counts[:parts], strict=True)]
    kind = LONG8 if big else LONG
    tags[325 if plan.tiled else 279] = number_tag(order, *map(len, strips), kind=kind)
    is_old_jpeg = _integer(tags, 259, order) == 6  # its tags hold offsets of their own
    samples: Any = imagecodecs.tiff_decode(
        data if is_old_jpeg else _file(Directory(tags), plan.form, strips, tiled=plan.tiled)
    )
    if plan.planar and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, 2)
    if samples.ndim == 2:
        samples = samples[..., None]
    depth = np.dtype(bool) if plan.bits == 1 else np.dtype(np.uint16 if plan.bits == 16 else np.uint8)
    if samples.shape != (height, width, plan.samples) or samples.dtype != depth:
        raise InputError("the TIFF data and its header tell different sizes")
    return np.ascontiguousarray(samples)


def _integer(tags: dict[int, Any], number: int, order: str) -> int:
    tag = tags.get(number)
    return int(struct.unpack_from(order + "H", tag.data)[0]) if tag is not None else 1


def _coloured(samples: Pixels, plan: _Plan, layout: str) -> Pixels:
    """Light from samples: full range, black is zero, straight alpha."""
    full = 65535 if plan.bits == 16 else 255
    if plan.colours is not None:
        colours = plan.colours[samples[..., 0].astype(np.uint8)][..., : 1 if layout in {"L", "LA"} else 3]
        return np.dstack([colours, samples[..., 1:]]) if plan.alpha else colours
    if plan.bits < 8:
        samples = samples.astype(np.uint8) * np.uint8(255 // ((1 << plan.bits) - 1))
    if plan.photometric == 0:
        samples = np.concatenate([full - samples[..., :1], samples[..., 1:]], axis=2).astype(samples.dtype)
    if plan.photometric == _CMYK:
        samples = full - samples
    if plan.alpha == 1:
        samples = _straight(samples, full)
    return samples


def _straight(samples: Pixels, full: int) -> Pixels:
    """Divides colours by the alpha they were multiplied by."""
    alpha = samples[..., -1:].astype(np.float32)
    factor = np.divide(full, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    colours = np.minimum(np.rint(samples[..., :-1] * factor.astype(np.float64)), full)
    return np.concatenate([colours.astype(samples.dtype), samples[..., -1:]], axis=2)


def _packed(rows: Pixels, compression: int, order: Literal["<", ">"]) -> bytes:
    """A strip: samples in the file's byte order, their differences along the row where they are compressed."""
    if compression != _NONE:
        rows = np.concatenate([rows[:, :1], rows[:, 1:] - rows[:, :-1]], axis=1)
    data = rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    if compression == _NONE:
        return data
    return bytes(imagecodecs.lzw_encode(data) if compression == _LZW else imagecodecs.zlib_encode(data, 6))


def _file(directory: Directory, form: Form, strips: list[bytes], *, tiled: bool = False) -> bytes:
    """The whole file: header, directory, values, pixels."""
    order, big = form
    kind, number = (LONG8 if big else LONG), (324 if tiled else 273)
    directory.tags[number] = number_tag(order, *[0] * len(strips), kind=kind)
    at = len(serialised(directory, form))
    offsets = []
    for strip in strips:
        offsets.append(at)
        at += len(strip) + len(strip) % 2
    directory.tags[number] = number_tag(order, *offsets, kind=kind)
    return b"".join([serialised(directory, form), *(strip + bytes(len(strip) % 2) for strip in strips)])
