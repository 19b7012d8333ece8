"""Which format a file has, by its first bytes, and the room of each format."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import cast

from liif_engine.errors import InputError, UnsupportedError, UsageError
from liif_engine.picture.image_file.room import Room

#: Each format's room, imported when it is first needed, and the suffixes that ask for it.
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIC": (".heic", ".heif", ".hif"),
}
FORMATS = tuple(_SUFFIXES)

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"BM", "BMP"),
)
_CANON_RAW = b"CR\2\0"
#: Brands of the ISO base media file format; a file names one in front and more behind it.
_BRANDS = {
    "AVIF": (b"avif", b"avis"),
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"),
}
#: Pictures that are recognised and refused by name; a guess at the rest would be wrong words.
_OTHERS = (
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (4, b"JXL \r\n\x87\n", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\x8aMNG\r\n\x1a\n", "an MNG animation"),
    (0, b"\x8bJNG\r\n\x1a\n", "a JNG picture"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\0\0\1\0", "a Windows icon"),
    (0, b"\0\0\2\0", "a Windows cursor"),
    (0, b"qoif", "a QOI picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"#?RGBE", "a Radiance HDR picture"),
    (0, b"v/1\x01", "an OpenEXR picture"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (0, b"IIRO", "a camera's raw file"),
    (0, b"IIU\0", "a camera's raw file"),
    (0, b"BA", "an OS/2 bitmap array"),
    (0, b"/* XPM */", "an XPM picture"),
    (0, b"#define ", "an XBM picture"),
    (0, b"<svg", "an SVG drawing"),
    *(
        (0, b"P%d" % number + space, "a Netpbm picture")
        for number in range(1, 8)
        for space in (b"\n", b" ", b"\r", b"\t")
    ),
    *((0, b"\x0a" + version + b"\1", "a PCX picture") for version in (b"\0", b"\2", b"\3", b"\4", b"\5")),
)


def carries_marker(format: str) -> bool:
    """Whether results in a format can say that they are some."""
    return "xmp" in room_of(format).CAPACITY.carries


def format_of(data: bytes) -> str:
    """The format of a file by its first bytes; a name can lie.

    Args:
        data: the file, or at least its first 256 bytes.

    Raises:
        InputError: empty, or nothing known.
        UnsupportedError: a picture, but of a format without a room.
    """
    if not data:
        raise InputError("is empty")
    if data.startswith(b"II*\0") and data[8:].startswith(_CANON_RAW):  # which begins as TIFF does
        raise UnsupportedError("is a camera's raw file", remedy=f"Convert it first; restored are {_listed(FORMATS)}.")
    for offset, signature, format in _SIGNATURES:
        if data[offset:].startswith(signature) if offset == 0 else data[offset : offset + len(signature)] == signature:
            return format
    if data[4:8] == b"ftyp":
        return _format_of_media(data)
    for offset, signature, name in _OTHERS:
        if data[offset : offset + len(signature)] == signature:
            raise UnsupportedError(f"is {name}", remedy=f"Convert it first; restored are {_listed(FORMATS)}.")
    raise InputError("is not a picture of a known kind")


def format_for(path: Path) -> str:
    """The format that a result's suffix asks for.

    Raises:
        UsageError: none, or one without a room.
    """
    if format := _format_of_suffix(path.suffix):
        return format
    known = " ".join(names[0] for names in _SUFFIXES.values())
    message = (
        f"the suffix {path.suffix!r} of {path.name} is no format of a result"
        if path.suffix
        else f"{path.name} has no suffix"
    )
    raise UsageError(message, remedy=f"Choose a name that ends in one of: {known}")


def format_named(asked: str) -> str:
    """The format that is asked for by a suffix, with its point or without.

    Raises:
        UsageError: there is none of that name, or none with a room.
    """
    if format := _format_of_suffix(f".{asked.removeprefix('.')}"):
        return format
    raise UsageError(f"there is no format {asked!r} of results", remedy=f"There are {', '.join(FORMATS).lower()}.")


def _format_of_suffix(suffix: str) -> str | None:
    return next((format for format, suffixes in _SUFFIXES.items() if suffix.lower() in suffixes), None)


@functools.cache  # of those there are: an error is no result
def room_of(format: str) -> Room:
    """The module of a format.

    Raises:
        UnsupportedError: there is none in this installation.
    """
    name = f"{__package__}.{format.lower()}"
    if format not in FORMATS or importlib.util.find_spec(name) is None:
        raise UnsupportedError(f"{format} is not supported yet", remedy="Convert it to PNG or JPEG first.")
    return cast(Room, importlib.import_module(name))


def _format_of_media(data: bytes) -> str:
    """AVIF or HEIC, by the brands of the first box.

    Raises:
        UnsupportedError: a film, or a picture of another codec.
    """
    size = min(max(int.from_bytes(data[:4]), 16), 4096)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
    for format in ("AVIF", "HEIC"):
        if any(brand in _BRANDS[format] for brand in brands):
            return format
    if data[8:12] == b"crx ":
        raise UnsupportedError("is a camera's raw file", remedy="Convert it first.")
    raise UnsupportedError("is a film or another kind of media file, not a picture", remedy="Convert it first.")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]
