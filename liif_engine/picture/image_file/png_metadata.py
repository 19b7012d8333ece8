"""What the chunks of a PNG file beside its pixels say, and which of them a result carries. W3C PNG, third edition."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import replace

from liif_engine.errors import UnsupportedError
from liif_engine.picture.image_file import hdr
from liif_engine.picture.image_file.contents import (
    Density,
    Limits,
    Metadata,
    Piece,
    Text,
    signed_credentials,
    too_much_metadata,
)
from liif_engine.picture.image_file.inflate import inflate
from liif_engine.picture.image_file.photoshop import is_bound, without_stale_resources
from liif_engine.picture.image_file.png_chunks import Chunk, Chunks, chunk_bytes

XMP_TITLE = b"XML:com.adobe.xmp"

#: Colour and display: they say how samples are to be understood, so they stand before the pixels, and stay.
_COLOUR = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi", b"iCCP"}
_KEPT = _COLOUR | {b"pHYs", b"sPLT", b"tIME", b"tEXt", b"zTXt", b"iTXt", b"oFFs", b"pCAL", b"sCAL", b"sTER"}
#: They describe the old samples and nothing else.
_STALE = {
    b"sBIT": "the chunk sBIT was left out: the result's samples use all their bits",
    b"hIST": "the chunk hIST was left out: the result has no palette",
    b"iDOT": "the chunk iDOT was left out: it only says where the old pixel data can be split",
    b"prVW": "the chunk prVW was left out: it is a preview of the old pixels",
}
#: Written anew from the pixels or from fields of `Metadata`.
_STRUCTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"bKGD"}
#: Texts that hold what PNG has no chunk for, in hexadecimal digits; ImageMagick calls either by either name.
_PROFILES = {b"Raw profile type 8bim", b"Raw profile type iptc"}
#: Texts that held, in the same form, what PNG has chunks for by now: a result has it in these, where viewers look.
_BLOCKS = {b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type xmp"}
_BLOCK_HEADS = {
    b"Exif\0\0II*\0": ("<EXIF>", 6),
    b"Exif\0\0MM\0*": ("<EXIF>", 6),
    b"II*\0": ("<EXIF>", 0),
    b"MM\0*": ("<EXIF>", 0),
    b"http://ns.adobe.com/xap/1.0/\0": ("<XMP>", 29),
    b"<": ("<XMP>", 0),
    b"\xef\xbb\xbf<": ("<XMP>", 0),
}
#: A line that names the kind, as in "iptc" or, by exiftool and old ImageMagick, "IPTC profile", and the length.
_PROFILE_HEAD = re.compile(r"\s*+[^\n]{1,80}\n\s*+(\d{1,10})\s")
#: The profile that said HDR before PNG had a chunk for it, by its name alone (W3C Note on BT.2100 PQ in PNG).
_NAMED_TRANSFERS = {b"ITUR_2100_PQ_FULL": 16}
_SRGB_GAMMA = 45455
_SRGB_POINTS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def read_metadata(chunks: Chunks, limits: Limits) -> Metadata:
    """What the chunks beside the pixels say.

    Raises:
        UnsupportedError: a chunk is tied to the original pixels and can neither be kept nor dropped.
        TooLargeError: more bytes of metadata than the limit.
    """
    reader = _Reader(limits.max_metadata_bytes, chunks)
    late = False
    for chunk in chunks.all:
        late = late or chunk.kind in {b"IDAT", b"fdAT"}
        reader.read(chunk, late=late)
    if chunks.after.strip(b"\0\r\n "):
        reader.pieces.append(Piece("<AFTER>", chunks.after, late=True))
    metadata = reader.metadata()
    return replace(metadata, bound_to_home=tuple(_bound(chunks, metadata)))


class _Reader:
    """Collects chunk after chunk into `Metadata`, within a budget of bytes."""

    def __init__(self, budget: int, chunks: Chunks) -> None:
        self.budget = budget
        own = {"<EXIF>": chunks.first(b"eXIf") is not None, "<XMP>": any(map(_is_xmp, chunks.all))}
        self.places_in_texts = {place for place, is_there in own.items() if not is_there}
        self.pieces: list[Piece] = []
        self.texts: list[Text] = []
        self.notes: list[str] = []
        self.fields: dict[str, bytes] = {}
        self.density: Density | None = None

    def metadata(self) -> Metadata:
        return Metadata(
            home="PNG",
            exif=self.fields.get("<EXIF>"),
            icc=self.fields.get("iCCP"),
            xmp=self.fields.get("<XMP>"),
            photoshop=without_stale_resources(self.fields["photoshop"]) if "photoshop" in self.fields else None,
            iptc=self.fields.get("iptc"),
            density=self.density,
            texts=tuple(self.texts),
            pieces=tuple(self.pieces),
            lossless=True,
            notes=tuple(self.notes),
        )

    def read(self, chunk: Chunk, *, late: bool) -> None:
        kind, data = chunk.kind, chunk.data
        if kind in _STRUCTURE:
            return
        self._spend(len(data))
        if kind == b"caBX":
            raise signed_credentials()
        if kind == b"cICP" and len(data) == 4:
            hdr.refuse_transfer(data[1])
        if kind in _STALE:
            self.notes.append(_STALE[kind])
        elif kind == b"eXIf" and "<EXIF>" not in self.fields:
            self._field("<EXIF>", data.removeprefix(b"Exif\0\0"), late=late)
        elif _is_xmp(chunk) and "<XMP>" not in self.fields:
            packet = self._international(data)
            if packet is None:
                self.pieces.append(Piece("iTXt", data, late))
            else:
                self._field("<XMP>", packet, late=late)
        elif kind in _KEPT or _is_safe_to_copy(kind):
            self.pieces.append(Piece(kind.decode("ascii"), data, late))
            self._understand(kind, data)
        else:
            raise UnsupportedError(f"carries a {kind.decode('ascii')} chunk, which is tied to the original pixels")

    def _field(self, name: str, data: bytes, *, late: bool) -> None:
        self.fields[name] = data
        self.pieces.append(Piece(name, b"", late))

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise too_much_metadata()

    def _inflate(self, data: bytes) -> bytes | None:
        content = inflate(data, self.budget)
        self._spend(len(content or b""))
        return content

    def _understand(self, kind: bytes, data: bytes) -> None:
        """What a result in another format needs of a chunk that is kept as it is."""
        title, _, rest = data.partition(b"\0")
        if kind == b"pHYs" and len(data) == 9:
            x, y, unit = struct.unpack(">IIB", data)
            self.density = Density((x, 1), (y, 1), "metre" if unit == 1 else "aspect")
        elif kind == b"iCCP":
            hdr.refuse_transfer(_NAMED_TRANSFERS.get(title, 0))
            profile = self._inflate(rest[1:])
            if profile is not None:
                self.fields["iCCP"] = profile
        elif kind == b"tEXt":
            self._text(title, rest.decode("latin-1"))
        elif kind == b"zTXt":
            content = self._inflate(rest[1:])
            if content is not None:
                self._text(title, content.decode("latin-1"))
        elif kind == b"iTXt":
            content = self._international(data)
            if content is not None:
                language, translation, _ = rest[2:].split(b"\0", 2)
                about = language.decode("latin-1"), translation.decode("utf-8", "replace")
                self._text(title, content.decode("utf-8", "replace"), *about)

    def _text(self, title: bytes, text: str, language: str = "", translation: str = "") -> None:
        if title in _BLOCKS and (found := _block_in(_profile_in(text) or b"")) is not None:
            place, block = found
            if place in self.places_in_texts:
                self.places_in_texts.remove(place)
                self.fields[place] = block
                self.pieces[-1] = Piece(place, b"", self.pieces[-1].late)
                return
        if title in _PROFILES and (profile := _profile_in(text)) is not None:
            name = "photoshop" if profile.startswith(b"8BIM") else "iptc"
            if name not in self.fields:
                self.fields[name] = profile
                if name == "photoshop" and is_bound(profile):
                    self.pieces[-1] = Piece("<PHOTOSHOP>", title, self.pieces[-1].late)
                return
        self.texts.append(Text(title.decode("latin-1"), text, language, translation))

    def _international(self, data: bytes) -> bytes | None:
        """UTF-8 content of an iTXt chunk, None if it is damaged."""
        rest = data.partition(b"\0")[2]
        parts = rest[2:].split(b"\0", 2)
        if len(rest) < 2 or len(parts) != 3:
            return None
        return self._inflate(parts[2]) if rest[0] else parts[2]


def _is_xmp(chunk: Chunk) -> bool:
    return chunk.kind == b"iTXt" and chunk.data.startswith(XMP_TITLE + b"\0")


def _block_in(profile: bytes) -> tuple[str, bytes] | None:
    """The place of an EXIF block or an XMP packet, and it; None if a profile is neither."""
    for head, (place, skipped) in _BLOCK_HEADS.items():
        if profile.startswith(head):
            return place, profile[skipped:]
    return None


def _is_safe_to_copy(kind: bytes) -> bool:
    """The chunk's own word that it does not depend on the pixels: its fourth letter is small."""
    return kind[0:1].islower() and kind[3:4].islower()


