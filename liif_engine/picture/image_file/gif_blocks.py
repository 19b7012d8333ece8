"""The GIF container: blocks, what they say, and putting them around new pixels. GIF89a, CompuServe 1990."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from liif_engine.errors import InputError, UnsupportedError
from liif_engine.picture.image_file.canvas import Disposal
from liif_engine.picture.image_file.contents import (
    Density,
    Limits,
    Metadata,
    Piece,
    Pixels,
    signed_credentials,
    too_many_pieces,
    too_much_metadata,
)

_COMMENT, _PLAIN_TEXT, _APPLICATION, _CONTROL = 0xFE, 0x01, 0xFF, 0xF9
_XMP, _ICC = b"XMP DataXMP", b"ICCRGBG1012"
_LOOPS = {b"NETSCAPE2.0", b"ANIMEXTS1.0"}
#: What follows an XMP packet, so that readers who take its text for block lengths find the end.
_XMP_TRAILER = b"\x01" + bytes(range(0xFF, -1, -1)) + b"\0"
_DISPOSALS = {0: Disposal.KEEP, 1: Disposal.KEEP, 2: Disposal.CLEAR, 3: Disposal.RESTORE, 4: Disposal.RESTORE}


@dataclass(frozen=True)
class Part:
    """One coded picture at its place on the canvas.

    Attributes:
        palette: (256, 3) uint8.
        transparent: the palette index that is not drawn, or None.
        code_size: LZW's first, in bits without the two special codes.
        packed: the LZW data, without its block lengths.
    """

    y: int
    x: int
    height: int
    width: int
    palette: Pixels
    transparent: int | None
    duration: tuple[int, int]
    disposal: Disposal
    interlaced: bool
    code_size: int
    packed: bytes


@dataclass
class Blocks:
    """A file taken apart.

    Attributes:
        width, height: of the screen, as the file says.
        parts: its pictures, in order; the last may be cut.
        metadata: what else it says.
        cut: why the file counts as truncated, or None.
    """

    width: int
    height: int
    parts: list[Part] = field(default_factory=list)
    metadata: Metadata = field(default_factory=lambda: Metadata("GIF"))
    cut: str | None = None


class _Reader:
    """Walks over a file once, block after block."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data, self.limits = data, limits
        self.at = 13
        self.blocks = Blocks(int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))
        self.notes: list[str] = []
        self.pieces: list[Piece] = []
        self.comments: list[bytes] = []
        self.fields: dict[str, bytes] = {}
        self.repeats: int | None = None
        self.spent = self.found = 0
        self.control = b""

    def read(self) -> Blocks:
        flags, background, aspect = self.data[10:13]
        palette = self._palette(flags)
        if background and palette is not None:
            self.notes.append("the background colour, which viewers ignore, was left out")
        while (kind := self.data[self.at : self.at + 1]) not in {b"", b";"}:
            self.found += 1
            if self.found > self.limits.max_pieces:
                raise too_many_pieces(f"holds more than {self.limits.max_pieces} blocks")
            self.at += 1
            if kind == b",":
                whole = self._picture(palette)
            elif kind == b"!":
                whole = self._extension()
            elif kind == b"\0":  # an end mark too many
                whole = True
            else:
                raise InputError(f"holds no GIF block at byte {self.at - 1:,}: the file is damaged there")
            if not whole:
                break
        after = self.data[self.at + 1 :]
        if self.data[self.at : self.at + 1] != b";":
            self.blocks.cut = f"the GIF data ends early, without an end mark after {len(self.data):,} bytes"
        elif after.strip(b"\0\r\n ;"):
            self.pieces.append(Piece("<AFTER>", after, late=True))
        self.blocks.metadata = Metadata(
            home="GIF",
            xmp=self.fields.get("<XMP>"),
            icc=self.fields.get("<ICC>"),
            density=Density((64, 1), (aspect + 15, 1), "aspect") if aspect else None,
            comments=tuple(self.comments),
            pieces=tuple(self.pieces),
            lossless=True,
            progressive=bool(self.blocks.parts) and self.blocks.parts[0].interlaced,
            loop=self._loop(),
            notes=tuple(dict.fromkeys(self.notes)),
        )
        return self.blocks

    def _loop(self) -> int | None:
        """Plays in all: the file counts repeats after the first, and 0 is for ever."""
        if self.repeats is None:
            return 1 if len(self.blocks.parts) > 1 else None
        return self.repeats + 1 if self.repeats else 0

    def _palette(self, flags: int) -> Pixels | None:
        """(256, 3) uint8, filled up with black; None if there is none."""
        if not flags & 0x80:
            return None
        size = 3 << (flags & 7) + 1
        entries = self.data[self.at : self.at + size].ljust(768, b"\0")[:768]
        self.at += size
        return np.frombuffer(entries, np.uint8).reshape(256, 3)

    def _subblocks(self) -> bytes | None:
        """The joined data of a chain of sub-blocks; None, with `at` behind the file, if its end is missing."""
        joined = bytearray()  # a list of sub-blocks of a byte each would hold fifty times what they say
        while self.at < len(self.data):
            length = self.data[self.at]
            joined += self.data[self.at + 1 : self.at + 1 + length]
            self.at += 1 + length
            if not length:
                return bytes(joined)
        self.at = len(self.data)
        self.rest = bytes(joined)
        return None

    def _picture(self, palette: Pixels | None) -> bool:
        head = self.data[self.at : self.at + 9]
        self.at += 9
        if len(head) < 9:
            return False
        x, y, width, height = (int.from_bytes(head[i : i + 2], "little") for i in (0, 2, 4, 6))
        if not width or not height:
            raise InputError(f"holds a frame of {width} x {height} pixels")
        own = self._palette(head[8])
        if own is None and palette is None:
            self.notes.append("it names no colours; its numbers were taken for shades of gray, as viewers do")
            own = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
        code_size = self.data[self.at : self.at + 1]
        self.at += 1
        packed = self._subblocks() if code_size else None
        if not code_size:
            return False
        if not 1 <= code_size[0] <= 11:
            raise InputError(f"holds a frame of LZW codes of {code_size[0]} bits, which do not exist")
        transparent, duration, disposal = self._controlled()
        colours = own if own is not None else palette
        assert colours is not None
        data = self.rest if packed is None else packed
        interlaced = bool(head[8] & 0x40)
        self.blocks.parts.append(
            Part(y, x, height, width, colours, transparent, duration, disposal, interlaced, code_size[0], data)
        )
        return packed is not None

    def _controlled(self) -> tuple[int | None, tuple[int, int], Disposal]:
        """Transparent index, duration and disposal of the next picture."""
        control, self.control = self.control, b""
        if len(control) < 4:
            return None, (0, 100), Disposal.KEEP
        if control[0] & 2:
            self.notes.append("that a frame waits for the user's input was left out: no viewer waits")
        disposal = _DISPOSALS.get(control[0] >> 2 & 7, Disposal.KEEP)
        return (
            control[3] if control[0] & 1 else None,
            (int.from_bytes(control[1:3], "little"), 100),
            disposal,
        )

    def _extension(self) -> bool:
        label, start = self.data[self.at : self.at + 1], self.at
        self.at += 1
        content = self._subblocks()
        if content is None:
            return False
        raw = self.data[start : self.at]
        if label[0] == _CONTROL:
            self.control = content
            return True
        self.spent += len(raw)
        if self.spent > self.limits.max_metadata_bytes:
            raise too_much_metadata()
        if label[0] == _PLAIN_TEXT:
            raise UnsupportedError("draws text by a block of its own (plain text), which cannot be made larger")
        late = bool(self.blocks.parts)
        if label[0] == _COMMENT:
            self.comments.append(content)
            self.pieces.append(Piece("COM", raw, late))
        elif label[0] == _APPLICATION:
            self._application(raw, content, late=late)
        else:
            self.pieces.append(Piece(f"extension {label[0]:#04x}", raw, late))
        return True

    def _application(self, raw: bytes, content: bytes, *, late: bool) -> None:
        name = raw[2:13]
        if name.startswith(b"C2PA_GIF"):
            raise signed_credentials()
        if name == _XMP and raw.endswith(_XMP_TRAILER) and "<XMP>" not in self.fields:
            self._field("<XMP>", raw[13 : -len(_XMP_TRAILER)], late=late)
        elif name == _ICC and "<ICC>" not in self.fields:
            self._field("<ICC>", content[11:], late=late)
        elif name in _LOOPS:
            if len(content) >= 14 and content[11] & 7 == 1:
                self.repeats = int.from_bytes(content[12:14], "little")
            self.pieces.append(Piece("<LOOP>", raw, late))
        else:
            self.pieces.append(Piece(name.decode("latin-1").strip("\0 ") or "application block", raw, late))

    def _field(self, name: str, data: bytes, *, late: bool) -> None:
        self.fields[name] = data
        self.pieces.append(Piece(name, b"", late))


