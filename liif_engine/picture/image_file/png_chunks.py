"""The PNG container: a file taken apart into its chunks, and chunks as they stand in a file. W3C PNG, third edition."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from liif_engine.errors import InputError
from liif_engine.picture.image_file.contents import (
    Limits,
    too_many_pieces,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Chunk:
    kind: bytes
    data: bytes


@dataclass
class Chunks:
    """A file taken apart.

    Attributes:
        all: every chunk whose data is whole, in order; the last may be a cut one if it is pixel data.
        cut: whether the file ends before its end chunk.
        after: what follows the end chunk.
    """

    all: list[Chunk] = field(default_factory=list)
    cut: bool = False
    after: bytes = b""

    def first(self, kind: bytes) -> bytes | None:
        return next((chunk.data for chunk in self.all if chunk.kind == kind), None)


def take_apart(data: bytes, limits: Limits) -> Chunks:
    """Finds the chunks of a file.

    Raises:
        InputError: not a PNG file, or a checksum is wrong.
        TooLargeError: more chunks than the limit.
    """
    if not data.startswith(SIGNATURE):
        raise InputError("is not a PNG file")
    chunks, position = Chunks(), len(SIGNATURE)
    while True:
        if position + 8 > len(data):
            chunks.cut = True
            return chunks
        size, kind = struct.unpack_from(">I4s", data, position)
        if not kind.isalpha():
            raise InputError(f"holds no PNG chunk at byte {position:,}: the file is damaged there")
        start, end = position + 8, position + 8 + size
        if end + 4 > len(data):
            chunks.cut = True
            if kind in {b"IDAT", b"fdAT"}:
                chunks.all.append(Chunk(kind, data[start:end]))
            return chunks
        content = data[start:end]
        if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(data[end : end + 4]):
            raise InputError(f"the checksum of a {kind.decode()} chunk at byte {position:,} is wrong: it is damaged")
        chunks.all.append(Chunk(kind, content))
        if len(chunks.all) > limits.max_pieces:
            raise too_many_pieces(f"holds more than {limits.max_pieces} chunks")
        position = end + 4
        if kind == b"IEND":
            chunks.after = data[position:]
            return chunks


def chunk_bytes(kind: bytes, data: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return b"".join(chunk_parts(kind, data))


def chunk_parts(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The same in parts, which leave `data` as it is, to be joined with others."""
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
