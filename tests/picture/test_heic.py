"""HEIC: pixels through the extra, turns, the filling of blocks, metadata, an installation without the extra."""

from __future__ import annotations

import importlib.util
import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from liif_engine.errors import TruncatedError, UnsupportedError
from liif_engine.picture.image_file import heic, heif_still, isobmff
from liif_engine.picture.image_file.contents import Frame, Limits, Metadata, Piece, Pixels
from liif_engine.picture.image_file.room import Order

from .made import SHORT, exif

LIMITS = Limits()
pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra: pip install 'liif-restore[heic]'")


def smooth(height: int, width: int, channels: int) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height), 200 - x * 200 // width]
    picked = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]
    return np.stack([planes[i] for i in picked], axis=2).astype(np.uint8)


def written(pixels: Pixels, *, quality: int = 95, **fields: object) -> bytes:
    layout = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    metadata = replace(Metadata("HEIC"), **fields)
    return heic.encode(Order([Frame(pixels)], layout, metadata, quality))[0]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (64, 96), (63, 97), (70, 129)])
def test_results_are_close_at_any_size(channels: int, shape: tuple[int, int]) -> None:
    pixels = smooth(*shape, channels)
    data = written(pixels)
    header = heic.inspect(data, LIMITS)
    [frame] = heic.decode(data, header, allow_truncated=False)
    wanted = pixels[..., [0, 0, 0, 1]] if channels == 2 else pixels
    assert (header.height, header.width, len(header.layout)) == wanted.shape
    assert frame.pixels.shape == wanted.shape
    assert np.abs(frame.pixels.astype(int) - wanted).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_of_the_header_are_done(orientation: int) -> None:
    pixels = smooth(64, 128, 3)
    tags = Image.Exif()
    tags[0x0112] = orientation
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(file, quality=95, chroma=444, exif=tags.tobytes())
    data = file.getvalue()
    header = heic.inspect(data, LIMITS)
    [frame] = heic.decode(data, header)
    turned = Image.fromarray(pixels)
    turned.getexif()[0x0112] = orientation
    stored = io.BytesIO()
    turned.save(stored, "PNG", exif=turned.getexif())
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Image.open(stored)))
    assert header.orientation == 1
    assert header.metadata.turned
    assert frame.pixels.shape == upright.shape
    assert np.abs(frame.pixels.astype(int) - upright).mean() < 2


def test_metadata_is_kept_byte_for_byte() -> None:
    tags = Image.Exif()
    tags[0x0112] = 1
    tags[0x010F] = "Maker"
    fields = {
        "exif": tags.tobytes().removeprefix(b"Exif\0\0"),
        "xmp": b"<x/>",
        "icc": b"\0\0\0\x80" + bytes(124),
        "pieces": (Piece("<CICP>", struct.pack(">HH", 12, 13)),),
    }
    data = written(smooth(64, 64, 3), **fields)
    metadata = heic.inspect(data, LIMITS).metadata
    assert {name: getattr(metadata, name) for name in ("exif", "xmp", "icc")} == {
        name: fields[name] for name in ("exif", "xmp", "icc")
    }
    other = pillow_heif.open_heif(io.BytesIO(data))
    assert other.info["exif"].removeprefix(b"Exif\0\0") == fields["exif"]
    assert other.info["xmp"] == b"<x/>"
    plain = written(smooth(64, 64, 3), pieces=fields["pieces"])
    assert heic.inspect(plain, LIMITS).metadata.pieces == fields["pieces"]


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("counted", [True, False])
def test_exif_is_found_where_the_way_to_it_is_missing_or_miscounted(prefix: bytes, counted: bool) -> None:
    block = exif({0x0112: (SHORT, 6)})
    item = bytes(4) + prefix + block
    data = written(smooth(64, 64, 3), exif=prefix + block)
    assert data.count(item) == 1
    data = data if counted else data.replace(item, item[4:] + bytes(4))
    found = heic.inspect(data, LIMITS).metadata.exif
    assert found == block + bytes(0 if counted else 4)


def test_exif_that_lies_behind_its_own_end_is_left_out_and_said() -> None:
    data = written(smooth(64, 64, 3), exif=b"no TIFF at all")
    metadata = heic.inspect(data.replace(bytes(4) + b"no TIFF", b"\0\0\1\0no TIFF"), LIMITS).metadata
    assert metadata.exif is None
    assert any("EXIF" in note for note in metadata.notes)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("shape", [(64, 64), (48, 64)])
def test_what_xmp_alone_says_of_the_orientation_turns_nothing(shape: tuple[int, int], orientation: int) -> None:
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    pixels = smooth(*shape, 3)
    data = written(pixels, xmp=xmp)
    header = heic.inspect(data, LIMITS)
    [frame] = heic.decode(data, header)
    assert header.orientation == 1
    assert frame.pixels.shape == pixels.shape
    assert np.abs(frame.pixels.astype(int) - pixels).mean() < 2
    assert header.metadata.xmp == xmp


def test_xmp_in_another_encoding_is_not_written_anew() -> None:
    xmp = "<x>Zoë</x>".encode("latin-1")
    assert heic.inspect(written(smooth(64, 64, 3), xmp=xmp), LIMITS).metadata.xmp == xmp


def test_a_phones_film_beside_the_picture_is_kept_behind_it() -> None:
    beside = isobmff.box_bytes(b"mpvd", b"a film")
    header = heic.inspect(written(smooth(64, 64, 3)) + beside, LIMITS)
    result = heic.encode(Order([Frame(smooth(64, 64, 3))], "RGB", header.metadata, 90))[0]
    assert result.endswith(beside)
    assert heic.decode(result, heic.inspect(result, LIMITS))[0].pixels.shape == (64, 64, 3)


def test_cropping_is_refused() -> None:
    data = written(smooth(63, 97, 3))
    at = data.index(b"clap") + 4
    crop = struct.pack(">IIIIiIiI", 50, 1, 40, 1, 0, 1, 0, 1)
    with pytest.raises(UnsupportedError, match="cropped"):
        heic.inspect(data[:at] + crop + data[at + 32 :], LIMITS)


def test_more_bits_are_refused() -> None:
    deep = pillow_heif.from_bytes("RGB;16", (64, 64), bytes(64 * 64 * 6))
    file = io.BytesIO()
    deep.save(file, quality=90)
    with pytest.raises(UnsupportedError, match="bits per sample"):
        heic.inspect(file.getvalue(), LIMITS)


def test_cut_files_are_refused() -> None:
    data = written(smooth(64, 64, 3))[:-10]
    header = heic.inspect(data, LIMITS)
    assert "ends early" in str(header.cut)
    with pytest.raises(TruncatedError, match="no part"):
        heic.decode(data, header, allow_truncated=True)


def test_without_the_extra_the_file_is_still_told_and_the_extra_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(smooth(64, 64, 3))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else find(name))
    header = heic.inspect(data, LIMITS)
    assert (header.width, header.height) == (64, 64)
    with pytest.raises(UnsupportedError, match="extra") as caught:
        heic.decode(data, header)
    assert "liif-restore[heic]" in caught.value.remedy


def test_the_stand_in_is_as_long_as_the_block() -> None:
    for length in (1, 8, 14, 15, 400):
        block = bytes(range(1, 256)) * 2
        assert len(heif_still.stand_in(block[:length]) or b"") == length
        assert len(heif_still.stand_in_xmp(block[:length]) or b"") == length
