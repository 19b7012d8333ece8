"""AVIF and the boxes it shares with HEIC: pixels, colours, turns, metadata, what is refused, broken files."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from liif_engine.errors import InputError, LiifError, TooLargeError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import avif, isobmff
from liif_engine.picture.image_file.contents import Frame, Limits, Metadata, Piece, Pixels
from liif_engine.picture.image_file.room import Order

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
LIMITS = Limits()


def smooth(height: int, width: int, channels: int) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height), 200 - x * 200 // width]
    picked = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]
    return np.stack([planes[i] for i in picked], axis=2).astype(np.uint8)


def written(pixels: Pixels, *, quality: int = 90, **fields: object) -> bytes:
    layout = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    metadata = replace(Metadata("AVIF"), **fields)
    return avif.encode(Order([Frame(pixels)], layout, metadata, quality))[0]


def saved(pixels: Pixels, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[..., 0]).save(file, "AVIF", **options)
    return file.getvalue()


def again(data: bytes) -> bytes:
    header = avif.inspect(data, LIMITS)
    frames = avif.decode(data, header, allow_truncated=False)
    return avif.encode(Order(frames, header.layout, header.metadata, 90))[0]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_are_pillows_and_imagecodecs(channels: int) -> None:
    data = saved(smooth(33, 47, channels), quality=90, subsampling="4:0:0" if channels == 1 else "4:4:4")
    header = avif.inspect(data, LIMITS)
    [frame] = avif.decode(data, header, allow_truncated=False)
    assert header.layout == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    assert frame.pixels.shape == (33, 47, channels)
    reference = imagecodecs.avif_decode(data).reshape(33, 47, -1)[..., :channels]
    assert np.abs(frame.pixels.astype(int) - reference).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (17, 40)])
def test_results_are_close(channels: int, shape: tuple[int, int]) -> None:
    pixels = smooth(*shape, channels)
    data = written(pixels, quality=95)
    header = avif.inspect(data, LIMITS)
    [frame] = avif.decode(data, header)
    wanted = pixels[..., [0, 0, 0, 1]] if channels == 2 else pixels
    assert frame.pixels.shape == wanted.shape
    assert np.abs(frame.pixels.astype(int) - wanted).mean() < 2


@pytest.mark.parametrize(("quality", "subsampled"), [(90, 0), (60, 3)])
def test_colour_is_fine_from_quality_80(quality: int, subsampled: int) -> None:
    data = written(smooth(16, 16, 3), quality=quality)
    media = isobmff.read_media(data, LIMITS)
    configuration = dict(media.items[media.primary].properties)[b"av1C"]
    assert configuration[2] >> 2 & 3 == subsampled


def exif_block() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 1
    exif[0x010F] = "Maker"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def test_metadata_is_kept_byte_for_byte() -> None:
    fields = {"exif": exif_block(), "xmp": b"<x/>", "icc": b"\0\0\0\x80" + bytes(124)}
    for data in (written(smooth(8, 8, 3), **fields), again(written(smooth(8, 8, 3), **fields))):
        metadata = avif.inspect(data, LIMITS).metadata
        assert {name: getattr(metadata, name) for name in fields} == fields
        image = Image.open(io.BytesIO(data))
        assert image.getexif()[0x010F] == "Maker"
        assert image.info["xmp"] == b"<x/>"
        assert image.info["icc_profile"] == fields["icc"]


def test_pillows_metadata_is_read() -> None:
    data = saved(smooth(8, 8, 3), exif=b"Exif\0\0" + exif_block(), xmp=b"<x/>")
    metadata = avif.inspect(data, LIMITS).metadata
    assert metadata.xmp == b"<x/>"
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + (metadata.exif or b""))
    assert exif[0x010F] == "Maker"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_are_told_in_exifs_numbers(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(smooth(8, 12, 3), exif=exif.tobytes())
    header = avif.inspect(data, LIMITS)
    assert header.orientation == orientation
    assert (header.width, header.height) == (12, 8)
    assert header.metadata.turned
    assert avif.inspect(again(data), LIMITS).orientation == 1


def test_numbered_colours_are_kept_and_bind_to_the_format() -> None:
    data = written(smooth(8, 8, 3), pieces=(Piece("<CICP>", struct.pack(">HH", 12, 13)),))
    metadata = avif.inspect(again(data), LIMITS).metadata
    assert metadata.pieces == (Piece("<CICP>", struct.pack(">HH", 12, 13)),)
    assert "12/13" in metadata.bound_to_home[0]
    plain = avif.inspect(written(smooth(8, 8, 3)), LIMITS).metadata
    assert plain.bound_to_home == ()


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused(transfer: int) -> None:
    data = written(smooth(8, 8, 3), pieces=(Piece("<CICP>", struct.pack(">HH", 9, transfer)),))
    with pytest.raises(UnsupportedError, match="HDR"):
        avif.inspect(data, LIMITS)


def test_more_bits_and_animations_are_refused() -> None:
    deep = imagecodecs.avif_encode(smooth(8, 8, 3).astype(np.uint16) << 2, bitspersample=10)
    with pytest.raises(UnsupportedError, match="10 bits"):
        avif.inspect(deep, LIMITS)
    frame = Image.fromarray(smooth(8, 8, 3))
    file = io.BytesIO()
    frame.save(file, "AVIF", save_all=True, append_images=[frame.rotate(90)], duration=100)
    with pytest.raises(UnsupportedError, match="animation"):
        avif.inspect(file.getvalue(), LIMITS)


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    assert len(old) == len(new)
    return data.replace(old, new)


def test_bound_pictures_and_odd_metadata_are_refused() -> None:
    data = written(smooth(8, 8, 4), xmp=b"<x/>")
    with pytest.raises(UnsupportedError, match="depth map"):
        avif.inspect(changed(data, b"auxiliary:alpha", b"auxiliary:depth"), LIMITS)
    with pytest.raises(UnsupportedError, match="application/other"):
        avif.inspect(changed(data, b"application/rdf+xml", b"application/otherXX"), LIMITS)
    with pytest.raises(UnsupportedError, match="gain map"):
        avif.inspect(changed(data, b"mimeXMP", b"tmapXMP"), LIMITS)
    with pytest.raises(UnsupportedError, match="several pictures"):
        avif.inspect(changed(data, b"auxl", b"free"), LIMITS)
    with pytest.raises(UnsupportedError, match="not square"):
        avif.inspect(
            changed(data, b"\0\0\0\x10pixi\0\0\0\0\x03\x08\x08\x08", b"\0\0\0\x10pasp\0\0\0\1\0\0\0\2"), LIMITS
        )


def test_boxes_that_are_no_part_of_the_picture_are_kept_behind_it() -> None:
    """Such as the film that a phone puts beside a picture, and what any program adds under an identifier of its own."""
    beside = isobmff.box_bytes(b"mpvd", b"a film") + isobmff.box_bytes(b"uuid", bytes(range(16)) + b"own")
    data = written(smooth(8, 8, 3), xmp=b"<x/>") + beside + isobmff.box_bytes(b"free", bytes(8))
    for _ in range(2):
        metadata = avif.inspect(data, LIMITS).metadata
        assert [piece.kind for piece in metadata.pieces if piece.late] == ["box mpvd", "box uuid"]
        data = again(data)
        assert data.endswith(beside)
        assert Image.open(io.BytesIO(data)).size == (8, 8)
    assert avif.inspect(data + bytes(50), LIMITS).metadata.pieces == metadata.pieces
    elsewhere = avif.encode(Order([Frame(smooth(8, 8, 3))], "RGB", replace(metadata, home="HEIC"), 90))[0]
    assert b"mpvd" not in elsewhere


@pytest.mark.parametrize(
    "after", [b"tail", b"bytes that are no box", b"\0\0\0\x03oddbox", b"\0\0\2\0" + bytes(range(99))]
)
def test_bytes_behind_the_boxes_are_kept_behind_them(after: bytes) -> None:
    pixels = smooth(8, 8, 3)
    data = written(pixels) + isobmff.box_bytes(b"mpvd", b"a film") + after
    header = avif.inspect(data, LIMITS)
    assert header.cut is None
    result = again(data)
    assert result.endswith(isobmff.box_bytes(b"mpvd", b"a film") + after)
    np.testing.assert_allclose(avif.decode(data, header)[0].pixels.astype(int), pixels, atol=12)


def test_a_box_beside_the_picture_that_is_cut_is_told() -> None:
    data = written(smooth(8, 8, 3)) + isobmff.box_bytes(b"mpvd", b"a film")[:-1]
    assert "ends early" in str(avif.inspect(data, LIMITS).cut)


@pytest.mark.parametrize(
    "box", [(b"uuid", bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + b"\0\0\0\0manifest\0"), (b"jumb", b"...")]
)
def test_content_credentials_are_refused(box: tuple[bytes, bytes]) -> None:
    with pytest.raises(UnsupportedError, match="Content Credentials"):
        avif.inspect(written(smooth(8, 8, 3)) + isobmff.box_bytes(*box), LIMITS)


def test_an_item_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="kind abcd"):
        avif.inspect(changed(written(smooth(8, 8, 3), xmp=b"<x/>"), b"mimeXMP", b"abcdXMP"), LIMITS)


def test_cut_files_are_refused() -> None:
    data = written(smooth(40, 40, 3))
    for length in (len(data) - 1, len(data) // 2):
        try:
            header = avif.inspect(data[:length], LIMITS)
        except InputError:
            continue
        assert "ends early" in str(header.cut)
        with pytest.raises(TruncatedError, match="no part"):
            avif.decode(data[:length], header, allow_truncated=True)


def test_limits_hold_before_pixels() -> None:
    data = written(smooth(8, 8, 3), xmp=b"x" * 5000)
    with pytest.raises(TooLargeError, match="metadata"):
        avif.inspect(data, Limits(max_metadata_bytes=4000))
    with pytest.raises(TooLargeError, match="more than 1"):
        avif.inspect(data, Limits(max_pieces=1))
    many = isobmff.box_bytes(b"meta", bytes(4) + isobmff.box_bytes(b"free", b"") * 101)
    with pytest.raises(TooLargeError, match="more than 100 boxes"):
        avif.inspect(data[: data.index(b"meta") - 4] + many, Limits(max_pieces=100))
    size = struct.pack(">II", 8, 8)
    huge = avif.inspect(
        changed(data, b"ispe\0\0\0\0" + size, b"ispe\0\0\0\0" + b"\x7f" + bytes(3) + b"\x7f" + bytes(3)), LIMITS
    )
    assert huge.width == 0x7F000000
    with pytest.raises(InputError, match="0 x"):
        avif.inspect(changed(data, b"ispe\0\0\0\0" + size, b"ispe\0\0\0\0" + bytes(8)), LIMITS)


def test_pillows_own_limit_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    data = written(smooth(8, 8, 3))
    assert avif.decode(data, avif.inspect(data, LIMITS))[0].pixels.shape == (8, 8, 3)


def test_a_damaged_box_is_told() -> None:
    with pytest.raises(InputError, match="damaged box"):
        avif.inspect(b"\0\0\0\x04ftyp", LIMITS)
    with pytest.raises(InputError, match="no picture"):
        avif.inspect(b"\0\0\0\x10ftypavif\0\0\0\0", LIMITS)


@settings(max_examples=25, deadline=None)
@given(
    st.none() | st.binary(min_size=14, max_size=200).map(lambda b: b"II*\0\x08\0\0\0\0\0\0\0\0\0" + b),
    st.none() | st.binary(min_size=16, max_size=80),  # libavif stores fewer bytes as part of others that hold them
    st.none() | st.binary(min_size=16, max_size=80),
)
def test_random_metadata_comes_back(exif: bytes | None, icc: bytes | None, xmp: bytes | None) -> None:
    fields = {"exif": exif, "icc": icc, "xmp": xmp}
    metadata = avif.inspect(written(np.zeros((2, 2, 3), np.uint8), **fields), LIMITS).metadata
    assert {name: getattr(metadata, name) for name in fields} == fields


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutations_end_in_a_header_or_in_words(data: st.DataObject) -> None:
    file = bytearray(_FILE)
    end = _FILE.index(b"mdat")
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, end))] = data.draw(st.integers(0, 255))
    try:
        header = avif.inspect(bytes(file), LIMITS)
    except LiifError:
        return
    assert header.width > 0
    assert header.height > 0


_FILE = written(smooth(8, 8, 4), exif=exif_block(), xmp=b"<x/>", icc=bytes(128)) if features.check("avif") else b""
