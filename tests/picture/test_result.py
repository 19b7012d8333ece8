"""A result: what its format cannot hold is refused before any work, what does not read back is not kept; its marker."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from liif_engine import file
from liif_engine.errors import InputError, OutputError, OutputExistsError, TooLargeError, UnsupportedError, UsageError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Picture, heic, source, xmp
from liif_engine.picture.image_file.contents import Frame, Metadata, Probe, Text
from liif_engine.workers.stand_in import Copying

from .made import MARKER, XMP, gradient, jpeg, names, png, repeated, restored, saved

#: As much of one as says of what it is.
GRAY_PROFILE = bytes(16) + b"GRAY" + bytes(108)


def probe_of(format: str = "PNG", layout: str = "RGB", bits: int = 8, frames: int = 1, **said: Any) -> Probe:
    return Probe(format, 10, 10, layout, bits, frames, Metadata(said.pop("home", format), **said))


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
