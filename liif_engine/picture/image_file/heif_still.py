"""The one picture of an AVIF or HEIC file, what it carries, and what stands beside it. ISO/IEC 23008-12, 23000-22."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from liif_engine.errors import InputError, UnsupportedError
from liif_engine.picture.image_file import hdr
from liif_engine.picture.image_file.contents import Limits, Metadata, Piece, signed_credentials, too_much_metadata
from liif_engine.picture.image_file.isobmff import Item, Media, box_bytes, content_of, read_media

_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_XMP_TYPE = b"application/rdf+xml"
_PICTURES = {b"av01", b"hvc1", b"grid", b"iden", b"iovl", b"jpeg"}
#: References between a picture and its tiles, its alpha, its thumbnail, whatever these are coded by.
_PART_OF = {b"dimg", b"auxl", b"thmb"}
#: What a box of the kind ``uuid`` begins with where it holds Content Credentials (C2PA specification, A.5).
_CREDENTIALS = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
#: What EXIF begins with, and what it has before that in a JPEG file.
_EXIF_HEADS, _EXIF_PREFIX = (b"II*\0", b"MM\0*"), b"Exif\0\0"
_BLOCK = 64  # [pixels] a side of the largest block of HEVC
#: CICP numbers that are taken for sRGB's everywhere.
_PLAIN_TRANSFERS, _PLAIN_PRIMARIES = {1, 2, 6, 13, 14, 15}, {1, 2}


@dataclass(frozen=True)
class Still:
    """The one picture of a file.

    Attributes:
        width, height: as stored, before it is turned.
        orientation: what its properties ask for, in EXIF's numbers.
        has_alpha: whether another item holds its alpha.
        colours: 1 for gray, 3 for colour.
        cut: why the file counts as truncated, or None.
    """

    width: int
    height: int
    orientation: int
    has_alpha: bool
    colours: int
    metadata: Metadata
    cut: str | None

    @property
    def layout(self) -> str:
        """As rooms name it."""
        return ("L" if self.colours == 1 else "RGB") + ("A" if self.has_alpha else "")


def read_still(data: bytes, limits: Limits, *, home: str, codec: bytes, configuration: bytes) -> Still:
    """The picture of a file and what it says beside it.

    Args:
        data: the file.
        limits: what is refused as too large.
        home: "AVIF" or "HEIC".
        codec: the kind of its coded items, such as ``av01``.
        configuration: the property that says their depth, such as ``av1C``.

    Raises:
        InputError, UnsupportedError, TooLargeError: in words.
    """
    media = read_media(data, limits)
    if media.has_movie:
        raise UnsupportedError(f"is an {home} animation", remedy="Save it as an animated WebP or PNG first.")
    item = media.items.get(media.primary)
    if item is None:
        raise InputError("names no picture to show")
    if item.kind not in {codec, b"grid"}:
        kind = item.kind.decode("latin-1")
        raise UnsupportedError(f"shows an item of the kind {kind!r}, which is not supported in {home}")
    properties = dict(reversed(item.properties))
    size = properties.get(b"ispe", b"")
    width, height = struct.unpack_from(">II", size, 4) if len(size) >= 12 else (0, 0)
    if not width or not height:
        raise InputError(f"the {home} header says {width} x {height} pixels")
    width, height = _cropped(item, width, height, home)
    notes: list[str] = []
    has_alpha = _companions(media, notes)
    bits, colours = _depth(media, item, configuration)
    if bits != 8:
        raise UnsupportedError(f"has {bits} bits per sample; of {home} only 8 are supported")
    metadata = _metadata(media, item, data, home, notes)
    spent = sum(len(value) for value in (metadata.exif, metadata.icc, metadata.xmp) if value is not None)
    if spent > limits.max_metadata_bytes:
        raise too_much_metadata(
            f"holds {spent:,} bytes of metadata, more than the limit of {limits.max_metadata_bytes:,}"
        )
    return Still(width, height, _orientation(item), has_alpha, colours, metadata, _cut(media, data, home))


def _cropped(item: Item, width: int, height: int, home: str) -> tuple[int, int]:
    """Width and height without what fills the last blocks of the coder; x265 and its kin need whole ones.

    Raises:
        UnsupportedError: more is cropped than that, or the pixels are not square.
    """
    for kind, value in item.properties:
        if kind == b"pasp" and value[:4] != value[4:8]:
            raise UnsupportedError("has pixels that are not square")
        if kind != b"clap":
            continue
        if len(value) < 32 or not all((numbers := struct.unpack(">IIIIiIiI", value[:32]))[1::2]):
            raise InputError("the boxes of the file are damaged")
        new_width, new_height, x, y = (Fraction(*numbers[i : i + 2]) for i in (0, 2, 4, 6))
        left, top = x + (width - new_width) / 2, y + (height - new_height) / 2
        filling = 0 <= width - new_width < _BLOCK and 0 <= height - new_height < _BLOCK
        whole = new_width.denominator == new_height.denominator == 1 and new_width > 0 and new_height > 0
        if home != "HEIC" or left or top or not filling or not whole:
            raise UnsupportedError("is cropped by its header (clap)", remedy="Save the cropped picture first.")
        width, height = int(new_width), int(new_height)
    return width, height


def _companions(media: Media, notes: list[str]) -> bool:
    """Whether there is alpha; every other picture beside the main one is left out with a note or refused.

    Raises:
        UnsupportedError: one that belongs to the main picture pixel by pixel, or stands on its own.
    """
    has_alpha, known = False, {media.primary}
    parts = {target for kind, _, target in media.references if kind == b"dimg"}
    for kind, origin, target in media.references:
        if kind == b"auxl" and target == media.primary:
            auxiliary = dict(media.items.get(origin, Item()).properties).get(b"auxC", b"")[4:].split(b"\0")[0]
            if auxiliary not in _ALPHA:
                raise UnsupportedError(
                    f"carries a depth map, gain map or mask made for its pixels ({auxiliary.decode('latin-1')})",
                    remedy="Save the picture alone first.",
                )
            has_alpha = True
            known.add(origin)
        elif kind == b"prem" and origin == media.primary:
            notes.append("the alpha was multiplied into the colours; the result has it straight")
        elif kind == b"thmb":
            notes.append("the thumbnail was left out: it shows the old pixels")
            known.add(origin)
    for number, item in media.items.items():
        if item.kind == b"tmap":
            raise UnsupportedError("carries a gain map (HDR), made for the original pixels")
        if item.kind in _PICTURES and number not in known | parts and not item.hidden:
            raise UnsupportedError("holds several pictures", remedy="Save the one you want as a file of its own.")
    return has_alpha


def _depth(media: Media, item: Item, configuration: bytes) -> tuple[int, int]:
    """Bits per sample and 1 for gray or 3 for colour, from the coder's configuration."""
    tiles = [target for kind, origin, target in media.references if kind == b"dimg" and origin == media.primary]
    sources = [item, *(media.items[tile] for tile in tiles[:1] if tile in media.items)]
    for source in sources:
        value = dict(source.properties).get(configuration, b"")
        if configuration == b"av1C" and len(value) >= 3:
            bits = 8 if not value[2] & 0x40 else 12 if value[2] & 0x20 else 10
            return bits, 1 if value[2] & 0x10 else 3
        if configuration == b"hvcC" and len(value) >= 19:
            return (value[17] & 7) + 8, 3 if value[16] & 3 else 1
    raise InputError("does not say how its pixels are coded")


