"""The public face: formats by content, limits, what cannot be read, and one format into another."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageOps

from liif_engine import file
from liif_engine.errors import (
    InputError,
    LiifError,
    MemoryExhaustedError,
    TooLargeError,
    TruncatedError,
    UnsupportedError,
    UsageError,
)
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Limits, rooms, source
from liif_engine.picture.image_file import jpeg as jpeg_room
from liif_engine.picture.image_file.shortage import shortage
from liif_engine.target import Target
from liif_engine.workers.stand_in import Copying

from .made import ASCII, MARKER, SHORT, XMP, exif, gradient, icc_segments, jpeg, names, png, resource, restored, saved

# What a file is


def test_the_format_is_what_the_bytes_say(tmp_path: Path) -> None:
    assert image_file.probe(saved(tmp_path / "a.png", jpeg(gradient(4, 6)))).format == "JPEG"
    assert image_file.probe(saved(tmp_path / "b.jpg", png(gradient(4, 6)))).format == "PNG"
    assert image_file.probe(saved(tmp_path / "no suffix", png(gradient(4, 6)))).format == "PNG"


def test_probe_and_read_agree_and_the_hash_is_the_files(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", jpeg(gradient(4, 6), (0xE1, b"Exif\0\0" + exif({0x0112: (SHORT, 8)}))))
    probe, picture = image_file.probe(path), image_file.read(path)
    for field in ("format", "width", "height", "layout", "bits", "metadata"):
        assert getattr(probe, field) == getattr(picture, field)
    assert (probe.frames, len(picture.frames)) == (1, 1)
    assert (picture.width, picture.height) == (4, 6)
    assert picture.frames[0].pixels.shape == (6, 4, 3)
    assert picture.frames[0].pixels.flags.c_contiguous
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\1\0\1\0", "icon"),
        (b"P6\n2 2\n255\n", "Netpbm"),
        (b"%PDF-1.4", "PDF"),
        (b"<svg xmlns=", "SVG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", "film"),
        (b"II*\0\x10\0\0\0CR\2\0", "raw"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "raw"),
    ],
)
def test_other_pictures_are_refused_by_name(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words) as caught:
        image_file.probe(saved(tmp_path / "file", data.ljust(64, b"\0")))
    assert caught.value.path == tmp_path / "file"


@pytest.mark.parametrize(("data", "words"), [(b"", "is empty"), (b"Dear diary", "not a picture"), (b"\xff\xd8", "not")])
def test_no_picture_at_all(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        image_file.read(saved(tmp_path / "file", data))


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0" + bytes(200), b"RIFF\0\0\0\0WEBP"]
)
def test_a_file_that_ends_before_its_pixels_gets_no_false_hope(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(TruncatedError) as caught:
        image_file.probe(saved(tmp_path / "file", data))
    assert caught.value.explain().endswith(". Fetch the file again.")


@pytest.mark.parametrize(("format", "cut"), [("JPEG", b"\xff\xda"), ("PNG", b"IDAT"), ("GIF", b"\0\6\0\4\0")])
def test_nothing_but_a_header(tmp_path: Path, format: str, cut: bytes) -> None:
    """Whatever may be missing: no option makes a picture of nothing."""
    file = io.BytesIO()
    Image.fromarray(gradient(4, 6)).save(file, format)
    head, found, rest = file.getvalue().partition(cut)
    length = {"JPEG": int.from_bytes(rest[:2], "big"), "PNG": 0, "GIF": 2}[format]
    path = saved(tmp_path / "file", head + found + rest[:length])
    with pytest.raises(
        TruncatedError, match=f"the {format} data ends early: nothing of the picture is there"
    ) as caught:
        image_file.read(path, allow_truncated=True)
    assert "--allow-truncated" not in caught.value.explain()


@pytest.mark.parametrize(
    ("octets", "needed", "words"),
    [(9, 90_000, "9 bytes can hold at most 1% of it"), (995, 1000, "hold not quite all of it"), (0, 9, "pixels of it")],
)
def test_how_much_is_missing_is_said_in_sensible_numbers(octets: int, needed: int, words: str) -> None:
    assert words in str(shortage("PNG", octets, octets, needed, "it"))
    assert shortage("PNG", needed, needed, needed) is None


@pytest.mark.parametrize(
    ("brands", "format"),
    [
        ([b"avif", b"mif1"], "AVIF"),
        ([b"mif1", b"miaf", b"avif"], "AVIF"),
        ([b"mif1", b"heic"], "HEIC"),
        ([b"heix"], "HEIC"),
    ],
)
def test_media_files_by_their_brands(brands: list[bytes], format: str) -> None:
    box = brands[0] + bytes(4) + b"".join(brands[1:])
    assert rooms.format_of(struct.pack(">I", len(box) + 8) + b"ftyp" + box) == format


@pytest.mark.parametrize("format", image_file.FORMATS)
def test_every_room_offers_what_the_protocol_asks(format: str) -> None:
    try:
        room = rooms.room_of(format)
    except UnsupportedError as error:
        pytest.skip(str(error))
    assert room.CAPACITY.longest_side > 1000
    assert room.CAPACITY.bits <= {8, 16}
    assert room.CAPACITY.layouts <= {"L", "LA", "RGB", "RGBA", "CMYK"}
    fields = {"exif", "icc", "xmp", "photoshop", "iptc", "density", "comments", "texts"}
    assert set(room.CAPACITY.carries) <= fields
    for name in ("inspect", "decode", "encode"):
        assert callable(getattr(room, name))


def test_a_suffix_names_the_format_of_a_result() -> None:
    assert [image_file.format_for(Path(name)) for name in ("a.JPG", "b.jpeg", "c.png", "d.tif", "e.webp")] == [
        "JPEG",
        "JPEG",
        "PNG",
        "TIFF",
        "WEBP",
    ]
    for name in ("a", "a.psd", "a.png.txt", ".jpg"):
        with pytest.raises(UsageError, match=r"suffix"):
            image_file.format_for(Path(name))


# What cannot be read


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, words in [
        (tmp_path / "missing", "no such file"),
        (tmp_path, "is a folder"),
        (Path("/dev/zero"), "device"),
    ]:
        for function in (image_file.probe, image_file.read):
            with pytest.raises(InputError, match=words) as caught:
                function(path)
            assert caught.value.path == path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for function in (image_file.probe, image_file.read_marker):
        with pytest.raises(InputError, match="pipe"):
            function(tmp_path / "pipe")


def test_limits_come_from_the_header(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", png(gradient(40, 50)))
    assert image_file.probe(path, limits=Limits(max_pixels=2000)).width == 50
    with pytest.raises(TooLargeError, match="2,000 pixels, more than the limit of 1,999"):
        image_file.probe(path, limits=Limits(max_pixels=1999))
    with pytest.raises(TooLargeError, match="bytes"):
        image_file.read(path, limits=Limits(max_file_bytes=100))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (IndexError("index out of range"), InputError, "JPEG data is damaged"),
        (RuntimeError(), InputError, "JPEG data is damaged"),
        (NameError("a slip"), LiifError, "fault in this program"),
        (MemoryError(), MemoryExhaustedError, "not enough memory"),
    ],
)
@pytest.mark.parametrize("name", ["inspect", "decode"])
def test_what_nobody_foresaw_comes_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, kind: type, words: str
) -> None:
    path = saved(tmp_path / "a.jpg", jpeg(gradient(4, 4)))

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(jpeg_room, name, fail)
    with pytest.raises(LiifError, match=words) as caught:
        image_file.read(path)
    assert type(caught.value) is kind
    assert caught.value.path == path


# From one format to another


def everything() -> bytes:
    """A JPEG file with all that another format may have a place for."""
    return jpeg(
        gradient(12, 20),
        (0xE0, b"JFIF\0" + struct.pack(">BBBHHBB", 1, 1, 1, 300, 150, 0, 0)),
        (0xE1, b"Exif\0\0" + exif({0x010F: (ASCII, b"Maker\0"), 0x0112: (SHORT, 6)})),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        *icc_segments(b"a profile"),
        (0xED, b"Photoshop 3.0\0" + resource(1028, b"\x1c\x02\x78\0\1a")),
        (0xFE, "comment ü".encode()),
        (0xEC, b"Ducky"),
    )


def test_jpeg_into_png_and_back(tmp_path: Path) -> None:
    [note] = restored(saved(tmp_path / "a.jpg", everything()), tmp_path / "b.png", format="PNG")
    assert note == "PNG has no place for JPEG's own APP12"
    image = Image.open(io.BytesIO((tmp_path / "b.png").read_bytes()))
    assert image.size == (24, 40)
    assert image.info["icc_profile"] == b"a profile"
    assert image.text["Comment"] == "comment ü"
    assert image.info["dpi"] == pytest.approx((150, 300), rel=1e-4)  # it lay on its side
    assert (image.getexif()[0x010F], image.getexif()[0x0112]) == ("Maker", 1)
    assert "Zoë &amp; Bob" in image.text["XML:com.adobe.xmp"]
    name, size, *digits = image.text["Raw profile type 8bim"].split()
    assert (name, int(size), bytes.fromhex("".join(digits))) == ("8bim", 18, resource(1028, b"\x1c\x02\x78\0\1a"))
    assert image_file.read_marker(tmp_path / "b.png") == MARKER

    assert restored(tmp_path / "b.png", tmp_path / "c.jpg", format="JPEG") == []
    back = Image.open(io.BytesIO((tmp_path / "c.jpg").read_bytes()))
    assert back.size == (48, 80)
    assert back.info["icc_profile"] == b"a profile"
    assert back.info["dpi"] == pytest.approx((150, 300), abs=1)
    assert b"Photoshop 3.0\0" + resource(1028, b"\x1c\x02\x78\0\1a") in (tmp_path / "c.jpg").read_bytes()
    assert "comment" not in back.info or b"8bim" not in back.info["comment"]
    assert back.getexif()[0x010F] == "Maker"
    assert image_file.read_marker(tmp_path / "c.jpg") == MARKER


# A whole restoration of what is there


def test_a_note_that_quotes_the_file_steers_no_terminal(tmp_path: Path) -> None:
    """A GIF's extensions have names of any eleven bytes."""
    source = tmp_path / "a.gif"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(source)
    data = source.read_bytes()
    head = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    source.write_bytes(data[:head] + b"!\xff\x0b\x1b[2Jabcdefg\x01x\0" + data[head:])
    picture = image_file.read(source)
    options = {"format": "PNG", "quality": 95, "marker": None, "overwrite": False}
    notes = image_file.write(tmp_path / "a.png", picture, [frame.pixels for frame in picture.frames], **options)
    assert [note for note in notes if "own" in note] == ["PNG has no place for GIF's own \\x1b[2Jabcdefg"]


