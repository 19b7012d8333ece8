"""TIFF pixels: 1 to 16 bits, gray, palette, RGB and CMYK, strips and tiles. libtiff decodes, the container is ours.

libtiff gets a minimal file of the pixels' tags and data alone. Kept byte for byte: every tag that does not describe how
pixels are stored, XMP, ICC, IPTC, Photoshop resources, the EXIF and GPS directories; byte order and BigTIFF; none, LZW
and deflate as the compression. Converted: 1, 2 and 4 bits to 8, palettes to colours, white-is-zero to black-is-zero,
YCbCr and JPEG to RGB without loss, associated alpha to straight, planes and tiles to strips. Left out with a note:
reduced copies on other pages. Refused: several pages, floating point and signed samples, 12 or 32 bits, Lab, CMYK with
alpha, spot channels, JPEG in planes, GeoTIFF, OME-XML, microscopes' own records, DNG, Photoshop layers. Another
format's EXIF block is taken apart into directories, its comments become the image description; texts have no place.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any, Literal

import imagecodecs
import numpy as np

from liif_engine.errors import InputError, TruncatedError
from liif_engine.picture.image_file import tiff_metadata
from liif_engine.picture.image_file.contents import Frame, Limits, Pixels
from liif_engine.picture.image_file.room import ANY_SIZE, Capacity, Header, Order
from liif_engine.picture.image_file.tiff_storage import (
    BLACK_IS_ZERO,
    CMYK,
    DEFLATE,
    LOSSY,
    LZW,
    NONE,
    PALETTE,
    RGB,
    Storage,
    other_pages,
    storage_of,
    whole_rows,
    why_cut,
)
from liif_engine.picture.image_file.tiff_tags import LONG, LONG8, Directory, Reader, number_tag, whole_file

CAPACITY = Capacity(
    longest_side=(1 << 31) - 1,
    layouts=frozenset({"L", "LA", "RGB", "RGBA", "CMYK"}),
    bits=frozenset({8, 16}),
    animated=False,
    carries=dict.fromkeys(("exif", "icc", "xmp", "photoshop", "iptc", "density", "comments"), ANY_SIZE),
    aspects=(0, float("inf")),
    coding=(0, 4),
)
_STRIP_BYTES = 1 << 18


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
    notes = other_pages(reader, directory)
    width, height = (reader.integer(directory.tags.get(number)) for number in (256, 257))
    if not width or not height or max(width, height) > CAPACITY.longest_side:
        raise InputError(f"the TIFF header says {width} x {height} pixels")
    plan = storage_of(reader, directory, width, height)
    compression = reader.integer(directory.tags.get(259)) or NONE
    metadata = tiff_metadata.read_metadata(directory, reader)
    coding = {LZW: "LZW", NONE: "none"}.get(compression, "deflate")
    lossless = compression not in LOSSY
    if plan.bits < 8 and plan.photometric <= BLACK_IS_ZERO:
        notes.append(f"{plan.bits} bit{'s'[: plan.bits - 1]} per pixel became 8")
    if not lossless:
        notes.append("the lossy coding inside of TIFF was not used again: the result is stored without loss")
    if plan.alpha == 1:
        notes.append("the alpha was multiplied into the colours (associated); the result has it straight")
    metadata = replace(metadata, lossless=lossless, coding=coding, notes=(*metadata.notes, *notes))
    orientation = reader.integer(directory.tags.get(tiff_metadata.ORIENTATION)) or 1
    cut = why_cut(data, plan, width, compression)
    layout = _layout(plan, has_profile=metadata.icc is not None)
    bits = 16 if plan.bits == 16 else 8
    return Header(width, height, layout, bits, metadata, 1, orientation if 1 <= orientation <= 8 else 1, cut, plan)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """The pixels as stored (not upright); rows missing from a cut file are black or transparent.

    Raises:
        TruncatedError: too little is there.
        InputError: the pixel data is damaged.
    """
    plan: Storage = header.plan
    height = header.height
    if header.cut is not None and allow_truncated:
        height = whole_rows(data, plan, header.width)
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
    compression = {"none": NONE, "LZW": LZW}.get(coding, DEFLATE)
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
    photometric = {"L": BLACK_IS_ZERO, "LA": BLACK_IS_ZERO, "CMYK": CMYK}.get(layout, RGB)
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
    if compression != NONE:
        directory.tags[317] = number(2, kind=short)
    if layout.endswith("A"):
        directory.tags[338] = number(2, kind=short)
    return whole_file(directory, (byte_order, big), strips), notes


def _layout(plan: Storage, *, has_profile: bool) -> str:
    if plan.photometric == CMYK:
        return "CMYK"
    is_gray = plan.photometric <= BLACK_IS_ZERO
    if plan.colours is not None and not has_profile:  # an RGB profile must not meet gray pixels
        is_gray = bool((plan.colours == plan.colours[:, :1]).all())
    return ("L" if is_gray else "RGB") + ("A" if plan.alpha else "")


def _decoded(data: bytes, plan: Storage, width: int, height: int) -> Pixels:
    """(height, width, samples) as stored, from the first rows."""
    order, big = plan.form
    parts = -(-height // plan.rows) if height < plan.height else len(plan.offsets)
    tags = dict(plan.file.tags)
    tags[257] = number_tag(order, height, kind=LONG)
    if plan.photometric == CMYK:
        # The decoder turns inks into RGB without a profile; what it takes for RGB and one sample more it leaves alone.
        tags[262] = number_tag(order, RGB)
        tags[338] = number_tag(order, 0)
    if plan.photometric == PALETTE:
        tags[262] = number_tag(order, BLACK_IS_ZERO)
    view = memoryview(data)
    strips = [view[o : o + c] for o, c in zip(plan.offsets[:parts], plan.counts[:parts], strict=True)]
    kind = LONG8 if big else LONG
    tags[325 if plan.tiled else 279] = number_tag(order, *map(len, strips), kind=kind)
    is_old_jpeg = _integer(tags, 259, order) == 6  # its tags hold offsets of their own
    file = data if is_old_jpeg else whole_file(Directory(tags), plan.form, strips, tiled=plan.tiled)
    try:
        samples: Any = imagecodecs.tiff_decode(file)
    except IndexError as error:  # its word for a directory that libtiff cannot read
        raise InputError(f"the TIFF's directory is damaged ({error})") from error
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


def _coloured(samples: Pixels, plan: Storage, layout: str) -> Pixels:
    """Light from samples: full range, black is zero, straight alpha."""
    full = 65535 if plan.bits == 16 else 255
    if plan.colours is not None:
        colours = plan.colours[samples[..., 0].astype(np.uint8)][..., : 1 if layout in {"L", "LA"} else 3]
        return np.dstack([colours, samples[..., 1:]]) if plan.alpha else colours
    if plan.bits < 8:
        samples = samples.astype(np.uint8) * np.uint8(255 // ((1 << plan.bits) - 1))
    if plan.photometric == 0:
        samples = np.concatenate([full - samples[..., :1], samples[..., 1:]], axis=2).astype(samples.dtype)
    if plan.photometric == CMYK:
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
    if compression != NONE:
        rows = np.concatenate([rows[:, :1], rows[:, 1:] - rows[:, :-1]], axis=1)
    data = rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    if compression == NONE:
        return data
    return bytes(imagecodecs.lzw_encode(data) if compression == LZW else imagecodecs.zlib_encode(data, 6))