def _metadata(media: Media, item: Item, data: bytes, home: str, notes: list[str]) -> Metadata:
    """EXIF, XMP, ICC and the numbers of the colour space.

    Raises:
        UnsupportedError: HDR, or metadata of a kind that has no place.
    """
    boxes = (*_boxes_beside(media), *([Piece("<AFTER>", media.after, late=True)] if media.after else []))
    # These formats turn by properties; EXIF's orientation means nothing.
    metadata = Metadata(home=home, turned=True, pieces=boxes)
    for kind, value in item.properties:
        if kind == b"colr" and value[:4] in {b"prof", b"rICC"}:
            metadata = replace(metadata, icc=value[4:])
        elif kind == b"colr" and value[:4] == b"nclx" and len(value) >= 10:
            primaries, transfer = struct.unpack_from(">HH", value, 4)
            hdr.refuse_transfer(transfer)
            metadata = replace(metadata, pieces=(*boxes, Piece("<CICP>", value[4:8])))
            if primaries not in _PLAIN_PRIMARIES or transfer not in _PLAIN_TRANSFERS:
                metadata = replace(metadata, bound_to_home=(f"colours numbered {primaries}/{transfer} (CICP)",))
    if metadata.icc is not None:
        metadata = replace(metadata, bound_to_home=())  # the profile says it everywhere
    describing = {origin for kind, origin, target in media.references if kind == b"cdsc" and target == media.primary}
    parts = {target if kind == b"dimg" else origin for kind, origin, target in media.references if kind in _PART_OF}
    for number, other in media.items.items():
        if not other.kind or other.kind in _PICTURES or number in parts:
            continue
        content = content_of(media, other, data)
        if content is None or (describing and number not in describing):
            notes.append(
                f"metadata of the kind {other.kind.decode('latin-1').strip()} that describes no picture was left out"
            )
        elif other.kind == b"Exif" and metadata.exif is None and len(content) > 4:
            metadata = replace(metadata, exif=_exif_in(content) or None)
            if metadata.exif is None:
                notes.append("the EXIF item was left out: what it holds cannot be found in it")
        elif other.kind == b"mime" and other.content_type == _XMP_TYPE and metadata.xmp is None:
            metadata = replace(metadata, xmp=content)
        else:
            kind_name = (other.content_type or other.kind).decode("latin-1")
            raise UnsupportedError(f"carries metadata of the kind {kind_name}, which has no place in a result")
    return replace(metadata, notes=tuple(dict.fromkeys(notes)))


