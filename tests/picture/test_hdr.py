"""HDR is refused wherever a file says it; the colours of other pictures stay as they are numbered."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from liif_engine.errors import UnsupportedError
from liif_engine.picture import image_file

from .made import gradient, icc_segments, jpeg, png
from .pngs import Twice, chunks, twice

__all__ = ["twice"]  # a fixture

PQ, HLG, SRGB = 16, 18, 13
LIGHT = (b"mDCV", struct.pack(">8H2I", *range(1, 9), 10_000_000, 1)), (b"cLLI", struct.pack(">2I", 10_000_000, 4_000))


def profile(transfer: int) -> bytes:
    """The head of an ICC profile whose one tag holds the numbers of CICP."""
    tag = b"cicp" + struct.pack(">4x4B", 9, transfer, 0, 1)
    return b"\0" * 128 + struct.pack(">I4sII", 1, b"cicp", 144, len(tag)) + tag


def numbered(transfer: int, *, bits: int) -> bytes:
    pixels = gradient(4, 6).astype(f"uint{bits}")
    return png(pixels, (b"cICP", bytes([9, transfer, 0, 1])), *LIGHT)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("transfer", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_a_png_that_is_numbered_as_hdr_is_refused(tmp_path: Path, transfer: int, name: str, bits: int) -> None:
    (tmp_path / "a.png").write_bytes(numbered(transfer, bits=bits))
    with pytest.raises(UnsupportedError, match=rf"is HDR \({name}\)") as refused:
        image_file.probe(tmp_path / "a.png")
    assert refused.value.remedy == "Convert it to sRGB first."  # it may be a PNG of 8 bits already


@pytest.mark.parametrize("primaries", [1, 12], ids=["Rec. 709", "Display P3"])
def test_other_numbers_of_a_png_are_kept(twice: Twice, primaries: int) -> None:
    said = [(b"cICP", bytes([primaries, SRGB, 0, 1])), *LIGHT]
    _, result = twice(png(gradient(4, 6), *said))
    assert [chunk for chunk in chunks(result) if chunk in said] == said


def test_a_png_whose_profile_says_pq_by_its_name_is_refused(tmp_path: Path) -> None:
    named = b"ITUR_2100_PQ_FULL\0\0" + zlib.compress(b"any profile")
    (tmp_path / "a.png").write_bytes(png(gradient(4, 6), (b"iCCP", named)))
    with pytest.raises(UnsupportedError, match="HDR"):
        image_file.probe(tmp_path / "a.png")


def test_a_profile_that_says_hdr_is_refused_in_every_format(tmp_path: Path) -> None:
    for name, data in {
        "a.jpg": jpeg(gradient(8, 8), *icc_segments(profile(PQ))),
        "a.png": png(gradient(8, 8), (b"iCCP", b"any\0\0" + zlib.compress(profile(HLG)))),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnsupportedError, match="HDR"):
            image_file.probe(tmp_path / name)
    (tmp_path / "a.jpg").write_bytes(jpeg(gradient(8, 8), *icc_segments(profile(SRGB))))
    assert image_file.probe(tmp_path / "a.jpg").metadata.icc == profile(SRGB)
