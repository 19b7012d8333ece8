"""JPEG pixels: libjpeg-turbo decodes and encodes, gray stays gray, CMYK stays CMYK, RGB-coded files stay RGB-coded."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, ImageFile

from liif_engine.errors import InputError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file import jpeg_segments as segments
from liif_engine.picture.image_file import xmp as xmp_packet
from liif_engine.picture.image_file.contents import Frame, Limits, Pixels
from liif_engine.picture.image_file.jpeg_assembly import assemble
from liif_engine.picture.image_file.jpeg_metadata import read_metadata
from liif_engine.picture.image_file.room import ANY_SIZE, Capacity, Header, Order
from liif_engine.picture.image_file.shortage import require_pixels, shortage

#: XMP of a result also holds the marker; 65,500 is libjpeg's own limit.
CAPACITY = Capacity(
    longest_side=65_500,
    layouts=frozenset({"L", "RGB", "CMYK"}),
    bits=frozenset({8}),
    animated=False,
    carries={
        "exif": ANY_SIZE,
        "icc": 255 * (65533 - 14),
        "xmp": xmp_packet.MOST_IN_JPEG - xmp_packet.ROOM_FOR_MARKER,
        "photoshop": ANY_SIZE,
        "density": ANY_SIZE,
        "comments": 65533,
        "texts": 65533,
    },
    aspects=(1 / 65535, 65535),
    coding=(0, 4.2),
)

_LAYOUTS = {1: "L", 3: "RGB", 4: "CMYK"}
#: A progressive file has about ten scans; each costs a pass over the whole picture, however few bytes it has.
_MOST_SCANS = 200
_MOST_PASSES = 4_000_000_000  # [pixels], scans x pixels: some ten seconds
_COMPARED_BYTES = 1 << 20
_buffer_lock = threading.Lock()
_END = b"\xff\xd9"
_MORE_CODE = bytes(range(1, 0xFF)) * 4  # any bytes that hold no marker
_ARITHMETIC_SOF = 0xC9  # and above: entropy coding without a least size per block


def inspect(data: bytes, limits: Limits) -> Header:
    """Size, layout and metadata of a JPEG file.

    Args:
        data: the file.
        limits: what is refused as too large.

    Raises:
        InputError, UnsupportedError, TooLargeError: in words.
    """
    scan = segments.take_apart(data, limits)
    frame = next((s for s in scan.segments if s.marker in segments.SOF_MARKERS), None)
    if frame is None:
        raise TruncatedError("the JPEG data ends before the picture's size")
    width, height, components = _frame_header(frame)
    adobe = next(iter(scan.named(0xEE, b"Adobe")), None)
    transform = adobe[6] if adobe is not None and len(adobe) >= 7 else None
    if len(components) == 4 and transform is None:
        raise UnsupportedError("is CMYK without the Adobe marker, so it is unknown whether its inks are inverted")
    metadata, notes = read_metadata(data, scan, limits)
    if b"XYB" in (metadata.icc or b"")[:1024]:
        raise UnsupportedError("is stored in XYB colours, which the models were not made for")
    coding = "RGB" if len(components) == 3 and _is_rgb(components, transform, scan) else ""
    progressive = frame.marker in {0xC2, 0xCA}
    metadata = replace(metadata, coding=coding, progressive=progressive, notes=tuple(notes))
    orientation = exif_block.orientation(metadata.exif)
    cut = _cut(data, scan, frame.marker, width, height, components)
    if scan.scans > _MOST_SCANS or (scan.scans - 1) * width * height > _MOST_PASSES:
        raise InputError(f"holds {scan.scans} scans, more than any real JPEG file of its size")
    layout = _LAYOUTS[len(components)]
    return Header(width, height, layout, 8, metadata, orientation=orientation, cut=cut, plan=scan.entropy_end)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """The pixels as stored (not upright), (H, W, 1, 3 or 4); missing data is gray."""
    # With an end marker libjpeg fills in what is missing; without one some builds stop.
    pixels: Any = imagecodecs.jpeg8_decode(data if header.cut is None else data + _END)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[:2] != (header.height, header.width) or pixels.dtype != np.uint8:
        raise InputError("the JPEG data and its header tell different sizes")
    if not allow_truncated and _wants_more(data, header.plan, pixels):
        raise TruncatedError("the JPEG data ends early, although an end marker follows")
    # Adobe stores CMYK inverted, which is the light that `Frame` promises.
    return [Frame(pixels)]


def _wants_more(data: bytes, entropy_end: int, pixels: Pixels) -> bool:
    """Whether the coded pixels stop before the picture does: then, and only then, more code changes the picture.

    libjpeg fills what is missing with gray and says so only in a warning that no binding passes on.
    """
    longer = imagecodecs.jpeg8_decode(data[:entropy_end] + _MORE_CODE + _END).reshape(pixels.shape)
    rows = max(1, _COMPARED_BYTES // max(1, pixels[:1].nbytes))  # at a time: comparing makes an array of its own
    tops = range(0, len(pixels), rows)
    return not all(np.array_equal(longer[top : top + rows], pixels[top : top + rows]) for top in tops)


def encode(order: Order) -> tuple[bytes, list[str]]:
    """A JPEG file of the first frame: 4:4:4, because the result's colour is as fine as its light.

    Raises:
        UnsupportedError: the metadata does not fit into JPEG.
    """
    pixels, layout = order.frames[0].pixels, order.layout
    as_rgb = order.metadata.coding == "RGB" and layout == "RGB"
    encoded = imagecodecs.jpeg8_encode(
        pixels[..., 0] if layout == "L" else pixels,
        level=order.quality,
        colorspace={"L": "GRAYSCALE"}.get(layout, layout),
        outcolorspace={"L": "GRAYSCALE", "RGB": "RGB" if as_rgb else "YCBCR"}.get(layout, layout),
        subsampling="444",
        optimize=True,
    )
    if order.metadata.progressive:
        with _buffer_of(len(encoded) * 5 // 4 + 65536):
            encoded = _progressive(_as_image(pixels, layout), quality=order.quality, keep_rgb=as_rgb)
    return assemble(bytes(encoded), order.metadata, Limits()), []


def _frame_header(frame: segments.Segment) -> tuple[int, int, list[tuple[int, int, int]]]:
    """Width, height and (identifier, horizontal, vertical sampling) of each component.

    Raises:
        InputError, UnsupportedError.
    """
    payload = frame.payload
    if len(payload) < 6 or len(payload) < 6 + 3 * payload[5]:
        raise InputError("the JPEG frame header is damaged")
    precision, height, width, count = struct.unpack_from(">BHHB", payload)
    if frame.marker in {0xC3, 0xC7, 0xCB, 0xCF, 0xF7}:
        raise UnsupportedError("is lossless JPEG, which has no web picture's damage and few readers")
    if precision != 8:
        raise UnsupportedError(f"is a JPEG file of {precision} bits per sample; only 8 are supported")
    if not height:
        raise UnsupportedError("tells its height only after the pixels (DNL)")
    if not width:
        raise InputError("the JPEG header says a width of 0")
    if count not in _LAYOUTS:
        raise UnsupportedError(f"has {count} colour components; a JPEG picture has 1, 3 or 4")
    components = [(payload[i], payload[i + 1] >> 4, payload[i + 1] & 15) for i in range(6, 6 + 3 * count, 3)]
    if any(not (1 <= h <= 4 and 1 <= v <= 4) for _, h, v in components):
        raise InputError("the JPEG frame header holds impossible sampling factors")
    return width, height, components


def _is_rgb(components: list[tuple[int, int, int]], transform: int | None, scan: segments.Scan) -> bool:
    """libjpeg's own rule for which files hold RGB instead of YCbCr."""
    if scan.named(0xE0, b"JFIF\0"):
        return False
    if transform is not None:
        return transform == 0
    return bytes(identifier for identifier, _, _ in components) == b"RGB"