def take_apart(data: bytes, limits: Limits) -> Blocks:
    """Finds the pictures and everything else of a file.

    Raises:
        InputError: not a GIF file, or damaged.
        UnsupportedError: it draws text on its own, or a block is bound to the original pixels.
        TooLargeError: more blocks or metadata than the limits.
    """
    if data[:6] not in {b"GIF87a", b"GIF89a"}:
        raise InputError("is not a GIF file")
    if len(data) < 13:
        return Blocks(0, 0, cut="the GIF data ends before the picture's size")
    return _Reader(data, limits).read()


def subblocks(data: bytes) -> bytes:
    """Data in blocks of at most 255 bytes with their lengths, and the end mark."""
    parts = [data[start : start + 255] for start in range(0, len(data), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def around(metadata: Metadata, *, animated: bool) -> tuple[bytes, bytes, bytes]:
    """The extensions before the pictures, those behind them, and what follows the file's end mark."""
    pieces = [piece for piece in metadata.pieces if metadata.home == "GIF"]
    there = {piece.kind for piece in pieces}
    if metadata.home != "GIF":
        if animated and metadata.loop != 1:
            repeats = max(0, min((metadata.loop or 0) - 1, 0xFFFF))
            loop = b"\x03\x01" + repeats.to_bytes(2, "little") + b"\0"
            pieces.append(Piece("<LOOP>", b"\xff\x0bNETSCAPE2.0" + loop))
        pieces += [Piece("COM", b"\xfe" + subblocks(comment)) for comment in metadata.comments]
    values = {"<ICC>": metadata.icc, "<XMP>": metadata.xmp}
    pieces += [Piece(place) for place, value in values.items() if value is not None and place not in there]
    parts: dict[bool, list[bytes]] = {False: [], True: []}
    for piece in pieces:
        if piece.kind == "<AFTER>":
            continue
        data = piece.data
        if piece.kind == "<XMP>":
            data = b"\xff\x0b" + _XMP + (metadata.xmp or b"") + _XMP_TRAILER
        elif piece.kind == "<ICC>":
            data = b"\xff\x0b" + _ICC + subblocks(metadata.icc or b"")
        parts[piece.late].append(b"!" + data)
    after = b"".join(piece.data for piece in pieces if piece.kind == "<AFTER>")
    return b"".join(parts[False]), b"".join(parts[True]), after
