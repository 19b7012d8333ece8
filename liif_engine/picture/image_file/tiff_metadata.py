"""What a TIFF file says beside its pixels, and back: every tag that does not describe how pixels are stored."""

from __future__ import annotations

import math
import struct

from liif_engine.errors import LiifError, UnsupportedError
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file import tiff_described
from liif_engine.picture.image_file.contents import Density, Limits, Metadata, Piece
from liif_engine.picture.image_file.photoshop import without_stale_resources
from liif_engine.picture.image_file.tiff_tags import (
    ASCII,
    BYTE,
    RATIONAL,
    SHORT,
    UNDEFINED,
    ByteOrder,
    Directory,
    Form,
    Reader,
    Tag,
    bytes_tag,
    integers,
    number_tag,
    serialised,
)

ORIENTATION = 274
_X, _Y, _UNIT = 282, 283, 296
_BLACK_AND_WHITE, _RGB = 532, 2
XMP, IPTC, PHOTOSHOP, ICC = 700, 33723, 34377, 34675
_FIELDS = {XMP: "xmp", IPTC: "iptc", PHOTOSHOP: "photoshop", ICC: "icc"}
_FIELD_KINDS = {XMP: BYTE, IPTC: UNDEFINED, PHOTOSHOP: BYTE, ICC: UNDEFINED}
#: How the old pixels were stored: written anew, or of no use for new ones (response curves, free space, halftones).
_STRUCTURE = (
    {*range(254, 260), 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, *range(288, 294), 317}
    | {*range(320, 331), 332, 334, 338, 339, 340, 341, 342, 347, *range(512, 522), *range(529, 533)}
    | {0x8769, 0x8825, 0xA005}
)
#: Tags of the main directory that an EXIF block repeats.
_EXIF_MAIN = {
    270,
    271,
    272,
    274,
    282,
    283,
    296,
    305,
    306,
    315,
    316,
    318,
    319,
    33432,
    18246,
    18249,
    *range(40091, 40096),
}
#: Those of them that no field of `Metadata` holds: they make a block worth while where there is neither EXIF nor GPS.
_EXIF_WORDS = _EXIF_MAIN - {274, 282, 283, 296}
_OF_PIXELS = "of how large its pixels are, which no result could say"
_REFUSED = {
    37724: "Photoshop layers",
    50706: "a camera's raw data (DNG)",
    **dict.fromkeys((33550, 33920, 33922, 34264, 50844), "map coordinates (GeoTIFF), which are bound to its pixels"),
    **dict.fromkeys((33560, *range(33628, 33632), 34412, 51123), f"a microscope's own record {_OF_PIXELS}"),
    **dict.fromkeys((34118, 34680, 34682), f"an electron microscope's own record {_OF_PIXELS}"),
    42113: "GDAL's number for pixels that are missing, which a result would mix with others",
    50838: "ImageJ's own record (a stack, drawings, ranges of display), which is bound to its pixels",
    52545: "Content Credentials, signed for the original pixels",
}
_EXIF, _MAKER_NOTE = 0x8769, 37500
_MOVED = "the camera's maker note was moved inside the file, which the offsets in some of them do not survive"


def read_metadata(directory: Directory, reader: Reader) -> Metadata:
    """Everything of the main directory that a result carries.

    Raises:
        UnsupportedError: a tag is tied to the original pixels and can neither be kept nor dropped.
    """
    for number, reason in _REFUSED.items():
        if number in directory.tags:
            raise UnsupportedError(f"carries {reason}", remedy="Save a flat copy of the picture first.")
    if (description := directory.tags.get(tiff_described.DESCRIPTION)) is not None:
        sides = (reader.integer(directory.tags.get(number)) or 1 for number in (256, 257, 277))
        tiff_described.refuse_foreign(description.data, math.prod(sides))
    fields = {name: directory.tags[number].data for number, name in _FIELDS.items() if number in directory.tags}
    if "photoshop" in fields:
        fields["photoshop"] = without_stale_resources(fields["photoshop"])
    pieces, notes = [Piece("<FORM>", reader.order.encode() + (b"B" if reader.big else b"C"))], list[str]()
    # What is black and white in RGB stays so; in YCbCr it has its say in the decoder.
    structure = _STRUCTURE - {_BLACK_AND_WHITE} if reader.integer(directory.tags.get(262)) == _RGB else _STRUCTURE
    for number, tag in sorted(directory.tags.items()):
        if number not in structure and number not in _FIELDS:
            kind = f"<TAG {number}>" if number in _EXIF_MAIN else f"tag {number}"
            pieces.append(Piece(kind, struct.pack("<HQ", tag.kind, tag.count) + tag.data))
    if _has_maker_note(directory):
        notes.append(_MOVED)
    return Metadata(
        home="TIFF",
        exif=_exif_block(directory, reader.order),
        density=_density(directory, reader.order),
        pieces=tuple(pieces),
        notes=tuple(notes),
        **fields,  # type: ignore[arg-type]
    )


