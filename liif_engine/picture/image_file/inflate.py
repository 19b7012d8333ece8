"""Decompression that stops at a limit: a few bytes of zlib can claim gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from liif_engine.picture.image_file.contents import too_much_metadata

#: No deflate stream grows more than this when unpacked (RFC 1951: 258 bytes out of 2 bits).
MOST_GROWTH = 1032


_STEP = 1 << 18  # [bytes]


def inflate(data: bytes, limit: int) -> bytes | None:
    """Unpacks a zlib stream of metadata.

    Args:
        data: the stream.
        limit: the most bytes it may become.

    Returns:
        The content, or None if the stream is damaged or ends early.

    Raises:
        TooLargeError: it becomes more than `limit`.
    """
    unpack = zlib.decompressobj()
    try:
        content = unpack.decompress(data, limit + 1)
    except zlib.error:
        return None
    if len(content) > limit:
        raise too_much_metadata(f"holds compressed metadata of more than the limit of {limit:,} bytes")
    return content if unpack.eof else None


def inflate_what_is_there(data: bytes, size: int) -> bytes:
    """The first `size` bytes of a zlib stream, or as many as can be had before it ends or breaks."""
    unpack = zlib.decompressobj()
    parts: list[bytes] = []
    missing = size
    # In steps, so that what came before a broken place is not lost with it.
    for start in range(0, len(data), 4096):
        try:
            part = unpack.decompress(data[start : start + 4096], missing)
        except zlib.error:
            break
        parts.append(part)
        missing -= len(part)
        if missing <= 0 or unpack.eof:
            break
    return b"".join(parts)


def holds_exactly(pieces: Sequence[bytes], size: int) -> bool:
    """Whether pieces are one sound zlib stream of `size` bytes, its checksum included; takes no memory for them."""
    unpack, there = zlib.decompressobj(), 0
    try:
        for piece in pieces:
            rest = piece
            while there <= size and not unpack.eof and rest:
                there += len(unpack.decompress(rest, _STEP))
                rest = unpack.unconsumed_tail
            if rest:
                return False  # more than the stream, or more than the size
        there += len(unpack.decompress(b"", _STEP)) if not unpack.eof else 0
    except zlib.error:
        return False
    return unpack.eof and there == size and not unpack.unused_data
