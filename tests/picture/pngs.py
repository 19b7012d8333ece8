"""PNG files of the tests: restored with every pixel checked, or taken apart into chunks; animations made by hand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liif_engine.picture import image_file
from liif_engine.picture.image_file import Picture

from .made import chunk, restored, rows

Twice = Callable[..., tuple[Picture, bytes]]
SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_TEXT = b"XML:com.adobe.xmp\0\0\0\0\0"


@pytest.fixture
def twice(tmp_path: Path) -> Twice:
    """Restores a file's bytes and checks every pixel: (source as read, result)."""

    def run(data: bytes, *, notes: list[str] | None = None) -> tuple[Picture, bytes]:
        source, result = tmp_path / "source.png", tmp_path / "result.png"
        source.write_bytes(data)
        result.unlink(missing_ok=True)
        assert restored(source, result) == (notes or [])
        before, after = image_file.read(source), image_file.read(result)
        assert (after.layout, after.bits, len(after.frames)) == (before.layout, before.bits, len(before.frames))
        for old, new in zip(before.frames, after.frames, strict=True):
            np.testing.assert_array_equal(new.pixels[::2, ::2], old.pixels)
        return before, result.read_bytes()

    return run


def read(path: Path, data: bytes, **options: Any) -> Picture:
    path.write_bytes(data)
    return image_file.read(path, **options)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, data) of every chunk, checksums checked."""
    found, position = [], 8
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + size]
        assert zlib.crc32(kind + content) == int.from_bytes(data[position + 8 + size : position + 12 + size])
        found.append((kind, content))
        position += 12 + size
    return found


def frame_control(sequence: int, size: tuple[int, int], at: tuple[int, int], *rest: int) -> tuple[bytes, bytes]:
    """fcTL; `size` and `at` are (height, width) and (y, x), `rest` numerator, denominator, disposal, blend."""
    return b"fcTL", struct.pack(">IIIIIHHBB", sequence, size[1], size[0], at[1], at[0], *rest)


def animation(parts: list[Any], controls: list[tuple[bytes, bytes]], *, plays: int, hidden: Any = None) -> bytes:
    """An APNG file of the frames `parts`, drawn as `controls` say."""
    first = parts[0] if hidden is None else hidden
    height, width, channels = first.shape
    head = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    out = [chunk(b"IHDR", head), chunk(b"acTL", struct.pack(">II", len(parts), plays))]
    sequence = 0
    if hidden is not None:
        out.append(chunk(b"IDAT", rows(hidden)))
    for index, (part, control) in enumerate(zip(parts, controls, strict=True)):
        out.append(chunk(control[0], struct.pack(">I", sequence) + control[1][4:]))
        sequence += 1
        if index == 0 and hidden is None:
            out.append(chunk(b"IDAT", rows(part)))
        else:
            out.append(chunk(b"fdAT", struct.pack(">I", sequence) + rows(part)))
            sequence += 1
    return SIGNATURE + b"".join(out) + chunk(b"IEND", b"")