def _has_maker_note(directory: Directory) -> bool:
    exif = directory.below.get(_EXIF)
    return exif is not None and _MAKER_NOTE in exif.tags


def _exif_block(directory: Directory, order: ByteOrder) -> bytes | None:
    """The EXIF and GPS directories as a block of their own with what of the main directory belongs to them."""
    if not directory.below and not _EXIF_WORDS & directory.tags.keys():
        return None
    main = {number: tag for number, tag in directory.tags.items() if number in _EXIF_MAIN}
    return serialised(Directory(main, directory.below), (order, False))


def _density(directory: Directory, order: str) -> Density | None:
    x, y = (_rational(directory.tags.get(number), order) for number in (_X, _Y))
    if x is None or y is None:
        return None
    unit = integers(directory.tags.get(_UNIT), order) or (2,)
    return Density(x, y, {2: "inch", 3: "cm"}.get(unit[0], "aspect"))


def _rational(tag: Tag | None, order: str) -> tuple[int, int] | None:
    if tag is None or tag.kind != RATIONAL or tag.count != 1:
        return None
    numerator, denominator = struct.unpack(order + "II", tag.data)
    return numerator, denominator


def form_of(metadata: Metadata) -> Form:
    """Byte order and whether BigTIFF: the file's own, so that every value stays as it is."""
    if metadata.home == "TIFF":
        piece = next((piece for piece in metadata.pieces if piece.kind == "<FORM>"), None)
        if piece is not None:
            return (">" if piece.data[:1] == b">" else "<"), piece.data[1:] == b"B"
    return (">" if (metadata.exif or b"")[:2] == b"MM" else "<"), False


def directory_for(metadata: Metadata, order: str, notes: list[str]) -> Directory:
    """The tags of a result, without those of its pixels.

    Args:
        metadata: already corrected for the result.
        order: byte order of the file.
        notes: takes what could not be carried.
    """
    directory = Directory()
    exif = _parsed(metadata.exif, notes) if metadata.exif is not None else None
    if metadata.home == "TIFF":
        for piece in metadata.pieces:
            if piece.kind.lower().strip("<").startswith("tag "):
                kind, count = struct.unpack_from("<HQ", piece.data)
                directory.tags[int(piece.kind.strip("<tagTAG >"))] = Tag(kind, count, piece.data[10:])
        if metadata.turned and ORIENTATION in directory.tags:
            if (integers(directory.tags[ORIENTATION], order) or (1,))[0] >= 5 and {_X, _Y} <= directory.tags.keys():
                directory.tags[_X], directory.tags[_Y] = directory.tags[_Y], directory.tags[_X]
            directory.tags[ORIENTATION] = number_tag(order, 1)
    else:
        if exif is not None:
            directory.tags = {n: t for n, t in exif.tags.items() if n not in _STRUCTURE and n not in _FIELDS}
            notes += [_MOVED] if _has_maker_note(exif) else []
            if exif_block.has_thumbnail(metadata.exif):
                notes.append("the EXIF thumbnail was left out: TIFF has no place for it")
        _put_foreign(directory, metadata, order)
    if exif is not None:
        directory.below = exif.below
    for number, name in _FIELDS.items():
        if (value := getattr(metadata, name)) is not None:
            directory.tags[number] = bytes_tag(value, _FIELD_KINDS[number])
    return directory


def _parsed(exif: bytes, notes: list[str]) -> Directory | None:
    """The main directory of an EXIF block, None if it is broken."""
    try:
        reader = Reader(exif, Limits())
        directory = reader.directory(reader.first)
    except LiifError:
        directory = None
    if directory is None:
        notes.append("the EXIF block is damaged, so TIFF, which takes it apart, could not hold it")
    return directory


def _put_foreign(directory: Directory, metadata: Metadata, order: str) -> None:
    """Another format's density and comments."""
    density = metadata.density
    if density is not None:
        per_inch = density.per_inch()
        unit = {"inch": 2, "cm": 3}.get(density.unit, 1 if per_inch is None else 2)
        x, y = density.x, density.y
        if density.unit == "metre" and per_inch is not None:
            x, y = ((round(value * 1000), 1000) for value in per_inch)
        if all(0 <= value < 1 << 32 for value in (*x, *y)):
            directory.tags[_X] = Tag(RATIONAL, 1, struct.pack(order + "II", *x))
            directory.tags[_Y] = Tag(RATIONAL, 1, struct.pack(order + "II", *y))
            directory.tags[_UNIT] = number_tag(order, unit, kind=SHORT)
    if metadata.comments:
        directory.tags[270] = _described(directory.tags.get(270), metadata.comments)


def _described(there: Tag | None, comments: tuple[bytes, ...]) -> Tag:
    """The image description: what it says already, then each comment that it does not say."""
    lines = [there.data.rstrip(b"\0 ")] if there is not None else []
    for comment in comments:
        line = comment.replace(b"\0", b"")
        lines += [line] if line not in lines else []
    return bytes_tag(b"\n".join(filter(None, lines)) + b"\0", ASCII)
