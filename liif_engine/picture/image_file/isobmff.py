"""The container of AVIF and HEIC: boxes, items, their properties and references. ISO/IEC 14496-12 and 23008-12."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from liif_engine.errors import InputError, UnsupportedError
from liif_engine.picture.image_file.contents import Limits, too_many_pieces

_MOST_EXTENTS = 64
#: Boxes of a file that say how it is built, hold the items, or hold nothing.
_STRUCTURE = {b"ftyp", b"styp", b"meta", b"moov", b"mdat", b"free", b"skip", b"wide"}
#: Others that writers put behind a picture: where one of these ends early, so does the file.
_BESIDE = {b"uuid", b"jumb", b"mpvd", b"sefd", b"moof", b"sidx", b"mfra", b"udta", b"pdin"}


@dataclass
class Item:
    """One item of the file: a coded picture, a grid of them, or metadata."""

    kind: bytes = b""
    hidden: bool = False
    content_type: bytes = b""
    method: int = 0
    extents: list[tuple[int, int]] = field(default_factory=list)  # offset and length
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass
class Media:
    """What the boxes say.

    Attributes:
        primary: the number of the picture that is shown.
        items: by number.
        references: (kind, from, to).
        inline: data that items hold inside of the meta box.
        beside: other boxes, (kind, content): a phone's film of the moment, say.
        after: bytes behind the last box that are none.
        has_movie: whether there is an animation.
        cut: whether the file ends inside of a box.
    """

    primary: int = 0
    items: dict[int, Item] = field(default_factory=dict)
    references: list[tuple[bytes, int, int]] = field(default_factory=list)
    inline: bytes = b""
    beside: list[tuple[bytes, bytes]] = field(default_factory=list)
    after: bytes = b""
    has_movie: bool = False
    cut: bool = False


class _Bytes:
    """Reads big-endian numbers one after the other.

    Raises:
        InputError: past the end.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, size: int) -> int:
        if self.at + size > len(self.data):
            raise InputError("the boxes of the file are damaged")
        self.at += size
        return int.from_bytes(self.data[self.at - size : self.at])

    def word(self) -> bytes:
        """Up to the next NUL."""
        end = self.data.find(b"\0", self.at)
        end = len(self.data) if end < 0 else end
        word, self.at = self.data[self.at : end], end + 1
        return word


def boxes(data: bytes, limits: Limits) -> Iterator[tuple[bytes, bytes, bool]]:
    """Kind, content and whether it is whole, of the boxes that follow each other.

    Raises:
        InputError: a box shorter than its own header.
        TooLargeError: more boxes than the limit.
    """
    at = count = 0
    while at + 8 <= len(data):
        count += 1
        if count > limits.max_pieces:
            raise too_many_pieces(f"holds more than {limits.max_pieces} boxes")
        size, head = int.from_bytes(data[at : at + 4]), 8
        kind = data[at + 4 : at + 8]
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16]), 16
        elif size == 0:
            size = len(data) - at
        if size < head:
            raise InputError(f"holds a damaged box at byte {at:,}")
        yield kind, data[at + head : at + size], at + size <= len(data)
        at += size


def end_of_boxes(data: bytes) -> int:
    """Where the boxes of a file end and something else begins behind its picture; the file's length if nothing does."""
    at, has_items = 0, False
    while at + 8 <= len(data):
        kind, size = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4])
        if size == 0:
            return len(data)
        size = int.from_bytes(data[at + 8 : at + 16]) if size == 1 else size
        is_known = kind in _STRUCTURE | _BESIDE
        if size < 8 or at + size > len(data):
            return at if has_items and not is_known else len(data)
        has_items = has_items or kind == b"meta"
        at += size
    return at if has_items else len(data)


def read_media(data: bytes, limits: Limits) -> Media:
    """The boxes of a file, taken apart.

    Raises:
        InputError: damaged.
        TooLargeError: more items or boxes than the limit.
    """
    media = Media()
    end = end_of_boxes(data)
    if data[end:].strip(b"\0\r\n "):
        media.after = data[end:]
    for kind, content, whole in boxes(data[:end] if end < len(data) else data, limits):
        media.cut = media.cut or not whole
        if kind == b"moov":
            media.has_movie = True
        elif kind == b"meta" and not media.items:
            _read_meta(media, content[4:], limits)
        elif kind not in _STRUCTURE and (kind + content).strip(b"\0"):  # zeros are padding
            media.beside.append((kind, content))
    return media


