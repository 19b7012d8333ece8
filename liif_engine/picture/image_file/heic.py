"""HEIC pixels, with the extra `heic`: stills of 8 bits, gray or colour, with alpha. libheif codes; the boxes are ours.

Kept: EXIF, XMP, ICC and boxes that are no part of the picture byte for byte, colours numbered by CICP (primaries and
transfer). Converted: the turns of the header (irot, imir) are done; alpha multiplied into the colours becomes straight;
a result is 4:4:4 from quality 80, else 4:2:0; gray with alpha is stored as colours. Left out with a note: thumbnails.
Refused: animations, 10 and 12 bits, HDR (PQ, HLG, gain maps), depth maps and mattes, several pictures, cropping (clap)
of more than the filling of the last blocks, other metadata, and of a cut file everything. No place for: IPTC, texts,
comments, density but in EXIF, 16 bits, CMYK.
"""

from __future__ import annotations

import importlib.util
import io
from typing import Any

import numpy as np
from PIL import Image

from liif_engine.errors import InputError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import heif_still
from liif_engine.picture.image_file.contents import FETCH_AGAIN, Frame, Limits
from liif_engine.picture.image_file.isobmff import end_of_boxes
from liif_engine.picture.image_file.room import Capacity, Header, Order

_MOST = (1 << 31) - 1
CAPACITY = Capacity(
    longest_side=16_384,  # libheif's own limit is a little above
    layouts=frozenset({"L", "LA", "RGB", "RGBA"}),
    bits=frozenset({8}),
    animated=False,
    carries={"exif": _MOST, "icc": _MOST, "xmp": _MOST},
    coding=(7, 14),
    turned_to_colour=frozenset({"LA"}),
)
_FINE_COLOUR = 80  # quality from which colour is as fine as light


def inspect(data: bytes, limits: Limits) -> Header:
    """Size, layout and metadata of a HEIC file; needs no extra.

    Args:
        data: the file.
        limits: what is refused as too large.

    Raises:
        InputError, UnsupportedError, TooLargeError: in words.
    """
    still = heif_still.read_still(data, limits, home="HEIC", codec=b"hvc1", configuration=b"hvcC")
    # libheif turns the pixels itself, so what is stored is taken as turned.
    width, height = (still.height, still.width) if still.orientation >= 5 else (still.width, still.height)
    return Header(width, height, still.layout, 8, still.metadata, cut=still.cut)


def decode(data: bytes, header: Header, *, allow_truncated: bool = False) -> list[Frame]:
    """The pixels, upright.

    Raises:
        TruncatedError: the data ends early; of HEIC no part can be had.
        UnsupportedError: the extra is not installed.
        InputError: the data is damaged.
    """
    del allow_truncated
    library = _library()
    if header.cut is not None:
        raise TruncatedError(f"{header.cut}, and no part of it can be decoded", remedy=FETCH_AGAIN)
    file = library.open_heif(io.BytesIO(data[: end_of_boxes(data)]))
    if file.size != (header.width, header.height):
        raise InputError("the HEIC data and its header tell different sizes")
    image = Image.frombytes(file.mode, file.size, bytes(file.data), "raw", file.mode, file.stride)
    pixels = np.array(image if image.mode == header.layout else image.convert(header.layout))
    return [Frame(pixels.reshape(header.height, header.width, len(header.layout)))]


def require_encoder() -> None:
    """Returns where HEIC can be written.

    Raises:
        UnsupportedError: the extra is not installed or cannot write.
    """
    if not _library().libheif_info()["HEIF"]:
        raise UnsupportedError("this installation reads HEIC but cannot write it", remedy="Choose AVIF or PNG.")


def encode(order: Order) -> tuple[bytes, list[str]]:
    """A HEIC file of the first frame.

    Raises:
        UnsupportedError: as `require_encoder`.
    """
    require_encoder()
    library, metadata, pixels = _library(), order.metadata, order.frames[0].pixels
    if order.layout == "LA":
        pixels = np.ascontiguousarray(pixels[..., [0, 0, 0, 1]])
    mode = "RGBA" if order.layout == "LA" else order.layout
    file = library.from_bytes(mode=mode, size=(order.width, order.height), data=pixels.tobytes())
    if metadata.icc is not None:
        file.info["icc_profile"], file.info["icc_profile_type"] = metadata.icc, "prof"
    numbers = heif_still.colour_numbers(metadata)
    options = {} if numbers is None else {"color_primaries": numbers[0], "transfer_characteristic": numbers[1]}
    output = io.BytesIO()
    file.save(
        output,
        quality=order.quality,
        chroma=444 if order.quality >= _FINE_COLOUR else 420,
        exif=heif_still.stand_in(metadata.exif),
        xmp=heif_still.stand_in_xmp(metadata.xmp),
        **options,
    )
    notes = ["HEIC codes with loss: the pixels are close to those of the result, not the same"] * metadata.lossless
    return heif_still.put_in(output.getvalue(), metadata, home="HEIC"), notes


def _library() -> Any:
    """pillow-heif.

    Raises:
        UnsupportedError: it is not installed.
    """
    if importlib.util.find_spec("pillow_heif") is None:
        raise UnsupportedError(
            "is HEIC, which needs an extra that is not installed", remedy="Install it: pip install 'liif-restore[heic]'"
        )
    import pillow_heif

    return pillow_heif
