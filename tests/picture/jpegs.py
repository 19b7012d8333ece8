"""JPEG files of the tests: restored twice as large, and read by Pillow and by the standard's letter."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .made import restored

EXIF, XMP_NAME, PHOTOSHOP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"


@pytest.fixture
def twice(tmp_path: Path) -> Any:
    """Restores a file's bytes: (source, result, notes)."""

    def run(data: bytes, **options: Any) -> tuple[bytes, bytes, list[str]]:
        source, result = tmp_path / "source.jpg", tmp_path / "result.jpg"
        source.write_bytes(data)
        result.unlink(missing_ok=True)
        notes = restored(source, result, **options)
        return data, result.read_bytes(), notes

    return run


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """(marker, payload) up to the pixels, read by the standard's letter."""
    found, position = [], 2
    while data[position + 1] != 0xDA:
        marker, size = struct.unpack_from(">xBH", data, position)
        found.append((marker, data[position + 4 : position + 2 + size]))
        position += 2 + size
    return found