def box_bytes(kind: bytes, content: bytes) -> bytes:
    """A box as it stands in a file."""
    size = len(content) + 8
    if size < 1 << 32:
        return size.to_bytes(4) + kind + content
    return (1).to_bytes(4) + kind + (size + 8).to_bytes(8) + content


def _read_meta(media: Media, content: bytes, limits: Limits) -> None:
    properties: list[tuple[bytes, bytes]] = []
    links: list[tuple[int, int]] = []
    for kind, inner, _ in boxes(content, limits):
        reader = _Bytes(inner)
        if kind == b"pitm":
            media.primary = (reader.number(4) and 0) or reader.number(4 if inner[0] else 2)
        elif kind == b"iinf":
            _read_infos(media, reader, limits)
        elif kind == b"iloc":
            _read_places(media, reader, limits)
        elif kind == b"iref":
            _read_references(media, inner, limits)
        elif kind == b"idat":
            media.inline = inner
        elif kind == b"iprp":
            for part, data, _ in boxes(inner, limits):
                if part == b"ipco":
                    properties = [(name, value) for name, value, _ in boxes(data, limits)]
                elif part == b"ipma":
                    links += _read_links(data, limits)
    for number, index in links:
        if number in media.items and 0 < index <= len(properties):
            media.items[number].properties.append(properties[index - 1])


def _read_infos(media: Media, reader: _Bytes, limits: Limits) -> None:
    version = reader.number(4) >> 24
    count = reader.number(4 if version else 2)
    if count > limits.max_pieces:
        raise too_many_pieces(f"holds more than {limits.max_pieces} items")
    for kind, content, _ in boxes(reader.data[reader.at :], limits):
        if kind != b"infe":
            continue
        entry = _Bytes(content)
        head = entry.number(4)
        if head >> 24 < 2:
            raise UnsupportedError("lists its items in an old way that is not supported")
        number = entry.number(4 if head >> 24 == 3 else 2)
        entry.number(2)
        item = media.items.setdefault(number, Item())
        item.kind, item.hidden = entry.number(4).to_bytes(4), bool(head & 1)
        entry.word()
        if item.kind in {b"mime", b"uri "}:
            item.content_type = entry.word()


def _read_places(media: Media, reader: _Bytes, limits: Limits) -> None:
    version = reader.number(4) >> 24
    sizes = reader.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    if any(size not in {0, 4, 8} for size in (offset_size, length_size, base_size)) or version > 2:
        raise InputError("the boxes of the file are damaged")
    count = reader.number(4 if version == 2 else 2)
    if count > limits.max_pieces:
        raise too_many_pieces(f"holds more than {limits.max_pieces} items")
    for _ in range(count):
        item = media.items.setdefault(reader.number(4 if version == 2 else 2), Item())
        item.method = reader.number(2) & 15 if version else 0
        if reader.number(2):
            raise UnsupportedError("keeps parts of the picture in another file")
        base = reader.number(base_size)
        extents = reader.number(2)
        if extents > _MOST_EXTENTS:
            raise too_many_pieces(f"stores an item in {extents} pieces")
        for _ in range(extents):
            if version and index_size:
                reader.number(index_size)
            offset = reader.number(offset_size)
            item.extents.append((base + offset, reader.number(length_size)))


def _read_references(media: Media, data: bytes, limits: Limits) -> None:
    size = 4 if data[:1] == b"\1" else 2
    for kind, content, _ in boxes(data[4:], limits):
        reader = _Bytes(content)
        origin, count = reader.number(size), reader.number(2)
        media.references += [(kind, origin, reader.number(size)) for _ in range(count)]
        if len(media.references) > limits.max_pieces:
            raise too_many_pieces(f"holds more than {limits.max_pieces} references")


def _read_links(data: bytes, limits: Limits) -> list[tuple[int, int]]:
    """(item, index of its property from 1)."""
    reader, links = _Bytes(data), list[tuple[int, int]]()
    head = reader.number(4)
    for _ in range(reader.number(4)):
        number = reader.number(4 if head >> 24 else 2)
        for _ in range(reader.number(1)):
            links.append((number, reader.number(2) & 0x7FFF if head & 1 else reader.number(1) & 0x7F))
        if len(links) > limits.max_pieces:
            raise too_many_pieces(f"holds more than {limits.max_pieces} properties")
    return links


def content_of(media: Media, item: Item, data: bytes) -> bytes | None:
    """An item's bytes, None where the file does not hold them."""
    source = media.inline if item.method == 1 else data
    if item.method > 1 or any(offset + length > len(source) for offset, length in item.extents):
        return None
    # A length of 0 means all that follows.
    return b"".join(source[offset : offset + length] if length else source[offset:] for offset, length in item.extents)
