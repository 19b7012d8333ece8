"""AVIF pixels: stills of 8 bits, gray or colour, with alpha. libavif codes through Pillow; the boxes are read here.

Kept: EXIF, XMP, ICC and boxes that are no part of the picture byte for byte, colours numbered by CICP (primaries and
transfer). Converted: the turns of the header (irot, imir) are done; alpha multiplied into the colours becomes straight;
a result is 4:4:4 from quality 80, else 4:2:0, with the quality as libavif counts it; gray with alpha is stored as
colours, alpha that is opaque everywhere not at all. Left out with a note: thumbnails. Refused: animations, 10 and 12
bits, HDR (PQ, HLG, gain maps), depth maps, several pictures, cropping (clap), other metadata, and of a cut file
everything. No place for: IPTC, texts, comments, density but in EXIF, 16 bits, CMYK.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import AvifImagePlugin, Image, features

from liif_engine.errors import InputError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import heif_still
from liif_engine.picture.image_file.contents import FETCH_AGAIN, Frame, Limits, Metadata
from liif_engine.picture.image_file.isobmff import end_of_boxes
from liif_engine.picture.image_file.room import Capacity, Header, Order

_MOST = (1 << 31) - 1
CAPACITY = Capacity(
    longest_side=16_384,  # libavif reads no more than a square of that
    layouts=frozenset({"L", "LA", "RGB", "RGBA"}),
    bits=frozenset({8}),
    animated=False,
    carries={"exif": _MOST, "icc": _MOST, "xmp": _MOST},
    coding=(9, 12),
    turned_to_colour=frozenset({"LA"}),
)
_FINE_COLOUR = 80  # quality from which colour is as fine as light
_SPEED = 6  # libavif's own balance, 0 to 10


def inspect(data: bytes, limits: Limits) -> Header:
    """Size, layout and metadata of an AVIF file.

    Args:
        data: the file.
        limits: what is refused as too large.

    Raises:
        InputError, UnsupportedError, TooLargeError: in words.
    """
    still = heif_still.read_still(data, limits, home="AVIF", codec=b"av01", configuration=b"av1C")
    turn = still.orientation
    return Header(still.width, still.height, still.layout, 8, still.metadata, 1, turn, still.cut, turn)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """The pixels as stored (not turned).

    Raises:
        TruncatedError: the data ends early; of AVIF no part can be had.
        InputError: it is damaged.
    """
    del allow_truncated
    require_encoder()
    if header.cut is not None:
        raise TruncatedError(f"{header.cut}, and no part of it can be decoded", remedy=FETCH_AGAIN)
    # Not `Image.open`, whose own limit is lower than ours; and libavif takes what follows the boxes for a damaged one.
    with AvifImagePlugin.AvifImageFile(io.BytesIO(data[: end_of_boxes(data)])) as image:
        if image.size != (header.width, header.height):
            raise InputError("the AVIF data and its header tell different sizes")
        pixels = np.array(image if image.mode == header.layout else image.convert(header.layout))
    return [Frame(pixels.reshape(header.height, header.width, len(header.layout)))]


def encode(order: Order) -> tuple[bytes, list[str]]:
    """An AVIF file of the first frame."""
    require_encoder()
    metadata, pixels = order.metadata, order.frames[0].pixels
    if order.layout == "LA":
        pixels = np.ascontiguousarray(pixels[..., [0, 0, 0, 1]])
    file = io.BytesIO()
    fine = order.quality >= _FINE_COLOUR
    Image.fromarray(pixels[..., 0] if order.layout == "L" else pixels).save(
        file,
        "AVIF",
        quality=order.quality,
        subsampling="4:0:0" if order.layout == "L" else "4:4:4" if fine else "4:2:0",
        speed=_SPEED,
        icc_profile=metadata.icc or b"",
        xmp=heif_still.stand_in_xmp(metadata.xmp) or b"",
        exif=heif_still.stand_in(metadata.exif) or b"",
    )
    data = heif_still.put_in(file.getvalue(), metadata, home="AVIF")
    notes = ["AVIF codes with loss: the pixels are close to those of the result, not the same"] * metadata.lossless
    return _with_colours(data, metadata), notes


def require_encoder() -> None:
    """Returns where AVIF can be written, and read.

    Raises:
        UnsupportedError: Pillow lacks it.
    """
    if not features.check("avif"):
        raise UnsupportedError("needs a Pillow with AVIF, which this installation lacks", remedy="Update Pillow.")


def _with_colours(data: bytes, metadata: Metadata) -> bytes:
    """The file with the numbers of its source's colour space in place of sRGB's."""
    numbers, place = heif_still.colour_numbers(metadata), data.find(b"colrnclx")
    if numbers is None or place < 0:
        return data
    return data[: place + 8] + struct.pack(">HH", *numbers) + data[place + 12 :]
