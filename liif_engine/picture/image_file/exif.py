"""EXIF corrected in place: values that a restoration changes are patched, every other byte stays where it is.

Maker notes hold offsets from the start of the EXIF block. Rewriting the block, as most libraries do, moves them and
breaks what cameras wrote; patching values of fixed size does not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from liif_engine.picture.image_file.placement import Placement

ORIENTATION = 0x0112
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
X_DENSITY, Y_DENSITY = 0x011A, 0x011B
THUMBNAIL_OFFSET, THUMBNAIL_LENGTH = 0x0201, 0x0202
#: Width and height in the main directory, in the EXIF one and in the interoperability one.
WIDTH_TAGS = {0x0100, 0xA002, 0x1001}
HEIGHT_TAGS = {0x0101, 0xA003, 0x1002}
#: In the EXIF directory, all in stored pixels: where the subject is, and how many pixels a unit of the sensor has.
SUBJECT_AREA, SUBJECT_LOCATION = 0x9214, 0xA214
FOCAL_PLANE_X, FOCAL_PLANE_Y = 0xA20E, 0xA20F
SHORT, LONG, RATIONAL = 3, 4, 5

_JPEG = b"\xff\xd8"

#: An EXIF block in a JPEG file, whose segment holds 65533 bytes with the prefix of 6.
MOST_IN_JPEG = 65533 - 6


class Thumbnail(NamedTuple):
    """A small copy of a picture: a JPEG file and its size in pixels."""

    data: bytes
    width: int
    height: int


#: From a limit in bytes to a thumbnail, or None if none is that small.
MakeThumbnail = Callable[[int], Thumbnail | None]


@dataclass(frozen=True)
class _Entry:
    """One tag of a directory; `place` is where its 12 bytes begin."""

    tag: int
    kind: int
    count: int
    place: int


@dataclass(frozen=True)
class _Directory:
    name: str
    entries: tuple[_Entry, ...]
    next_place: int  # where the offset of the next directory is stored

    def find(self, tag: int) -> _Entry | None:
        return next((entry for entry in self.entries if entry.tag == tag), None)


def orientation(exif: bytes | None) -> int:
    """The orientation, 1 to 8; 1 where there is none or it makes no sense."""
    for directory in _directories(exif or b""):
        entry = directory.find(ORIENTATION) if directory.name == "main" else None
        if entry is not None and exif is not None:
            value = _integer(exif, entry)
            return value if value is not None and 1 <= value <= 8 else 1
    return 1


def has_thumbnail(exif: bytes | None) -> bool:
    """Whether there is a second directory, which describes a small copy of the picture."""
    return any(directory.name == "thumbnail" for directory in _directories(exif or b""))


def corrected(
    exif: bytes,
    *,
    width: int,
    height: int,
    upright: bool,
    make_thumbnail: MakeThumbnail,
    before: tuple[int, int] | None = None,
) -> tuple[bytes, list[str]]:
    """EXIF for a result: orientation 1, the new size, the subject's new place, a fresh thumbnail.

    Args:
        exif: a TIFF structure. One that cannot be parsed comes back as it is: no viewer reads it either.
        width, height: of the result in pixels.
        upright: whether an orientation was applied to the pixels.
        make_thumbnail: draws the fresh one.
        before: (width, height) of the picture as displayed; None if it is the result's.

    Returns:
        The block, and what the user should know.
    """
    data = bytearray(exif)
    notes: list[str] = []
    placement = Placement(orientation(exif) if upright else 1, before or (width, height), (width, height))
    for directory in list(_directories(exif)):
        if directory.name == "thumbnail":
            notes += _replace_thumbnail(data, directory, make_thumbnail)
            _patch(data, directory.find(ORIENTATION), 1)
            continue
        if upright and directory.name == "main":
            _patch(data, directory.find(ORIENTATION), 1)
            if placement.swaps:
                _swap_density(data, directory)
        _patch_sides(data, directory, width, height)
        if directory.name == "exif" and placement.moves:
            _move_subject(data, directory, placement)
            _resize_sensor(data, directory, placement)
    return bytes(data), notes


def _patch_sides(data: bytearray, directory: _Directory, width: int, height: int) -> None:
    for entry in directory.entries:
        if entry.tag in WIDTH_TAGS:
            _patch(data, entry, width)
        elif entry.tag in HEIGHT_TAGS:
            _patch(data, entry, height)


def _swap_density(data: bytearray, directory: _Directory) -> None:
    """Pixels per inch along the sides of a picture that was turned on its side."""
    entries = list(filter(None, map(directory.find, (X_DENSITY, Y_DENSITY))))
    places = [_values_place(data, one, "II") for one in entries if (one.kind, one.count) == (RATIONAL, 1)]
    x, y = [*places, None, None][:2]
    if x is not None and y is not None:
        data[x : x + 8], data[y : y + 8] = data[y : y + 8], data[x : x + 8]


def _move_subject(data: bytearray, directory: _Directory, placement: Placement) -> None:
    """SubjectLocation is a point; SubjectArea too, or a circle by its diameter, or a box around its middle."""
    for entry in filter(None, map(directory.find, (SUBJECT_AREA, SUBJECT_LOCATION))):
        place = _values_place(data, entry, "H")
        if entry.kind != SHORT or not 2 <= entry.count <= 4 or place is None:
            continue
        layout = f"{_byte_order(data)}{entry.count}H"
        x, y, *extent = struct.unpack_from(layout, data, place)
        sides = placement.extent(extent[0], extent[-1])[: len(extent)] if extent else ()
        moved = (*placement.point(x, y), *sides)
        if max(moved) <= 0xFFFF:  # there is no room for larger numbers, and no JPEG so large
            struct.pack_into(layout, data, place, *moved)


def _resize_sensor(data: bytearray, directory: _Directory, placement: Placement) -> None:
    """More pixels lie on the same sensor."""
    entries = [directory.find(tag) for tag in (FOCAL_PLANE_X, FOCAL_PLANE_Y)]
    places = [_values_place(data, one, "II") if one and one.kind == RATIONAL else None for one in entries]
    layout = f"{_byte_order(data)}II"
    values = [None if place is None else struct.unpack_from(layout, data, place) for place in places]
    if placement.swaps:
        values.reverse()
    for place, value, scale in zip(places, values, placement.scales, strict=True):
        if place is None or value is None or not all(value):
            continue
        scaled = (Fraction(*value) * scale).limit_denominator(1_000_000)
        if scaled.numerator < 1 << 32:
            struct.pack_into(layout, data, place, scaled.numerator, scaled.denominator)


def _values_place(data: bytearray, entry: _Entry, code: str) -> int | None:
    """Where a tag's values stand, None if that is outside of the block."""
    size = struct.calcsize(f"={code}") * entry.count
    place = entry.place + 8
    if size > 4:
        place = struct.unpack_from(f"{_byte_order(data)}I", data, place)[0]
    return place if 8 <= place <= len(data) - size else None


