"""The headers of BMP: seven of them, told apart by their size; what they say of pixels, colours and density."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from liif_engine.errors import InputError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file.contents import Density, Limits, Metadata, Piece, Pixels, too_much_metadata

FILE_HEADER = 14
CORE, INFO, V4, V5 = 12, 40, 108, 124
RAW, RLE8, RLE4, BITFIELDS, ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_COMPRESSIONS = {
    RAW: {1, 2, 4, 8, 16, 24, 32},
    RLE8: {8},
    RLE4: {4},
    BITFIELDS: {16, 32},
    ALPHA_BITFIELDS: {16, 32},
}
_MASKS = {16: (0x7C00, 0x03E0, 0x001F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
#: Where in the V4 and V5 headers the meaning of the colours begins: type, primaries, gamma and, in V5, intent.
_COLOUR = 56
EMBEDDED, LINKED, CALIBRATED = b"DEBM", b"KNIL", bytes(4)


@dataclass(frozen=True)
class BmpHeader:
    """How the pixels are stored.

    Attributes:
        start: where they begin in the file.
        masks: bits of red, green, blue and alpha in a pixel of 16 or 32 bits; alpha 0 means none.
        palette: (256, 3) uint8 for up to 8 bits, filled up with black.
    """

    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    start: int
    masks: tuple[int, int, int, int]
    palette: Pixels | None
    colour: bytes
    profile: tuple[int, int]
    density: tuple[int, int]

    @property
    def stride(self) -> int:
        """Bytes of a row, which end at a multiple of four."""
        return (self.width * self.bits + 31) // 32 * 4


def read_header(data: bytes) -> BmpHeader:
    """What the headers say.

    Raises:
        InputError: they contradict themselves.
        UnsupportedError: JPEG, PNG or a fax inside.
        TruncatedError: the file ends inside of them.
    """
    if data[:2] != b"BM":
        raise InputError("is not a BMP file")
    size = int.from_bytes(data[14:18], "little")
    if len(data) < 26 or (12 <= size <= 256 and len(data) < FILE_HEADER + size):
        raise TruncatedError("the BMP data ends inside of its header")
    if not (size in {CORE, 52, 56, V4, V5} or 16 <= size <= 64):
        raise InputError(f"has a BMP header of {size:,} bytes, which does not exist")
    info = data[FILE_HEADER : FILE_HEADER + size].ljust(V5, b"\0")
    if size == CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", info, 4)
        compression = x_density = y_density = used = 0
    else:
        width, height, _, bits, compression, _, x_density, y_density, used = struct.unpack_from("<iiHHIIiiI", info, 4)
    if width <= 0 or not height:
        raise InputError(f"the BMP header says {width} x {height} pixels")
    if compression in {4, 5} or (compression == BITFIELDS and bits in {1, 24}):
        raise UnsupportedError("holds JPEG, PNG, fax or OS/2 run-length data inside of BMP")
    if bits not in _COMPRESSIONS.get(compression, ()):
        raise InputError(f"the BMP header says {bits} bits in compression {compression}, which does not exist")
    at = FILE_HEADER + size
    masks = _MASKS.get(bits, (0, 0, 0, 0))
    if compression in {BITFIELDS, ALPHA_BITFIELDS}:
        masks, at = _masks(data, info, size, compression, at)
    start = int.from_bytes(data[10:14], "little")
    palette, at = _palette(data, at, start, size, bits, used)
    return BmpHeader(
        width,
        abs(height),
        height < 0,
        bits,
        compression,
        max(start, at),
        masks,
        palette,
        _colour(info, size),
        struct.unpack_from("<II", info, 112) if size == V5 else (0, 0),
        (x_density, y_density),
    )


def _colour(info: bytes, size: int) -> bytes:
    """What the V4 and V5 headers say of the meaning of colours, without the place of the profile."""
    if size == V5:
        return info[_COLOUR:112] + bytes(8) + info[120:V5]
    return info[_COLOUR:V4] if size == V4 else b""


def _masks(data: bytes, info: bytes, size: int, compression: int, at: int) -> tuple[tuple[int, int, int, int], int]:
    """The masks of red, green, blue and alpha, and where the headers go on.

    Raises:
        InputError: a mask with holes in it, or overlapping ones.
    """
    if size >= 52:
        masks = struct.unpack_from("<IIII", info, 40)
        masks = masks if size >= 56 else (*masks[:3], 0)
    else:
        count = 4 if compression == ALPHA_BITFIELDS else 3
        read = struct.unpack_from(f"<{count}I", data.ljust(at + 16, b"\0"), at)
        masks, at = (*read, 0)[:4], at + 4 * count
    seen = 0
    for mask in masks:
        low = mask & -mask
        if seen & mask or mask & (mask + low):
            raise InputError("the BMP header names colour masks that make no sense")
        seen |= mask
    if not all(masks[:3]):
        raise InputError("the BMP header lacks a colour mask")
    return (masks[0], masks[1], masks[2], masks[3]), at


def _palette(data: bytes, at: int, start: int, size: int, bits: int, used: int) -> tuple[Pixels | None, int]:
    """The palette, and where it ends."""
    if bits > 8:
        return None, at
    entry = 3 if size == CORE else 4
    count = min(used or 1 << bits, 1 << bits)
    if start > at:
        count = min(count, (start - at) // entry)
    raw = np.frombuffer(data[at : at + count * entry].ljust(count * entry, b"\0"), np.uint8).reshape(count, entry)
    palette = np.zeros((256, 3), np.uint8)
    palette[:count] = raw[:, 2::-1]
    return palette, at + count * entry


def read_metadata(data: bytes, header: BmpHeader, limits: Limits) -> Metadata:
    """What the headers say beside the pixels."""
    kind = header.colour[:4]
    offset, size = header.profile
    profile = data[FILE_HEADER + offset : FILE_HEADER + offset + size] if kind in {EMBEDDED, LINKED} else b""
    notes, bound = [], list[str]()
    if len(profile) < size and profile:
        notes.append("the colour profile is cut off and was left out")
        profile = b""
    if len(profile) > limits.max_metadata_bytes:
        raise too_much_metadata()
    pieces = [Piece("<COLOUR>", header.colour)] if header.colour else []
    if kind == LINKED and profile:
        pieces.append(Piece("name of a colour profile", profile))
        bound.append("a colour profile that is a file of its own")
    if kind == CALIBRATED and any(header.colour[4:52]):
        bound.append("primary colours and gamma of its own")
    x, y = header.density
    return Metadata(
        home="BMP",
        icc=profile if kind == EMBEDDED and profile else None,
        density=Density((x, 1), (y, 1), "metre") if x > 0 and y > 0 else None,
        pieces=tuple(pieces),
        lossless=True,
        bound_to_home=tuple(bound),
        notes=tuple(notes),
    )


def headers_for(
    metadata: Metadata, *, width: int, height: int, bits: int, has_alpha: bool, palette: bytes
) -> tuple[bytes, bytes]:
    """What stands before the pixels of a result, and the profile that stands behind them."""
    home = {piece.kind: piece.data for piece in metadata.pieces if metadata.home == "BMP"}
    colour, profile = home.get("<COLOUR>", b""), metadata.icc or home.get("name of a colour profile", b"")
    if profile and len(colour) != V5 - _COLOUR:
        colour = (EMBEDDED + colour[4:]).ljust(V5 - _COLOUR, b"\0")
    elif colour[:4] in {EMBEDDED, LINKED} and not profile:
        colour = b"BGRs" + colour[4:]
    elif has_alpha and not colour:
        colour = b"BGRs".ljust(V4 - _COLOUR, b"\0")
    size = _COLOUR + len(colour) if colour else INFO
    stride = (width * bits + 31) // 32 * 4
    start = FILE_HEADER + size + len(palette)
    total = stride * height
    info = struct.pack(
        "<IiiHHIIiiII",
        size,
        width,
        height,
        1,
        bits,
        BITFIELDS if has_alpha else RAW,
        total,
        *_per_metre(metadata.density),
        len(palette) // 4,
        0,
    )
    if colour:
        info += struct.pack("<IIII", *(0xFF0000, 0xFF00, 0xFF, 0xFF000000) if has_alpha else (0, 0, 0, 0)) + colour
    if size == V5:
        place = (len(info) + len(palette) + total, len(profile)) if profile else (0, 0)
        info = info[:112] + struct.pack("<II", *place) + info[120:]
    file = b"BM" + struct.pack("<IHHI", start + total + len(profile), 0, 0, start)
    return file + info + palette, profile


def _per_metre(density: Density | None) -> tuple[int, int]:
    if density is None:
        return 0, 0
    per_inch = density.per_inch()
    if density.unit == "metre" and density.x[1] == density.y[1] == 1:
        x, y = density.x[0], density.y[0]
    elif per_inch is not None:
        x, y = (round(value / 0.0254) for value in per_inch)
    else:
        return 0, 0
    return (x, y) if 0 < x < 1 << 31 and 0 < y < 1 << 31 else (0, 0)
