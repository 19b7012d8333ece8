"""PNG chunks that count pixels: where the picture lies on a larger canvas, and how much of the subject a pixel shows.

ImageMagick writes a canvas for every picture that it trimmed, and cuts what lies outside of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from liif_engine.picture.image_file.contents import Metadata
from liif_engine.picture.image_file.placement import Placement

Scales = tuple[Fraction, Fraction]


def enlarged(metadata: Metadata, placement: Placement) -> tuple[Metadata, list[str]]:
    """A PNG file's metadata for a result, and notes: of a picture that lay on its side these chunks are left out."""
    pieces, notes = [], list[str]()
    for piece in metadata.pieces:
        enlarge = _CHUNKS.get(piece.kind)
        if enlarge is None:
            pieces.append(piece)
        elif placement.orientation == 1:
            pieces.append(replace(piece, data=enlarge(piece.data, placement.scales)))
        else:
            notes.append(f"the chunk {piece.kind} was left out: it speaks of the picture as it lay")
    return replace(metadata, pieces=tuple(pieces)), notes


def _canvas(data: bytes, scales: Scales) -> bytes:
    """ImageMagick's caNv: width, height, and the picture's place on it."""
    return _scaled(data, ">IIii", (*scales, *scales))


def _page(data: bytes, scales: Scales) -> bytes:
    """Its older vpAg: width, height and a byte that says pixels."""
    return _scaled(data, ">II", scales) if data[8:] == b"\0" else data


def _offset(data: bytes, scales: Scales) -> bytes:
    """The standard's oFFs: x, y and a byte that says pixels or micrometres."""
    return _scaled(data, ">ii", scales) if data[8:] == b"\0" else data


def _subject(data: bytes, scales: Scales) -> bytes:
    """The standard's sCAL: a unit, then how wide and high a pixel is, in digits."""
    try:
        sides = [float(side) for side in data[1:].split(b"\0")]
        words = [f"{side / scale:.12g}" for side, scale in zip(sides, scales, strict=True)]
    except ValueError:
        return data
    return data[:1] + "\0".join(words).encode()


def _scaled(data: bytes, layout: str, scales: tuple[Fraction, ...]) -> bytes:
    """Numbers of pixels as they are now, with what follows them; as they are where they do not fit."""
    size = struct.calcsize(layout)
    try:
        numbers = struct.unpack(layout, data[:size])
        return struct.pack(layout, *(round(n * scale) for n, scale in zip(numbers, scales, strict=True))) + data[size:]
    except struct.error:
        return data


_CHUNKS: dict[str, Callable[[bytes, Scales], bytes]] = {
    "caNv": _canvas,
    "vpAg": _page,
    "oFFs": _offset,
    "sCAL": _subject,
}
