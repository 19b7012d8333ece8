"""XMP that goes on in further segments of a JPEG file (Adobe's XMP specification, part 3, 1.1.3.1), put right in them.

The main packet names the further one by its MD5 checksum, and each segment bears that, the length of the whole and the
place of its part in it.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace

from liif_engine.picture.image_file import xmp as xmp_packet
from liif_engine.picture.image_file.contents import Metadata, Piece
from liif_engine.picture.image_file.jpeg_segments import EXTENDED_XMP_PREFIX, MOST_PAYLOAD

_CHECKSUM = 32  # [bytes] in hexadecimal digits
_HEAD = struct.Struct(f">{_CHECKSUM}sII")
_MOST_PART = MOST_PAYLOAD - len(EXTENDED_XMP_PREFIX) - _HEAD.size
#: The encodings that the main packet may have.
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")


@dataclass(frozen=True)
class _Further:
    """A packet put together, and the pieces that held it."""

    checksum: bytes
    packet: bytes
    pieces: list[Piece]


def mentions(metadata: Metadata, words: bytes) -> bool:
    """Whether the words stand in the further segments."""
    further = _put_together(metadata)
    return further is not None and xmp_packet.mentions(further.packet, words)


def corrected(metadata: Metadata, correction: xmp_packet.Correction) -> tuple[Metadata, list[str]]:
    """The metadata of a JPEG file with what is stale in further segments put right, and notes.

    What is not whole, or not what the main packet names, stays as it is: no reader makes anything of it.
    """
    further = _put_together(metadata)
    if further is None:
        return metadata, []
    try:
        packet = xmp_packet.edited(further.packet, correction=correction) or b""
    except xmp_packet.BadPacket as error:
        return metadata, [f"the XMP in further segments is damaged ({error}); it was kept as it is"]
    if packet == further.packet:
        return metadata, []
    checksum = hashlib.md5(packet, usedforsecurity=False).hexdigest().upper().encode()
    parts = [
        Piece("APP1", EXTENDED_XMP_PREFIX + _HEAD.pack(checksum, len(packet), at) + packet[at : at + _MOST_PART])
        for at in range(0, len(packet), _MOST_PART)
    ]
    first = metadata.pieces.index(further.pieces[0])
    pieces = [piece for piece in metadata.pieces if piece not in further.pieces]
    pieces[first:first] = parts
    named = metadata.xmp or b""
    for encoding in _ENCODINGS:
        named = named.replace(_coded(further.checksum, encoding), _coded(checksum, encoding))
    return replace(metadata, xmp=named, pieces=tuple(pieces)), []


def _put_together(metadata: Metadata) -> _Further | None:
    parts: dict[bytes, list[tuple[int, int, bytes, Piece]]] = {}
    for piece in metadata.pieces:
        if piece.kind == "APP1" and piece.data.startswith(EXTENDED_XMP_PREFIX):
            data = piece.data[len(EXTENDED_XMP_PREFIX) :]
            if len(data) >= _HEAD.size:
                checksum, length, at = _HEAD.unpack_from(data)
                parts.setdefault(checksum, []).append((at, length, data[_HEAD.size :], piece))
    for checksum, found in parts.items():
        if not any(_coded(checksum, encoding) in (metadata.xmp or b"") for encoding in _ENCODINGS):
            continue
        packet = bytearray()
        for at, _, part, _ in sorted(found, key=lambda one: one[0]):
            if at == len(packet):  # else it is a repetition, or one is missing
                packet += part
        if all(length == len(packet) for _, length, _, _ in found):
            return _Further(checksum, bytes(packet), [piece for *_, piece in found])
    return None


def _coded(checksum: bytes, encoding: str) -> bytes:
    return checksum.decode("latin-1").encode(encoding)
