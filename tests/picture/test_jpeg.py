"""JPEG: pixels of every kind through a restoration, with Pillow as the witness; broken and hostile files."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from liif_engine.errors import InputError, LiifError, TooLargeError, TruncatedError, UnsupportedError
from liif_engine.picture import image_file, quantisation
from liif_engine.picture.image_file import Limits

from .jpegs import EXIF, XMP_NAME, opened, segments, twice
from .made import LONG, MARKER, SHORT, XMP, exif, gradient, jpeg

__all__ = ["twice"]  # a fixture


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_come_out_upright(twice: Any, orientation: int) -> None:
    block = exif({0x0112: (SHORT, orientation), 0x0100: (LONG, 40)}, sub={0xA002: (SHORT, 40), 0xA003: (SHORT, 24)})
    data, result, notes = twice(jpeg(gradient(24, 40), (0xE1, EXIF + block)))
    shown = ImageOps.exif_transpose(opened(data))
    new = opened(result)
    assert notes == []
    assert new.size == (2 * shown.width, 2 * shown.height)
    assert np.abs(np.asarray(new.resize(shown.size, Image.Resampling.BOX), int) - np.asarray(shown)).max() < 6
    parsed = new.getexif()
    sub = parsed.get_ifd(0x8769)
    assert (parsed[0x0112], parsed[0x0100], sub[0xA002], sub[0xA003]) == (1, new.width, new.width, new.height)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_kinds_of_pixels(twice: Any, mode: str, progressive: bool) -> None:
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    pixels = gradient(48, 64, channels)
    if mode == "CMYK":
        image = Image.frombytes("CMYK", (64, 48), pixels.tobytes())
        data = jpeg(image, progressive=progressive)
    else:
        data = jpeg(pixels, progressive=progressive)
    _, result, notes = twice(data)
    old, new = opened(data), opened(result)
    assert (new.mode, new.size, notes) == (mode, (128, 96), [])
    assert bool(new.info.get("progressive")) == progressive
    small = new.resize(old.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small, int) - np.asarray(old)).mean() < 1.5
    if mode == "RGB":
        sof = next(payload for marker, payload in segments(result) if marker in {0xC0, 0xC2})
        assert [sof[i] for i in (7, 10, 13)] == [0x11] * 3  # 4:4:4


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 5), (257, 1)])
def test_progressive_files_of_every_size(twice: Any, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    _, result, _ = twice(jpeg(noise, progressive=True), quality=100)
    assert opened(result).size == (2 * size[1], 2 * size[0])


def test_ycck_is_cmyk_with_the_same_colours(twice: Any, tmp_path: Path) -> None:
    import imagecodecs

    pixels = gradient(32, 32, 4)
    data = imagecodecs.jpeg8_encode(pixels, level=98, colorspace="CMYK", outcolorspace="YCCK", subsampling="444")
    assert next(p for m, p in segments(data) if m == 0xEE)[11] == 2  # Adobe says: YCCK
    source = tmp_path / "ycck.jpg"
    source.write_bytes(data)
    picture = image_file.read(source)
    assert picture.layout == "CMYK"
    witness = opened(data)  # Pillow gives ink; our arrays hold light
    assert np.abs(255 - np.asarray(witness, int) - picture.frames[0].pixels).max() <= 2
    _, result, _ = twice(data)
    again = np.asarray(opened(result).resize((32, 32), Image.Resampling.BOX), int)
    assert np.abs(again - np.asarray(witness)).mean() < 1.5


def test_files_coded_as_rgb_stay_so(twice: Any) -> None:
    data = jpeg(gradient(32, 48), keep_rgb=True)
    _, result, _ = twice(data)
    adobe = next(payload for marker, payload in segments(result) if marker == 0xEE)
    assert adobe[11] == 0
    small = np.asarray(opened(result).resize((48, 32), Image.Resampling.BOX), int)
    assert np.abs(small - np.asarray(opened(data))).mean() < 1.5


def test_the_marker_is_read_back(twice: Any, tmp_path: Path) -> None:
    _, result, _ = twice(jpeg(gradient(8, 8)))
    path = tmp_path / "marked.jpg"
    path.write_bytes(result)
    assert image_file.read_marker(path) == MARKER
    assert result[-2:] == b"\xff\xd9"


def test_cmyk_without_adobe_is_refused(tmp_path: Path) -> None:
    data = jpeg(Image.new("CMYK", (8, 8)))
    path = tmp_path / "cmyk.jpg"
    at = data.index(b"\xff\xee")
    path.write_bytes(data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :])
    with pytest.raises(UnsupportedError, match="Adobe"):
        image_file.probe(path)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["no end", "end marker"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_is_refused_unless_allowed(tmp_path: Path, progressive: bool, end: bytes, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = jpeg(noise, progressive=progressive)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(len(data) * share)] + end)
    with pytest.raises(TruncatedError, match="ends early") as caught:
        image_file.read(path)
    assert (caught.value.path, "--allow-truncated" in caught.value.explain()) == (path, True)
    picture = image_file.read(path, allow_truncated=True)
    assert (picture.width, picture.height) == (64, 64)
    if not progressive:  # the first rows are whole
        whole = np.asarray(opened(data), int)
        np.testing.assert_array_equal(picture.frames[0].pixels[:8], whole[:8])


def test_a_header_that_claims_more_than_the_data_can_hold(tmp_path: Path) -> None:
    data = bytearray(jpeg(gradient(16, 16)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 15_000, 15_000)
    path = tmp_path / "liar.jpg"
    path.write_bytes(data)
    with pytest.raises(TruncatedError, match="can hold at most"):
        image_file.read(path)
    data[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    path.write_bytes(data)
    with pytest.raises(TooLargeError, match="4,225,000,000 pixels"):
        image_file.probe(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c", "12 bits"),
        (b"\xff\xc0\0\x11\x08\0\x10", b"\xff\xc0\0\x11\x08\0\0", "DNL"),
        (b"\xff\xc0", b"\xff\xc3", "lossless JPEG"),
        (b"\xff\xc0", b"\xff\xf7", "lossless JPEG"),  # JPEG-LS
        (b"\x01\x11\x00\x02\x11\x01", b"\x01\x00\x00\x02\x11\x01", "sampling"),
    ],
)
def test_odd_frame_headers(tmp_path: Path, old: bytes, new: bytes, words: str) -> None:
    path = tmp_path / "odd.jpg"
    data = jpeg(gradient(16, 16))
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(LiifError, match=words) as caught:
        image_file.probe(path)
    assert caught.value.path == path


def test_limits_of_metadata_and_segments(tmp_path: Path) -> None:
    path = tmp_path / "many.jpg"
    path.write_bytes(jpeg(gradient(8, 8), *[(0xFE, bytes(1000))] * 50))
    image_file.probe(path)
    with pytest.raises(TooLargeError):
        image_file.probe(path, limits=Limits(max_metadata_bytes=20_000))
    with pytest.raises(TooLargeError):
        image_file.probe(path, limits=Limits(max_pieces=20))


def test_any_number_of_fill_bytes_before_a_segment_is_passed_over_at_once(tmp_path: Path) -> None:
    plain = jpeg(gradient(8, 8))
    path, other = tmp_path / "filled.jpg", tmp_path / "plain.jpg"
    other.write_bytes(plain)
    path.write_bytes(plain[:2] + b"\xff" * 64_000_000 + plain[2:])
    started = time.process_time()
    assert image_file.probe(path) == image_file.probe(other)
    assert quantisation.read(path) == quantisation.read(plain)
    assert time.process_time() - started < 3  # [s] byte by byte it would be ten and more


def test_a_scan_bomb_is_refused(tmp_path: Path) -> None:
    """Each scan of a progressive file costs a pass over the whole picture."""
    data = jpeg(gradient(16, 16), progressive=True)
    at = data.rindex(b"\xff\xda")
    path = tmp_path / "scans.jpg"
    path.write_bytes(data[:at] + data[at:-2] * 1000 + b"\xff\xd9")
    with pytest.raises(InputError, match="scans"):
        image_file.probe(path)
    large = jpeg(Image.new("L", (8000, 8000)), progressive=True)
    at = large.rindex(b"\xff\xda")
    path.write_bytes(large[:at] + large[at:-2] * 80 + b"\xff\xd9")
    with pytest.raises(InputError, match="scans"):
        image_file.probe(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_end_in_words(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    block = exif({0x0112: (SHORT, 6)}, thumbnail=jpeg(gradient(6, 6)))
    progressive = data.draw(st.booleans())
    whole = jpeg(gradient(16, 16), (0xE1, EXIF + block), (0xE1, XMP_NAME + XMP), progressive=progressive)
    file = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 10))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    path.write_bytes(file)
    try:
        picture = image_file.read(path, limits=Limits(max_pixels=1_000_000), allow_truncated=data.draw(st.booleans()))
    except LiifError as error:
        assert error.path == path  # noqa: PT017 - either outcome is right
    else:
        assert picture.frames[0].pixels.shape == (picture.height, picture.width, len(picture.layout))
