"""Whether a format has a place for everything that a source has; refused before any work, in words."""

from __future__ import annotations

from liif_engine.errors import TooLargeError, UnsupportedError
from liif_engine.picture.image_file import density
from liif_engine.picture.image_file.contents import Metadata, Picture, Probe
from liif_engine.picture.image_file.room import Capacity
from liif_engine.picture.image_file.rooms import room_of

#: The fields of `Metadata` that a format has a place for or has not, in words.
FIELDS = {
    "exif": "EXIF",
    "icc": "an ICC profile",
    "xmp": "XMP",
    "photoshop": "Photoshop resources (IPTC)",
    "iptc": "an IPTC record",
    "density": "pixels per inch",
    "comments": "comments",
    "texts": "texts",
}
#: What a refusal suggests, the first that holds everything. HEIC may not be installed, and the others hold less.
_SUGGESTED = ("PNG", "TIFF", "JPEG", "WEBP")
_LAYOUTS = {"L": "gray", "LA": "gray with alpha", "RGB": "RGB", "RGBA": "transparency (alpha)", "CMYK": "CMYK colours"}


def check_result(source: Probe | Picture, *, format: str, width: int, height: int) -> None:
    """Refuses, before any work, a result that would lose something the source has.

    Args:
        source: what is to be restored.
        format: of the result.
        width, height: of the result in pixels.

    Raises:
        TooLargeError: the format holds no picture of that size.
        UnsupportedError: the format has no place for something, or this installation has no such format.
    """
    room = room_of(format)
    getattr(room, "require_encoder", lambda: None)()
    capacity = room.CAPACITY
    if max(width, height) > capacity.longest_side:
        raise TooLargeError(
            f"a result of {width:,} x {height:,} pixels is too large: "
            f"{format} holds at most {capacity.longest_side:,} pixels a side",
            remedy="Ask for a smaller scale, or for another format with --out.",
        )
    lacking = _lacking(source, format)
    if lacking:
        ways = [f"keep {source.format}"] * (format != source.format)
        fits = [other for other in _SUGGESTED if other not in {format, source.format} and not _lacking(source, other)]
        ways += [f"choose another format with --out, such as {fits[0]}"] if fits else []
        remedy = ", or ".join(ways)
        raise UnsupportedError(
            f"has {' and '.join(lacking)}, which {format} cannot hold",
            remedy=f"{remedy[0].upper()}{remedy[1:]}." if ways else "No other format holds all of it either.",
        )


def _lacking(source: Probe | Picture, format: str) -> list[str]:
    """What a source has and a format has no place for, in words."""
    capacity, metadata = room_of(format).CAPACITY, source.metadata
    frames = source.frames if isinstance(source, Probe) else len(source.frames)
    lacking = []
    if source.layout not in capacity.layouts:
        lacking.append(_LAYOUTS[source.layout])
    if source.bits not in capacity.bits:
        lacking.append(f"{source.bits} bits per sample")
    if frames > 1 and not capacity.animated:
        lacking.append(f"{frames} frames")
    if metadata.home != format:
        lacking += metadata.bound_to_home
    if source.layout in capacity.turned_to_colour and metadata.icc is not None and metadata.icc[16:20] != b"RGB ":
        lacking.append(f"a profile for {_LAYOUTS[source.layout]}")
    return lacking + _too_long(metadata, capacity)


def _too_long(metadata: Metadata, capacity: Capacity) -> list[str]:
    """The fields that have no place in a format, or one too small."""
    lacking = []
    for field, name in FIELDS.items():
        value = getattr(metadata, field)
        if value is None or value == () or (field == "density" and density.has_place(metadata, capacity)):
            continue
        most = capacity.carries.get(field)
        if field == "density" and metadata.density is not None and metadata.density.unit == "aspect":
            lacking.append("pixels that are not square")
            continue
        if most is None:
            lacking.append(name)
            continue
        sizes = {
            "density": [0],
            "comments": [len(comment) for comment in metadata.comments],
            "texts": [len(text.as_comment().encode()) for text in metadata.texts],
        }.get(field) or [len(value)]
        if max(sizes) > most:
            lacking.append(f"{name} of {max(sizes):,} bytes")
    return lacking
