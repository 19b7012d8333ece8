"""The TIFF container: directories of tags, read with bounds and written in either byte order. TIFF 6.0, BigTIFF."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from liif_engine.errors import InputError
from liif_engine.picture.image_file.contents import Limits, too_many_pieces, too_much_metadata

#: Bytes of one value of each type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
POINTERS = {0x8769: "EXIF", 0x8825: "GPS", 0xA005: "interoperability"}


@dataclass(frozen=True)
class Tag:
    """A tag's value as its bytes, in the file's byte order."""

    kind: int
    count: int
    data: bytes


@dataclass
class Directory:
    """Tags by number; a pointer to another directory holds that one."""

    tags: dict[int, Tag] = field(default_factory=dict)
    below: dict[int, Directory] = field(default_factory=dict)
    next: int = 0

    def __bool__(self) -> bool:
        return bool(self.tags or self.below)


ByteOrder: TypeAlias = Literal["<", ">"]
Form: TypeAlias = tuple[ByteOrder, bool]
"""Byte order ("<" or ">") and whether it is BigTIFF."""


class Reader:
    """Reads directories of one file.

    Args:
        data: a file, or an EXIF block.
        limits: bounds on tags and on their bytes.

    Raises:
        InputError: not TIFF.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        forms: dict[bytes, Form] = {
            b"II*\0": ("<", False),
            b"MM\0*": (">", False),
            b"II+\0": ("<", True),
            b"MM\0+": (">", True),
        }
        form = forms.get(data[:4])
        if form is None or len(data) < 8:
            raise InputError("is not a TIFF file")
        self.data = data
        self.order, self.big = form
        self.budget, self.tags_left = limits.max_metadata_bytes, limits.max_pieces
        self.first = self._unpack("Q", 8) if self.big else self._unpack("I", 4)

    def directory(self, offset: int, *, depth: int = 0) -> Directory | None:
        """The directory at an offset with those below it; None if it lies outside of the file.

        Raises:
            TooLargeError: more tags or bytes than the limits.
        """
        width, code, entry = (8, "Q", 20) if self.big else (2, "H", 12)
        if not 8 <= offset <= len(self.data) - width:
            return None
        count = self._unpack(code, offset)
        start = offset + width
        self.tags_left -= count
        if self.tags_left < 0:
            raise too_many_pieces("holds more tags than the limit")
        if start + count * entry > len(self.data):
            return None
        directory = Directory()
        for place in range(start, start + count * entry, entry):
            number = self._unpack("H", place)
            tag = self._tag(place)
            if tag is None or number in directory.tags or number in directory.below:
                continue
            if number in POINTERS and depth < 2:
                below = self.directory(self.integer(tag) or 0, depth=depth + 1)
                if below is not None:
                    directory.below[number] = below
                continue
            directory.tags[number] = tag
        end = start + count * entry
        size, code = (8, "Q") if self.big else (4, "I")
        directory.next = self._unpack(code, end) if end + size <= len(self.data) else 0
        return directory

    def _tag(self, place: int) -> Tag | None:
        """The tag whose entry is at a place; None if its type is unknown or its value lies outside of the file."""
        kind = self._unpack("H", place + 2)
        count = self._unpack("Q", place + 4) if self.big else self._unpack("I", place + 4)
        inline = 8 if self.big else 4
        value = place + 12 if self.big else place + 8
        size = _SIZES.get(kind, 0) * count
        if not size:
            return None
        if size > inline:
            value = self._unpack("Q" if self.big else "I", value)
        if value + size > len(self.data):
            return None
        self.budget -= size
        if self.budget < 0:
            raise too_much_metadata()
        return Tag(kind, count, self.data[value : value + size])

    def _unpack(self, code: str, offset: int) -> int:
        try:
            return int(struct.unpack_from(self.order + code, self.data, offset)[0])
        except struct.error as error:
            raise InputError("the TIFF data is damaged") from error

    def integers(self, tag: Tag | None) -> tuple[int, ...]:
        """The values of an integer tag; none of another type."""
        return integers(tag, self.order)

    def integer(self, tag: Tag | None) -> int | None:
        values = self.integers(tag) if tag is not None and tag.count < 4096 else ()
        return values[0] if values else None


def integers(tag: Tag | None, order: str) -> tuple[int, ...]:
    """The values of an integer tag, or none."""
    code = _INTEGERS.get(tag.kind) if tag is not None else None
    return struct.unpack(f"{order}{tag.count}{code}", tag.data) if tag is not None and code is not None else ()


def number_tag(order: str, *values: int, kind: int = SHORT) -> Tag:
    """A tag of integers."""
    return Tag(kind, len(values), struct.pack(f"{order}{len(values)}{_INTEGERS[kind]}", *values))


def bytes_tag(data: bytes, kind: int = UNDEFINED) -> Tag:
    return Tag(kind, len(data), data)


def serialised(directory: Directory, form: Form, *, start: int | None = None) -> bytes:
    """A directory with everything below it, each value behind its directory in the order of the tags.

    Args:
        directory: what to write; `next` is written as 0.
        form: byte order and size of offsets.
        start: where in the file the bytes will stand; None for a file of its own, with its header.
    """
    order, big = form
    header = b""
    if start is None:
        mark = b"II" if order == "<" else b"MM"
        header = mark + (struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8))
        start = len(header)
    inline = 8 if big else 4
    numbers = sorted({*directory.tags, *directory.below})
    entries: list[bytes] = []
    values: list[bytes] = []
    at = start + (16 if big else 6) + len(numbers) * (20 if big else 12)
    for number in numbers:
        below = directory.below.get(number)
        if below is not None:
            content = serialised(below, form, start=at)
            tag = number_tag(order, at, kind=LONG8 if big else LONG)
        else:
            tag = directory.tags[number]
            content = tag.data if len(tag.data) > inline else b""
        head = struct.pack(order + ("HHQ" if big else "HHI"), number, tag.kind, tag.count)
        if content and below is None:
            entries.append(head + struct.pack(order + ("Q" if big else "I"), at))
        else:
            entries.append(head + tag.data.ljust(inline, b"\0"))
        content += bytes(len(content) % 2)
        values.append(content)
        at += len(content)
    count = struct.pack(order + ("Q" if big else "H"), len(numbers))
    return b"".join([header, count, *entries, bytes(inline), *values])


def whole_file(directory: Directory, form: Form, strips: Sequence[bytes | memoryview], *, tiled: bool = False) -> bytes:
    """The whole file: header, directory, values, pixels."""
    order, big = form
    kind, number = (LONG8 if big else LONG), (324 if tiled else 273)
    directory.tags[number] = number_tag(order, *[0] * len(strips), kind=kind)
    at = len(serialised(directory, form))
    offsets = []
    for strip in strips:
        offsets.append(at)
        at += len(strip) + len(strip) % 2
    directory.tags[number] = number_tag(order, *offsets, kind=kind)
    padded = (part for strip in strips for part in (strip, bytes(len(strip) % 2)))
    return b"".join([serialised(directory, form), *padded])