def _replace_thumbnail(data: bytearray, directory: _Directory, make_thumbnail: MakeThumbnail) -> list[str]:
    """Puts a fresh thumbnail where the stale one is; without one that fits, the directory is unlinked."""
    offset_entry, length_entry = directory.find(THUMBNAIL_OFFSET), directory.find(THUMBNAIL_LENGTH)
    offset = _integer(data, offset_entry) if offset_entry else None
    length = _integer(data, length_entry) if length_entry else None
    if offset is None or length is None:
        if directory.find(0x0111) is None:  # no strips of uncompressed pixels either: nothing stale
            return []
        _unlink(data)
        return ["the uncompressed EXIF thumbnail was removed"]
    end = offset + length
    # What is no JPEG is something else that a wrong offset leads to, such as a maker note, which must stay.
    holds_itself = offset < directory.next_place + 4 and end > directory.entries[0].place - 2
    if not 8 <= offset <= end <= len(data) or data[offset : offset + len(_JPEG)] != _JPEG or holds_itself:
        _unlink(data)
        return ["the EXIF thumbnail was damaged and was removed"]
    is_last = end >= len(data) - 1
    room = max(length, MOST_IN_JPEG - offset) if is_last else length
    fresh = make_thumbnail(room)
    if fresh is None:
        data[offset:end] = bytes(length)
        _unlink(data)
        return ["the EXIF thumbnail was removed: a fresh one does not fit in its place"]
    if is_last:
        data[offset:] = fresh.data
    else:
        data[offset:end] = fresh.data.ljust(length, b"\0")
    _patch(data, length_entry, len(fresh.data))
    _patch_sides(data, directory, fresh.width, fresh.height)
    return []


def _unlink(data: bytearray) -> None:
    """Ends the chain of directories after the main one."""
    main = next(iter(_directories(bytes(data))))
    data[main.next_place : main.next_place + 4] = bytes(4)


def _byte_order(data: bytes | bytearray) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))


def _directories(data: bytes) -> Iterator[_Directory]:
    """The main directory, those it points to, and the thumbnail's; stops quietly where the block is broken."""
    order = _byte_order(data)
    if order is None or len(data) < 8:
        return
    main = _directory(data, order, struct.unpack_from(order + "I", data, 4)[0], "main")
    if main is None:
        return
    yield main
    exif = _pointed(data, order, main, EXIF_IFD, "exif")
    if exif is not None:
        yield exif
        interop = _pointed(data, order, exif, INTEROP_IFD, "interoperability")
        if interop is not None:
            yield interop
    if main.next_place + 4 <= len(data):
        offset = struct.unpack_from(order + "I", data, main.next_place)[0]
        thumbnail = _directory(data, order, offset, "thumbnail") if offset else None
        if thumbnail is not None:
            yield thumbnail


def _pointed(data: bytes, order: str, directory: _Directory, tag: int, name: str) -> _Directory | None:
    entry = directory.find(tag)
    offset = _integer(data, entry) if entry else None
    return None if offset is None else _directory(data, order, offset, name)


def _directory(data: bytes, order: str, offset: int, name: str) -> _Directory | None:
    if not 8 <= offset <= len(data) - 2:
        return None
    (count,) = struct.unpack_from(order + "H", data, offset)
    places = range(offset + 2, offset + 2 + 12 * count, 12)
    if count == 0 or places[-1] + 12 > len(data):
        return None
    entries = []
    for place in places:
        tag, kind, values = struct.unpack_from(order + "HHI", data, place)
        entries.append(_Entry(tag, kind, values, place))
    return _Directory(name, tuple(entries), offset + 2 + 12 * count)


def _integer(data: bytes | bytearray, entry: _Entry) -> int | None:
    """The value of a tag that holds one SHORT or LONG."""
    code = {SHORT: "H", LONG: "I"}.get(entry.kind)
    order = _byte_order(data)
    if code is None or order is None or entry.count != 1:
        return None
    return int(struct.unpack_from(order + code, data, entry.place + 8)[0])


def _patch(data: bytearray, entry: _Entry | None, value: int) -> None:
    """Sets a tag's one integer; a SHORT too small for it becomes a LONG, which has room in the same four bytes."""
    if entry is None or _integer(data, entry) is None:
        return
    order = _byte_order(data) or "<"
    kind = LONG if value > 0xFFFF else entry.kind
    packed = struct.pack(order + ("H2x" if kind == SHORT else "I"), value)
    struct.pack_into(order + "H", data, entry.place + 2, kind)
    data[entry.place + 8 : entry.place + 12] = packed
