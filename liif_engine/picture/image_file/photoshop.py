"""Photoshop image resources (8BIM blocks), which hold IPTC among others."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

from liif_engine.picture.image_file.placement import Placement

_SIGNATURES = {b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR"}
_THUMBNAILS = {1033, 1036}  # of the old pixels
_RESOLUTION, _GUIDES, _SLICES = 1005, 1032, 1050
_RESOLUTION_SIDE = 8  # [bytes] across, then the same down

#: A guide's place counts parts of a pixel.
_PARTS = 32


@dataclass(frozen=True)
class _Resource:
    """One block: its number, what stands before its size, its content, and all of it as it was."""

    number: int
    head: bytes
    data: bytes
    whole: bytes

    def with_data(self, data: bytes) -> bytes:
        """The block with another content."""
        return self.head + struct.pack(">I", len(data)) + data + bytes(len(data) % 2)


def without_stale_resources(resources: bytes) -> bytes:
    """Photoshop resources without the thumbnails of the old pixels; as they are if there is none or they are broken."""
    return b"".join(one.whole for one in _split(resources) if one.number not in _THUMBNAILS)


def is_bound(resources: bytes) -> bool:
    """Whether anything in them is tied to the old pixels."""
    return any(one.number in {*_THUMBNAILS, _GUIDES, _SLICES} for one in _split(resources))


def corrected(resources: bytes, placement: Placement) -> tuple[bytes, list[str]]:
    """The resources of a result, and notes: guides lie where they are seen now, slices are left out.

    The resolution of a picture that lay on its side is the other one across, as in EXIF and JFIF.

    Slices are what a page was to be cut into, with links and file names of the old pixels' parts. Of the single one
    that Photoshop makes of every picture nothing is said.
    """
    if not placement.moves:
        return resources, []
    parts, notes = [], list[str]()
    for one in _split(resources):
        if one.number == _GUIDES:
            parts.append(one.with_data(_moved_guides(one.data, placement)))
        elif one.number == _RESOLUTION and placement.swaps and len(one.data) == 2 * _RESOLUTION_SIDE:
            parts.append(one.with_data(one.data[_RESOLUTION_SIDE:] + one.data[:_RESOLUTION_SIDE]))
        elif one.number != _SLICES:
            parts.append(one.whole)
        elif _has_several_slices(one.data):
            notes.append("Photoshop's slices were left out: they divide the old pixels")
    return b"".join(parts), notes


def _split(resources: bytes) -> list[_Resource]:
    """The blocks; what is broken is one of no number. What follows the last one is another."""
    found, position = [], 0
    while position + 12 <= len(resources):
        number = int.from_bytes(resources[position + 4 : position + 6])
        name = resources[position + 6] + 1
        size_at = position + 6 + name + name % 2
        size = int.from_bytes(resources[size_at : size_at + 4])
        start = size_at + 4
        end = start + size + size % 2
        if resources[position : position + 4] not in _SIGNATURES or end > len(resources) + 1:
            return [_Resource(-1, b"", b"", resources)]
        whole = resources[position:end]
        found.append(_Resource(number, resources[position:size_at], resources[start : start + size], whole))
        position = end
    return [*found, _Resource(-1, b"", b"", resources[position:])]


def _moved_guides(data: bytes, placement: Placement) -> bytes:
    """The lines of a picture turned upright, then enlarged; as they are if they are broken."""
    width, height = (Fraction(side * _PARTS) for side in placement.before)
    scale_x, scale_y = placement.scales
    parts = [data[:16]]
    try:
        (count,) = struct.unpack_from(">I", data, 12)
        for number in range(min(count, len(data) // 5)):
            place, is_level = struct.unpack_from(">i?", data, 16 + 5 * number)
            at = (Fraction(0), Fraction(place)) if is_level else (Fraction(place), Fraction(0))
            across, down = placement.upright(*at, width, height)
            is_level ^= placement.swaps
            parts.append(struct.pack(">i?", round(down * scale_y if is_level else across * scale_x), is_level))
    except struct.error:
        return data
    return b"".join([*parts, data[16 + 5 * (len(parts) - 1) :]])


def _has_several_slices(data: bytes) -> bool:
    """Of version 6, a list; of later ones, a descriptor, in which each slice has a number of its own."""
    if data[:4] != struct.pack(">I", 6):
        return data.count(b"sliceID") > 1
    try:
        (letters,) = struct.unpack_from(">I", data, 20)  # of a name, after the picture's bounds
        (count,) = struct.unpack_from(">I", data, 24 + 2 * letters)
    except struct.error:
        return True
    return bool(count > 1)