def _exif_in(content: bytes) -> bytes:
    """The EXIF block of an item, which begins with how far on that is; some writers leave this out, or miscount."""
    said = 4 + int.from_bytes(content[:4])
    blocks = (content[start:].removeprefix(_EXIF_PREFIX) for start in (said, 0, 4))
    return next((block for block in blocks if block.startswith(_EXIF_HEADS)), content[said:])


def _boxes_beside(media: Media) -> Iterator[Piece]:
    """Boxes that are no part of the picture, which a result has behind it.

    Raises:
        UnsupportedError: one is bound to the original pixels.
    """
    for kind, content in media.beside:
        if kind == b"jumb" or (kind == b"uuid" and content.startswith(_CREDENTIALS)):
            raise signed_credentials()
        yield Piece(f"box {kind.decode('latin-1')}", content, late=True)


def _orientation(item: Item) -> int:
    """EXIF's number for the turns and mirrors that the properties ask for, in their order."""
    orientation = 1
    for kind, value in item.properties:
        if kind == b"irot" and value:
            for _ in range(value[0] & 3):  # a quarter turn against the clock each
                orientation = {1: 8, 2: 7, 3: 6, 4: 5, 5: 2, 6: 1, 7: 4, 8: 3}[orientation]
        elif kind == b"imir" and value:
            if value[0] & 1:  # left and right change places
                orientation = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7}[orientation]
            else:
                orientation = {1: 4, 2: 3, 3: 2, 4: 1, 5: 8, 6: 7, 7: 6, 8: 5}[orientation]
    return orientation


def _cut(media: Media, data: bytes, home: str) -> str | None:
    """Why the file counts as truncated, or None."""
    for item in media.items.values():
        if item.method == 0 and any(offset + length > len(data) for offset, length in item.extents):
            return f"the {home} data ends early: an item lies behind the file's {len(data):,} bytes"
    return f"the {home} data ends early, inside of a box" if media.cut else None


def stand_in(exif: bytes | None) -> bytes | None:
    """An EXIF block without tags, as long as the real one.

    The libraries that write these files change the orientation inside of EXIF and write the block anew, which breaks
    maker notes; so they get this one, and `put_in` sets the real block into its place.
    """
    if exif is None:
        return None
    filler = hashlib.shake_128(exif).digest(len(exif))
    return (b"II*\0\x08\0\0\0" + bytes(6) + filler)[: len(exif)]


def stand_in_xmp(xmp: bytes | None) -> bytes | None:
    """As `stand_in`, of XMP: pillow-heif turns the picture as XMP alone says, and writes what is not UTF-8 anew."""
    return None if xmp is None else hashlib.shake_128(xmp).hexdigest(len(xmp))[: len(xmp)].encode()


def put_in(data: bytes, metadata: Metadata, *, home: str) -> bytes:
    """A file of the format `home` with real EXIF and XMP in the stand-ins' places, and its source's boxes behind."""
    exif, xmp = metadata.exif, metadata.xmp
    for real, filler in ((exif, stand_in(exif)), (xmp, stand_in_xmp(xmp))):
        if real is not None and filler is not None:
            data = data.replace(filler, real, 1)
    beside = [piece for piece in metadata.pieces if metadata.home == home and piece.late]
    return data + b"".join(
        piece.data if piece.kind == "<AFTER>" else box_bytes(piece.kind[4:].encode("latin-1"), piece.data)
        for piece in beside
    )


def colour_numbers(metadata: Metadata) -> tuple[int, int] | None:
    """Primaries and transfer of the source's colour space (CICP), where it is of the same family of formats."""
    piece = next((piece for piece in metadata.pieces if piece.kind == "<CICP>"), None)
    if piece is None or metadata.home not in {"AVIF", "HEIC"}:
        return None
    primaries, transfer = struct.unpack(">HH", piece.data)
    return primaries, transfer
