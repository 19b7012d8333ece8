"""The WebP container: finding chunks, what they say, and putting them around new pixels. RFC 9649."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from liif_engine.errors import InputError
from liif_engine.picture.image_file.contents import (
    Limits,
    Metadata,
    Piece,
    signed_credentials,
    too_many_pieces,
    too_much_metadata,
)

ICC_FLAG, ALPHA_FLAG, EXIF_FLAG, XMP_FLAG, ANIMATION_FLAG = 0x20, 0x10, 0x08, 0x04, 0x02
EXIF_PREFIX = b"Exif\0\0"
_PLACES = {b"ICCP": "<ICC>", b"EXIF": "<EXIF>", b"XMP ": "<XMP>"}
#: Written anew from the pixels.
_STRUCTURE = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}
PIXEL_KINDS = {b"VP8 ", b"VP8L", b"ANMF"}


@dataclass(frozen=True)
class Chunk:
    """A chunk of the file; `size` is what it claims, so more than its data where the file is cut."""

    kind: bytes
    data: bytes
    size: int


@dataclass
class Chunks:
    """A file taken apart.

    Attributes:
        all: its chunks, in order; the last may be cut.
        cut: why the file counts as truncated, or None.
        after: what follows the RIFF container.
    """

    all: list[Chunk] = field(default_factory=list)
    cut: str | None = None
    after: bytes = b""

    def first(self, kind: bytes) -> Chunk | None:
        return next((chunk for chunk in self.all if chunk.kind == kind), None)


def take_apart(data: bytes, limits: Limits) -> Chunks:
    """Finds the chunks of a file.

    Raises:
        InputError: not a WebP file, or a chunk is longer than the container.
        TooLargeError: more chunks than the limit.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise InputError("is not a WebP file")
    end = 8 + int.from_bytes(data[4:8], "little")
    chunks = Chunks(chunks_of(data[:end], 12, limits))
    if end > len(data):
        chunks.cut = f"the WebP data ends early: {len(data):,} of {end:,} bytes are there"
    elif chunks.all and chunks.all[-1].size > len(chunks.all[-1].data):
        raise InputError("holds a chunk that is longer than the file says it is")
    else:
        chunks.after = data[end + end % 2 :]
    return chunks


def chunks_of(data: bytes, start: int, limits: Limits) -> list[Chunk]:
    """The chunks from a position to the end of the data.

    Raises:
        TooLargeError: more of them than the limit.
    """
    found = []
    while start + 8 <= len(data):
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        found.append(Chunk(data[start : start + 4], data[start + 8 : start + 8 + size], size))
        if len(found) > limits.max_pieces:
            raise too_many_pieces(f"holds more than {limits.max_pieces} chunks")
        start += 8 + size + size % 2
    return found


def chunk_bytes(kind: bytes, data: bytes) -> bytes:
    """A chunk as it stands in a file, padded to an even length."""
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def riff(content: bytes) -> bytes:
    """A whole file around its chunks."""
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def extended_header(width: int, height: int, flags: int) -> bytes:
    """The chunk that says what else a file holds."""
    return chunk_bytes(b"VP8X", struct.pack("<I", flags) + triple(width - 1) + triple(height - 1))


def triple(value: int) -> bytes:
    return value.to_bytes(3, "little")


def read_metadata(chunks: Chunks, limits: Limits) -> Metadata:
    """What the chunks beside the pixels say; the first of each kind counts, as for every reader.

    Raises:
        UnsupportedError: a chunk is bound to the original pixels.
        TooLargeError: more bytes of metadata than the limit.
    """
    size = sum(len(chunk.data) for chunk in chunks.all if chunk.kind not in _STRUCTURE)
    if size > limits.max_metadata_bytes:
        raise too_much_metadata(
            f"holds {size:,} bytes of metadata, more than the limit of {limits.max_metadata_bytes:,}"
        )
    fields: dict[str, bytes] = {}
    pieces: list[Piece] = []
    late = False
    for chunk in chunks.all:
        late = late or chunk.kind in PIXEL_KINDS
        place = _PLACES.get(chunk.kind)
        if chunk.kind in _STRUCTURE:
            continue
        if chunk.kind == b"C2PA":
            raise signed_credentials()
        if place is None or place in fields:
            pieces.append(Piece(chunk.kind.decode("latin-1"), chunk.data, late))
            continue
        # Some writers put JPEG's prefix before the EXIF structure; it goes back where it was.
        prefix = EXIF_PREFIX if place == "<EXIF>" and chunk.data.startswith(EXIF_PREFIX) else b""
        fields[place] = chunk.data[len(prefix) :]
        pieces.append(Piece(place, prefix, late))
    if chunks.after.strip(b"\0\r\n "):
        pieces.append(Piece("<AFTER>", chunks.after, late=True))
    return Metadata(
        home="WEBP",
        exif=fields.get("<EXIF>"),
        icc=fields.get("<ICC>"),
        xmp=fields.get("<XMP>"),
        pieces=tuple(pieces),
    )


def around(metadata: Metadata) -> tuple[bytes, bytes, bytes, int]:
    """The chunks before the pixels, those behind them, what follows the container, and the flags they need."""
    pieces = list(metadata.pieces) if metadata.home == "WEBP" else []
    values = {"<ICC>": metadata.icc, "<EXIF>": metadata.exif, "<XMP>": metadata.xmp}
    there = {piece.kind for piece in pieces}
    for place, value in values.items():
        if value is not None and place not in there:
            pieces.append(Piece(place, late=place != "<ICC>"))
    parts: dict[bool, list[bytes]] = {False: [], True: []}
    for piece in pieces:
        late = piece.late and piece.kind != "<ICC>"  # readers want the profile before the pixels
        if piece.kind in {"<AFTER>", "<BACKGROUND>"}:
            continue
        kind = {place: kind for kind, place in _PLACES.items()}.get(piece.kind)
        if kind is None:
            parts[late].append(chunk_bytes(piece.kind.encode("latin-1"), piece.data))
        elif (value := values[piece.kind]) is not None:
            parts[late].append(chunk_bytes(kind, piece.data + value))
    flags = (metadata.icc is not None) * ICC_FLAG
    flags |= (metadata.exif is not None) * EXIF_FLAG | (metadata.xmp is not None) * XMP_FLAG
    after = b"".join(piece.data for piece in pieces if piece.kind == "<AFTER>")
    return b"".join(parts[False]), b"".join(parts[True]), after, flags