def _cut(
    data: bytes, scan: segments.Scan, sof: int, width: int, height: int, components: list[tuple[int, int, int]]
) -> str | None:
    """Why the file counts as truncated, or None. A Huffman code is at least one bit."""
    _, h, v = components[0]
    most_h, most_v = max(c[1] for c in components), max(c[2] for c in components)
    blocks = -(-width * h // (8 * most_h)) * -(-height * v // (8 * most_v))
    require_pixels("JPEG", scan.entropy_bytes)
    if sof < _ARITHMETIC_SOF and (why := shortage("JPEG", scan.entropy_bytes, scan.entropy_bytes * 8, blocks)):
        return why
    return None if scan.end else f"the JPEG data ends early, without an end marker after {len(data):,} bytes"


def _as_image(pixels: Any, layout: str) -> Image.Image:
    if layout == "CMYK":
        # Pillow inverts on writing, as Adobe does, and wants ink.
        height, width = pixels.shape[:2]
        return Image.frombytes("CMYK", (width, height), (255 - pixels).tobytes())
    return Image.fromarray(pixels[..., 0] if layout == "L" else pixels)


def _progressive(image: Image.Image, *, quality: int, keep_rgb: bool) -> bytes:
    """A progressive file; imagecodecs writes none."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=0, progressive=True, keep_rgb=keep_rgb)
    return file.getvalue()


@contextlib.contextmanager
def _buffer_of(size: int) -> Iterator[None]:
    """Pillow's output buffer holds at least `size` bytes inside the block.

    libjpeg writes a progressive file in one go and gives up if the buffer is too small; Pillow's guess from the number
    of pixels is, for small or noisy pictures, and its one way to ask for more is this module-wide value.
    """
    with _buffer_lock:
        before, ImageFile.MAXBLOCK = ImageFile.MAXBLOCK, max(ImageFile.MAXBLOCK, size)
        try:
            yield
        finally:
            ImageFile.MAXBLOCK = before