def test_thousands_of_pieces_make_no_thousands_of_words(tmp_path: Path) -> None:
    """They would not fit into the header in which the service sends them."""
    names = [f"{a}{b}Xx".encode() for a in "abcdefghij" for b in "abcdefghij"]
    pieces = [(name, b"") for name in [*names, *[b"iDOT"] * 100]]
    notes = restored(saved(tmp_path / "a.png", png(gradient(8, 8), *pieces)), tmp_path / "a.jpg", format="JPEG")
    assert len(notes) == 2
    assert notes[1].startswith("JPEG has no place for PNG's own aaXx, abXx, ")
    assert notes[1].endswith(", ajXx and 90 others")


@pytest.mark.parametrize("make", [jpeg, png])
def test_a_cut_file_is_restored_only_on_request(tmp_path: Path, make: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    data = make(noise)
    source, stand_in = saved(tmp_path / "cut", data[: len(data) // 2]), cast(Any, Copying())
    with pytest.raises(TruncatedError) as caught:
        file.restore_file(stand_in, source, tmp_path / "result", target=Target(scale=2))
    assert caught.value.path == source
    assert names(tmp_path) == ["cut"]
    file.restore_file(stand_in, source, tmp_path / "result", target=Target(scale=2), allow_truncated=True)
    whole = image_file.read(tmp_path / "result")
    assert (whole.width, whole.height) == (80, 64)
    assert np.abs(whole.frames[0].pixels[:16:2, ::2].astype(int) - noise[:8]).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_shows(orientation: int) -> None:
    pixels = gradient(3, 5)
    file = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(pixels).save(file, "PNG", exif=tags)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(source.upright(pixels, orientation), shown)
