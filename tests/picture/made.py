"""Files made by hand, byte by byte from the standards, and the shortest restoration: each pixel repeated."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from liif_engine.picture import image_file
from liif_engine.picture.image_file import Marker, Picture

MARKER = Marker("liif-restore", "0.0", "tiny <&\"' ü", 2.0, 2.0, "0123456789abcdef" * 4)

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
_SIZES = {ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}

Tags = Mapping[int, tuple[int, Any]]

XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="made by hand">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    '  <rdf:Description rdf:about="urn:of:this" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" tiff:ImageWidth="31">\n'
    "   <dc:creator><rdf:Seq><rdf:li>Zoë &amp; Bob</rdf:li></rdf:Seq></dc:creator>\n"
    "  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n" + (" " * 40 + "\n") * 3 + '<?xpacket end="w"?>'
).encode()


def gradient(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> Any:
    """(height, width, channels): smooth, and different in every direction and channel."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(c + 1) * 40 + 50 * y / height + 90 * (c == 1 or x / width) for c in range(channels)]
    full = np.stack(planes, axis=2) / 255 * np.iinfo(dtype).max
    return np.clip(full, 0, np.iinfo(dtype).max).astype(dtype)


def exif(
    main: Tags, *, sub: Tags | None = None, thumbnail: bytes | None = None, small: Tags | None = None, order: str = "<"
) -> bytes:
    """A TIFF structure: the main directory, the EXIF directory, a thumbnail's directory with its bytes at the end.

    `small` are other tags of the thumbnail's directory.
    """
    data = bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8))
    entries = dict(main)
    if sub is not None:
        entries[0x8769] = (LONG, 0)
    _directory(data, entries, order)
    if sub is not None:
        place = data.index(struct.pack(order + "HHI", 0x8769, LONG, 1)) + 8
        data[place : place + 4] = struct.pack(order + "I", len(data))
        _directory(data, sub, order)
    if thumbnail is not None:
        next_place = 8 + 2 + 12 * len(entries)
        data[next_place : next_place + 4] = struct.pack(order + "I", len(data))
        place = len(data)
        own = {0x0103: (SHORT, 6), 0x0201: (LONG, 0), 0x0202: (LONG, len(thumbnail))}
        _directory(data, own | dict(small or {}), order)
        offset_place = data.index(struct.pack(order + "HHI", 0x0201, LONG, 1), place) + 8
        data[offset_place : offset_place + 4] = struct.pack(order + "I", len(data))
        data += thumbnail
    return bytes(data)


def _directory(data: bytearray, tags: Tags, order: str) -> None:
    """Appends a directory and, behind it, the values too long for their places."""
    place = len(data)
    data += struct.pack(order + "H", len(tags)) + bytes(12 * len(tags) + 4)
    for index, (tag, (kind, value)) in enumerate(sorted(tags.items())):
        packed = _packed(kind, value, order)
        if len(packed) > 4:
            offset = len(data)
            data += packed + bytes(len(packed) % 2)
            packed_value = struct.pack(order + "I", offset)
        else:
            packed_value = packed.ljust(4, b"\0")
        entry = struct.pack(order + "HHI", tag, kind, len(packed) // _SIZES[kind]) + packed_value
        data[place + 2 + 12 * index : place + 14 + 12 * index] = entry


def _packed(kind: int, value: Any, order: str) -> bytes:
    if kind in {ASCII, UNDEFINED}:
        return bytes(value)
    values = value if isinstance(value, Sequence) else [value]
    code = {SHORT: "H", LONG: "I", RATIONAL: "I"}[kind]
    return struct.pack(f"{order}{len(values)}{code}", *values)


def jpeg(pixels: Any, *segments: tuple[int, bytes], **options: Any) -> bytes:
    """A JPEG file by Pillow, with segments (marker, payload) put in behind the start."""
    image = (
        pixels
        if isinstance(pixels, Image.Image)
        else Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    )
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    data = file.getvalue()
    head = b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(p) + 2) + p for m, p in segments)
    if any(payload.startswith(b"JFIF\0") for _, payload in segments):
        data = data[:2] + data[20:]  # Pillow's own
    return data[:2] + head + data[2:]


def icc_segments(profile: bytes, most: int = 65519) -> list[tuple[int, bytes]]:
    """A profile as APP2 segments."""
    parts = [profile[at : at + most] for at in range(0, len(profile), most)]
    return [(0xE2, b"ICC_PROFILE\0" + bytes([n, len(parts)]) + part) for n, part in enumerate(parts, 1)]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    pixels: Any,
    *chunks: tuple[bytes, bytes],
    late: Sequence[tuple[bytes, bytes]] = (),
    colour_type: int | None = None,
    depth: int | None = None,
) -> bytes:
    """A PNG file of unfiltered rows, with chunks before the pixels and after them; (H, W, C) uint8 or uint16."""
    height, width, channels = pixels.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if colour_type is None else colour_type
    depth = pixels.dtype.itemsize * 8 if depth is None else depth
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    early = b"".join(chunk(kind, data) for kind, data in chunks)
    tail = b"".join(chunk(kind, data) for kind, data in late)
    body = chunk(b"IDAT", rows(pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + early + body + tail + chunk(b"IEND", b"")


def rows(pixels: Any) -> bytes:
    """The zlib stream of a picture's unfiltered rows."""
    big_endian = pixels.astype(">u2") if pixels.dtype == np.uint16 else pixels
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in big_endian))


def resource(number: int, data: bytes, name: bytes = b"") -> bytes:
    """A Photoshop image resource."""
    title = bytes([len(name)]) + name
    title += bytes(len(title) % 2)
    return b"8BIM" + struct.pack(">H", number) + title + struct.pack(">I", len(data)) + data + bytes(len(data) % 2)


def repeated(picture: Picture, times: int = 2) -> list[Any]:
    """Every frame `times` as large, each pixel a square."""
    return [frame.pixels.repeat(times, axis=0).repeat(times, axis=1) for frame in picture.frames]


def restored(source: Path, destination: Path, *, format: str | None = None, quality: int = 95) -> list[str]:
    """Reads a file and writes it twice as large with everything it carried; the notes."""
    picture = image_file.read(source)
    format = format or picture.format
    frames = repeated(picture)
    image_file.check_result(picture, format=format, width=2 * picture.width, height=2 * picture.height)
    return image_file.write(
        destination, picture, frames, format=format, quality=quality, marker=MARKER, overwrite=False
    )


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
