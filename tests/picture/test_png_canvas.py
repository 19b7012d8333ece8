"""PNG chunks that count pixels count those of the result."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from liif_engine.picture.image_file import Limits, png_chunks

from . import made

CANVAS = (b"caNv", struct.pack(">IIii", 100, 90, 5, -7)), (b"caNv", struct.pack(">IIii", 200, 180, 10, -14))
PAGE = (b"vpAg", struct.pack(">IIB", 100, 90, 0)), (b"vpAg", struct.pack(">IIB", 200, 180, 0))
OFFSET = (b"oFFs", struct.pack(">iiB", 5, -7, 0)), (b"oFFs", struct.pack(">iiB", 10, -14, 0))
SUBJECT = (b"sCAL", b"\x010.5\x003e-4"), (b"sCAL", b"\x010.25\x000.00015")


def chunks(path: Path, kind: bytes) -> list[tuple[bytes, bytes]]:
    return [(c.kind, c.data) for c in png_chunks.take_apart(path.read_bytes(), Limits()).all if c.kind == kind]


@pytest.mark.parametrize(("before", "after"), [CANVAS, PAGE, OFFSET, SUBJECT], ids=["caNv", "vpAg", "oFFs", "sCAL"])
def test_places_are_those_in_the_result(
    tmp_path: Path, before: tuple[bytes, bytes], after: tuple[bytes, bytes]
) -> None:
    (tmp_path / "a.png").write_bytes(made.png(made.gradient(9, 7), before))
    assert made.restored(tmp_path / "a.png", tmp_path / "b.png") == []
    assert chunks(tmp_path / "b.png", before[0]) == [after]


@pytest.mark.parametrize(
    "chunk",
    [
        (b"oFFs", struct.pack(">iiB", 5, -7, 1)),
        (b"vpAg", struct.pack(">IIB", 100, 90, 1)),
        (b"caNv", b"short"),
        (b"caNv", struct.pack(">IIii", (1 << 32) - 1, 90, 5, 7)),
        (b"sCAL", b"\x010.5"),
        (b"sCAL", b"\x01wide\x00high"),
    ],
    ids=["micrometres", "another unit", "cut", "too large", "one side", "no number"],
)
def test_what_counts_no_pixels_or_makes_no_sense_stays(tmp_path: Path, chunk: tuple[bytes, bytes]) -> None:
    (tmp_path / "a.png").write_bytes(made.png(made.gradient(9, 7), chunk))
    assert made.restored(tmp_path / "a.png", tmp_path / "b.png") == []
    assert chunks(tmp_path / "b.png", chunk[0]) == [chunk]


def test_of_a_picture_that_is_laid_upright_they_are_left_out(tmp_path: Path) -> None:
    exif = (b"eXIf", made.exif({0x0112: (made.SHORT, 6)}))
    (tmp_path / "a.png").write_bytes(made.png(made.gradient(9, 7), exif, CANVAS[0]))
    [note] = made.restored(tmp_path / "a.png", tmp_path / "b.png")
    assert "caNv was left out" in note
    assert chunks(tmp_path / "b.png", b"caNv") == []