def _bound(chunks: Chunks, metadata: Metadata) -> list[str]:
    """What says how the colours are meant and has no place outside of PNG."""
    kinds = {chunk.kind for chunk in chunks.all}
    bound = [f"the colour chunk {kind.decode()}" for kind in (b"cICP", b"mDCV", b"mDCv") if kind in kinds]
    if b"iCCP" in kinds:
        return bound if metadata.icc is not None else [*bound, "an ICC profile that cannot be read"]
    if b"sRGB" in kinds:
        return bound
    gamma, points = chunks.first(b"gAMA"), chunks.first(b"cHRM")
    if gamma is not None and abs(int.from_bytes(gamma[:4]) - _SRGB_GAMMA) > 5:
        bound.append("a gamma (gAMA) other than sRGB's")
    if points is not None and not _are_srgb_points(points):
        bound.append("primary colours (cHRM) other than sRGB's")
    return bound


def _are_srgb_points(data: bytes) -> bool:
    if len(data) != 32:
        return False
    return all(abs(a - b) <= 1000 for a, b in zip(struct.unpack(">8I", data), _SRGB_POINTS, strict=True))


def ancillary(metadata: Metadata) -> tuple[bytes, bytes]:
    """The chunks before the pixels and those after them, for a result.

    Args:
        metadata: already corrected for the result.
    """
    pieces = list(metadata.pieces) if metadata.home == "PNG" else _foreign_pieces(metadata)
    there = {piece.kind for piece in pieces}
    for place, value in {"<EXIF>": metadata.exif, "<XMP>": metadata.xmp}.items():
        if value is not None and place not in there:
            pieces.append(Piece(place))
    early = b"".join(_piece_bytes(piece, metadata) for piece in pieces if not piece.late)
    late = [piece for piece in pieces if piece.late and piece.kind != "<AFTER>"]
    return early, b"".join(_piece_bytes(piece, metadata) for piece in late)


