"""The public face: formats by content, limits, early refusals, one format into another, a result that is read back."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageOps

from liif_engine import file
from liif_engine.errors import (
    InputError,
    LiifError,
    MemoryExhaustedError,
    OutputError,
    OutputExistsError,
    TooLargeError,
    TruncatedError,
    UnsupportedError,
    UsageError,
)
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Limits, Picture, heic, rooms, source, xmp
from liif_engine.picture.image_file import jpeg as jpeg_room
from liif_engine.picture.image_file.contents import Frame, Metadata, Probe, Text
from liif_engine.picture.image_file.shortage import shortage
from liif_engine.target import Target
from liif_engine.workers.stand_in import Copying

from .made import ASCII, MARKER, SHORT, XMP, exif, gradient, icc_segments, jpeg, png, repeated, resource, restored

#: As much of one as says of what it is.
GRAY_PROFILE = bytes(16) + b"GRAY" + bytes(108)


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def probe_of(format: str = "PNG", layout: str = "RGB", bits: int = 8, frames: int = 1, **said: Any) -> Probe:
    return Probe(format, 10, 10, layout, bits, frames, Metadata(said.pop("home", format), **said))


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


# What a result cannot hold


@pytest.mark.parametrize(("format", "side"), [("JPEG", 65_500), ("PNG", 1_000_000), ("WEBP", 16_383)])
def test_the_longest_side_is_refused_before_any_work(format: str, side: int) -> None:
    probe = probe_of(format)
    image_file.check_result(probe, format=format, width=side, height=1)
    for width, height in ((side + 1, 1), (1, side + 1)):
        with pytest.raises(TooLargeError, match=f"{side:,} pixels a side"):
            image_file.check_result(probe, format=format, width=width, height=height)


@pytest.mark.parametrize(
    ("probe", "format", "words"),
    [
        (probe_of(layout="RGBA"), "JPEG", "transparency"),
        (probe_of(layout="LA"), "JPEG", "alpha"),
        (probe_of(bits=16), "JPEG", "16 bits per sample"),
        (probe_of(frames=7), "JPEG", "7 frames"),
        (probe_of("JPEG", layout="CMYK"), "PNG", "CMYK"),
        (probe_of(bound_to_home=("the colour chunk cICP",)), "JPEG", "cICP"),
        (probe_of(iptc=b"\x1c"), "JPEG", "IPTC"),
        (probe_of(texts=(Text("Title", "x" * 70_000),)), "JPEG", "texts of 70,007 bytes"),
        (probe_of(texts=(Text("Title", "x" * 65_526, "de"),)), "JPEG", "texts of 65,538 bytes"),
        (probe_of("JPEG", xmp=bytes(65_400)), "JPEG", "XMP of 65,400 bytes"),
        (probe_of("JPEG", layout="L", icc=GRAY_PROFILE), "WEBP", "a profile for gray, which WEBP"),
        (probe_of("JPEG", layout="L", icc=b"unreadable"), "GIF", "a profile for gray, which GIF"),
        (probe_of("JPEG", layout="L", icc=GRAY_PROFILE), "BMP", "a profile for gray, which BMP"),
        (probe_of(layout="LA", icc=GRAY_PROFILE), "AVIF", "a profile for gray with alpha, which AVIF"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(probe: Probe, format: str, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        image_file.check_result(probe, format=format, width=20, height=20)


@pytest.mark.parametrize(
    ("probe", "format"),
    [
        (probe_of("JPEG", layout="L", icc=GRAY_PROFILE), "PNG"),
        (probe_of("JPEG", layout="L", icc=GRAY_PROFILE), "AVIF"),
        (probe_of("JPEG", layout="L", icc=GRAY_PROFILE.replace(b"GRAY", b"RGB ")), "WEBP"),
        (probe_of("JPEG", icc=GRAY_PROFILE), "WEBP"),
    ],
)
def test_gray_and_profiles_that_fit(probe: Probe, format: str) -> None:
    image_file.check_result(probe, format=format, width=20, height=20)


def test_a_format_that_cannot_be_written_here_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SimpleNamespace(libheif_info=lambda: {"HEIF": ""})
    monkeypatch.setattr(heic, "_library", lambda: reader)
    with pytest.raises(UnsupportedError, match="cannot write it"):
        image_file.check_result(probe_of("PNG"), format="HEIC", width=20, height=20)


@pytest.mark.parametrize(
    ("probe", "format", "remedy"),
    [
        (probe_of("JPEG", layout="CMYK"), "PNG", "Keep JPEG, or choose another format with --out, such as TIFF."),
        (probe_of("GIF", comments=(b"hello",)), "WEBP", "Keep GIF, or choose another format with --out, such as PNG."),
        (probe_of("JPEG", xmp=bytes(65_400)), "JPEG", "Choose another format with --out, such as PNG."),
        (probe_of("PNG", bound_to_home=("cICP",)), "JPEG", "Keep PNG."),
    ],
)
def test_only_a_format_that_holds_everything_is_suggested(probe: Probe, format: str, remedy: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        image_file.check_result(probe, format=format, width=20, height=20)
    assert caught.value.remedy == remedy


def test_what_binds_a_picture_to_its_format_does_not_matter_at_home() -> None:
    image_file.check_result(probe_of(bound_to_home=("a gamma",)), format="PNG", width=20, height=20)


def test_a_format_without_a_room_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedError, match="not supported"):
        image_file.check_result(probe_of(), format="PCX", width=20, height=20)


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


# Writing


def picture_of(pixels: Any, format: str = "PNG", layout: str = "RGB", **said: Any) -> Picture:
    height, width = pixels.shape[:2]
    bits = 8 * pixels.itemsize
    return Picture(format, width, height, layout, bits, [Frame(pixels)], Metadata(format, **said), "00" * 32)


def write(path: Path, picture: Picture, frames: list[Any] | None = None, **options: Any) -> list[str]:
    options = {"format": picture.format, "quality": 95, "marker": MARKER, "overwrite": False, **options}
    return image_file.write(path, picture, repeated(picture) if frames is None else frames, **options)


def test_nothing_existing_is_overwritten_without_leave(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", b"precious")
    picture = picture_of(gradient(3, 4))
    with pytest.raises(OutputExistsError):
        write(path, picture)
    assert path.read_bytes() == b"precious"
    write(path, picture, overwrite=True)
    assert image_file.read(path).width == 8
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda _: b"",
        lambda data: data[:-1],
        lambda _: png(gradient(5, 5)),
        lambda _: jpeg(gradient(6, 8)),
        lambda data: data.replace(b"liif-restore", b"LIIF-RESTORE"),
        lambda _: png(gradient(6, 8) // 2),
    ],
    ids=["half", "nothing", "cut", "wrong size", "wrong format", "damaged", "wrong pixels"],
)
def test_a_result_that_does_not_read_back_never_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    path = saved(tmp_path / "a.png", b"the old file")
    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: real(self, spoil(data)))
    with pytest.raises(OutputError, match="not kept") as caught:
        write(path, picture_of(gradient(3, 4)), overwrite=True)
    assert caught.value.path is not None
    assert path.read_bytes() == b"the old file"
    assert names(tmp_path) == ["a.png"]


def test_gray_that_became_colours_is_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = image_file.read(saved(tmp_path / "gray.png", png(gradient(3, 4, 1))))
    other = io.BytesIO()
    Image.fromarray(gradient(6, 8)).save(other, "WEBP", lossless=True)
    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, _: real(self, other.getvalue()))
    with pytest.raises(OutputError, match="its pixels are not"):
        image_file.write(
            tmp_path / "a.webp", source, repeated(source), format="WEBP", quality=90, marker=None, overwrite=False
        )


def test_a_disk_that_fills_up_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        write(tmp_path / "a.png", picture_of(gradient(3, 4)))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "frames",
    [
        [gradient(3, 4), gradient(3, 4)],
        [gradient(3, 4, 4)],
        [gradient(3, 4, dtype=np.uint16)],
        [gradient(3, 4).astype(np.float32)],
    ],
    ids=["too many", "other channels", "other depth", "floats"],
)
def test_frames_that_are_not_the_pictures(tmp_path: Path, frames: list[Any]) -> None:
    with pytest.raises(UsageError):
        write(tmp_path / "a.png", picture_of(gradient(3, 4)), frames)
    assert names(tmp_path) == []


@pytest.mark.parametrize("quality", [0, 101, 95.5, 95.0, "95", None])
def test_a_quality_out_of_range_is_refused_before_any_work(tmp_path: Path, quality: Any) -> None:
    with pytest.raises(UsageError, match="1 to 100"):
        write(tmp_path / "a.jpg", picture_of(gradient(3, 4), "JPEG"), quality=quality)
    Image.fromarray(gradient(3, 4)).save(tmp_path / "a.png")
    no_engine = cast(Copying, None)
    with pytest.raises(UsageError, match="1 to 100") as refused:
        file.restore_file(no_engine, tmp_path / "a.png", tmp_path / "b.jpg", quality=quality)
    assert refused.value.path == tmp_path / "a.png"


def test_a_broken_xmp_packet_stays_and_is_said(tmp_path: Path) -> None:
    [note] = write(tmp_path / "a.png", picture_of(gradient(3, 4), xmp=b"<x:xmpmeta broken"))
    assert "XMP" in note
    assert image_file.read(tmp_path / "a.png").metadata.xmp == b"<x:xmpmeta broken"
    assert image_file.read_marker(tmp_path / "a.png") is None


def test_without_a_marker_none_is_written(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture_of(gradient(3, 4)), marker=None)
    assert image_file.read(tmp_path / "a.png").metadata.xmp is None


# The marker


def test_markers_of_files_without_one(tmp_path: Path) -> None:
    assert image_file.read_marker(saved(tmp_path / "a.jpg", jpeg(gradient(3, 4)))) is None
    assert image_file.read_marker(saved(tmp_path / "text", xmp.OURS.encode())) is None
    assert image_file.read_marker(saved(tmp_path / "empty", b"")) is None
    quoting = jpeg(gradient(3, 4), (0xFE, xmp.edited(None, marker=MARKER) or b""))
    assert image_file.read_marker(saved(tmp_path / "quoting.jpg", quoting)) is None
    with pytest.raises(InputError, match="no such file"):
        image_file.read_marker(tmp_path / "missing")


def test_a_marker_is_found_in_any_encoding_and_across_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packet = xmp.edited(XMP, marker=MARKER)
    assert packet is not None
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        said = packet.decode().encode(encoding)
        path = saved(tmp_path / "a.jpg", jpeg(gradient(3, 4), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + said)))
        for size in (1, 7, 100, 1 << 20):
            monkeypatch.setattr(source, "_PIECE_BYTES", size)
            assert image_file.read_marker(path) == MARKER


def test_a_marker_of_a_result_of_a_result_is_the_last(tmp_path: Path) -> None:
    restored(saved(tmp_path / "a.jpg", jpeg(gradient(3, 4))), tmp_path / "b.jpg")
    picture = image_file.read(tmp_path / "b.jpg")
    second = replace(MARKER, model="second")
    write(tmp_path / "c.jpg", picture, marker=second)
    assert image_file.read_marker(tmp_path / "c.jpg") == second


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_shows(orientation: int) -> None:
    pixels = gradient(3, 5)
    file = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(pixels).save(file, "PNG", exif=tags)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(source.upright(pixels, orientation), shown)
