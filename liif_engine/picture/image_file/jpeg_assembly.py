"""Metadata as JPEG segments, before freshly encoded pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction

from liif_engine.errors import UnsupportedError
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file import xmp as xmp_packet
from liif_engine.picture.image_file.contents import Density, Limits, Metadata, Piece
from liif_engine.picture.image_file.jpeg_segments import (
    APP0,
    COM,
    EXIF_PREFIX,
    ICC_PREFIX,
    MOST_PAYLOAD,
    PHOTOSHOP_PREFIX,
    XMP_PREFIX,
    take_apart,
)


def assemble(encoded: bytes, metadata: Metadata, limits: Limits) -> bytes:
    """A freshly encoded file with a picture's segments in place of the encoder's own.

    Args:
        encoded: what an encoder wrote.
        metadata: what goes in, already corrected.
        limits: for reading `encoded`.

    Returns:
        The file.

    Raises:
        UnsupportedError: EXIF or XMP is longer than JPEG can hold.
    """
    pieces = metadata.pieces if metadata.home == "JPEG" else _foreign_pieces(metadata)
    head: list[bytes] = []
    for piece in _with_places(pieces, metadata):
        if not piece.late:
            head += _segments_of(piece, metadata)
    scan = take_apart(encoded, limits)
    adobe = [_segment(0xEE, s.payload) for s in scan.segments if s.marker == 0xEE and s.payload.startswith(b"Adobe")]
    first = next(s for s in scan.segments if s.marker < APP0)
    tail = b"".join(piece.data for piece in pieces if piece.late)
    return b"".join([b"\xff\xd8", *head, *adobe, memoryview(encoded)[first.start - 4 :], tail])


def _with_places(pieces: tuple[Piece, ...], metadata: Metadata) -> list[Piece]:
    """The pieces, and before them a place for each field that has none; JFIF stays first, as its standard wants."""
    there = {piece.kind for piece in pieces}
    wanted = {
        "<EXIF>": metadata.exif,
        "<XMP>": metadata.xmp,
        "<ICC>": metadata.icc,
        "<PHOTOSHOP>": metadata.photoshop,
    }
    missing = [Piece(place) for place, value in wanted.items() if value is not None and place not in there]
    jfif = [piece for piece in pieces if piece.kind == "<JFIF>"]
    if not jfif and metadata.coding != "RGB" and metadata.home != "JPEG":
        jfif = [Piece("<JFIF>")]
    others = [piece for piece in pieces if piece.kind != "<JFIF>"]
    after_exif = next((i + 1 for i, piece in enumerate(others) if piece.kind == "<EXIF>"), 0)
    return [*jfif, *others[:after_exif], *missing, *others[after_exif:]]


def _segments_of(piece: Piece, metadata: Metadata) -> list[bytes]:
    if piece.kind == "<JFIF>":
        return [_segment(APP0, _jfif(piece.data, metadata.density))]
    if piece.kind == "<EXIF>":
        return _exif_segments(metadata.exif)
    if piece.kind == "<XMP>":
        if metadata.xmp is not None and len(metadata.xmp) > xmp_packet.MOST_IN_JPEG:
            raise UnsupportedError(f"carries {len(metadata.xmp):,} bytes of XMP, more than a JPEG file holds")
        return [] if metadata.xmp is None else [_segment(0xE1, XMP_PREFIX + metadata.xmp)]
    if piece.kind == "<ICC>":
        return list(_icc_segments(metadata.icc or b""))
    if piece.kind == "<PHOTOSHOP>":
        most = MOST_PAYLOAD - len(PHOTOSHOP_PREFIX)
        resources = metadata.photoshop or b""
        parts = [resources[start : start + most] for start in range(0, len(resources), most)]
        return [_segment(0xED, PHOTOSHOP_PREFIX + part) for part in parts]
    return [_segment(COM if piece.kind == "COM" else APP0 + int(piece.kind[3:]), piece.data)]


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _jfif(old: bytes, density: Density | None) -> bytes:
    """The old segment without its thumbnail, or a new one; version 1.1."""
    if len(old) == 12:
        # A picture that was turned on its side has its old numbers the other way round.
        return old[:8] + (struct.pack(">HH", density.x[0], density.y[0]) if density else old[8:]) + b"\0\0"
    unit, x, y = 0, 1, 1
    per_inch = density.per_inch() if density else None
    if per_inch is not None and all(0.5 <= value < 65535.5 for value in per_inch):
        unit, x, y = 1, round(per_inch[0]), round(per_inch[1])
    elif density is not None and density.unit == "aspect" and (aspect := density.aspect()) is not None:
        y, x = _in_two_bytes(aspect)
    return b"JFIF\0" + struct.pack(">BBBHHBB", 1, 1, unit, x, y, 0, 0)


def _in_two_bytes(ratio: Fraction) -> tuple[int, int]:
    """Numerator and denominator of the nearest ratio that JFIF's numbers can say."""
    most = (1 << 16) - 1
    if ratio <= 1:
        near = ratio.limit_denominator(most)
        return near.numerator, near.denominator
    near = (1 / ratio).limit_denominator(most)
    return near.denominator, near.numerator


def _exif_segments(exif: bytes | None) -> list[bytes]:
    if exif is None:
        return []
    most = exif_block.MOST_IN_JPEG
    return [_segment(0xE1, EXIF_PREFIX + exif[start : start + most]) for start in range(0, len(exif), most)]


def _icc_segments(profile: bytes) -> Iterator[bytes]:
    most = MOST_PAYLOAD - len(ICC_PREFIX) - 2
    parts = [profile[start : start + most] for start in range(0, len(profile), most)]
    if len(parts) > 255:
        raise UnsupportedError(f"carries an ICC profile of {len(profile):,} bytes, more than a JPEG file holds")
    for number, part in enumerate(parts, 1):
        yield _segment(0xE2, ICC_PREFIX + bytes([number, len(parts)]) + part)


def _foreign_pieces(metadata: Metadata) -> tuple[Piece, ...]:
    """Comments and texts of another format as JPEG comments."""
    pieces = [Piece("COM", comment[:MOST_PAYLOAD]) for comment in metadata.comments]
    pieces += [Piece("COM", text.as_comment().encode()) for text in metadata.texts]
    return tuple(pieces)