def _piece_bytes(piece: Piece, metadata: Metadata) -> bytes:
    if piece.kind == "<EXIF>":
        return chunk_bytes(b"eXIf", metadata.exif or b"")
    if piece.kind == "<XMP>":
        return chunk_bytes(b"iTXt", XMP_TITLE + b"\0\0\0\0\0" + (metadata.xmp or b""))
    if piece.kind == "<PHOTOSHOP>":
        return b"" if metadata.photoshop is None else chunk_bytes(b"zTXt", _photoshop_data(piece.data, metadata))
    if piece.kind == "pHYs" and metadata.turned and metadata.density is not None:
        # A picture that was turned on its side has its old numbers the other way round.
        turned = piece.data[4:8] + piece.data[:4]
        if turned == struct.pack(">II", metadata.density.x[0], metadata.density.y[0]):
            return chunk_bytes(b"pHYs", turned + piece.data[8:])
    return chunk_bytes(piece.kind.encode("ascii"), piece.data)


def _foreign_pieces(metadata: Metadata) -> list[Piece]:
    """Another format's metadata as PNG chunks."""
    pieces = []
    if metadata.icc is not None:
        pieces.append(Piece("iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    density = metadata.density
    if density is not None and (per_inch := density.per_inch()) is not None:
        x, y = (round(value / 0.0254) for value in per_inch)
        if 0 < x < 1 << 31 and 0 < y < 1 << 31:
            pieces.append(Piece("pHYs", struct.pack(">IIB", x, y, 1)))
    elif density is not None and density.unit == "aspect" and (aspect := density.aspect()) not in {None, 1}:
        x, y = aspect.denominator, aspect.numerator
        if max(x, y) < 1 << 31:
            pieces.append(Piece("pHYs", struct.pack(">IIB", x, y, 0)))
    pieces += [Piece("iTXt", _text_data("Comment", comment)) for comment in metadata.comments]
    pieces += [Piece("iTXt", _text_data(text.title, text.text.encode())) for text in metadata.texts]
    if metadata.photoshop is not None:
        pieces.append(Piece("zTXt", _photoshop_data(b"Raw profile type 8bim", metadata)))
    if metadata.iptc is not None:
        pieces.append(Piece("zTXt", b"Raw profile type iptc\0\0" + zlib.compress(_raw_profile(b"iptc", metadata.iptc))))
    return pieces


def _photoshop_data(title: bytes, metadata: Metadata) -> bytes:
    return title + b"\0\0" + zlib.compress(_raw_profile(b"8bim", metadata.photoshop or b""))


def _text_data(title: str, text: bytes) -> bytes:
    """An iTXt chunk's data; comments of unknown encoding are taken for UTF-8 where they can be, else Latin-1."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        text = text.decode("latin-1").encode("utf-8")
    keyword = title.encode("latin-1", "replace")[:79] or b"Comment"
    return keyword + b"\0\0\0\0\0" + text.replace(b"\0", b"")


def _profile_in(text: str) -> bytes | None:
    """What a text of `_raw_profile`'s form holds; None if it is not of that form."""
    head = _PROFILE_HEAD.match(text)
    if head is None:
        return None
    try:
        profile = bytes.fromhex(text[head.end() :])  # which passes over the ends of lines
    except ValueError:
        return None
    return profile if len(profile) == int(head[1]) else None


def _raw_profile(name: bytes, data: bytes) -> bytes:
    """The form that ImageMagick introduced for what PNG has no chunk for, and exiftool reads."""
    digits = data.hex().encode("ascii")
    lines = b"\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    return b"\n" + name + b"\n%8d\n" % len(data) + lines + b"\n"
