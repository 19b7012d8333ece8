"""TIFF: every way of storing pixels against Pillow and libtiff; broken files."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_engine.errors import InputError, LiifError, TooLargeError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import tiff, tiff_tags
from liif_engine.picture.image_file.contents import Frame, Limits, Metadata, Pixels
from liif_engine.picture.image_file.room import Order
from liif_engine.picture.image_file.tiff_tags import Directory, Tag, number_tag

from .tiffs import LIMITS, ORDERS, PLAIN, again, file_with_everything, random_pixels, raw, tags_of


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


def read(data: bytes) -> Pixels:
    header = tiff.inspect(data, LIMITS)
    assert header.cut is None
    [frame] = tiff.decode(data, header, allow_truncated=False)
    assert frame.pixels.shape == (header.height, header.width, len(header.layout))
    assert frame.pixels.dtype == (np.uint16 if header.bits == 16 else np.uint8)
    return frame.pixels


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
def test_pixels_are_pillows_and_the_compression_stays(mode: str, compression: str | None) -> None:
    channels = len(mode)
    pixels = random_pixels(37, 29, channels)
    image = Image.frombytes(mode, (29, 37), pixels.tobytes())
    data = saved(image, compression=compression)
    wanted = 255 - pixels if mode == "CMYK" else pixels  # as light
    np.testing.assert_array_equal(read(data), wanted)
    result = again(data)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(result))).reshape(pixels.shape), pixels)
    code = tags_of(result).tags[259].data[0]
    assert code == {None: 1, "tiff_lzw": 5}.get(compression, 8)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("channels", "photometric"), [(1, 1), (3, 2), (4, 2), (4, 5)])
@pytest.mark.parametrize("big", [False, True])
def test_16_bits(channels: int, photometric: int, order: str, big: bool) -> None:
    samples = random_pixels(21, 18, channels, dtype="uint16")
    alpha = {"t338": number_tag(order, 2)} if photometric == 2 and channels == 4 else {}
    data = raw(samples, photometric, order=order, big=big, **alpha)
    wanted = 65535 - samples if photometric == 5 else samples
    np.testing.assert_array_equal(read(data), wanted)
    for coding in ("none", "LZW", "deflate"):
        header = tiff.inspect(data, LIMITS)
        metadata = replace(header.metadata, coding=coding)
        result, notes = tiff.encode(Order([Frame(read(data))], header.layout, metadata, 90))
        assert notes == []
        np.testing.assert_array_equal(read(result), wanted)
        assert tiff_tags.Reader(result, LIMITS).order == order
        assert tiff_tags.Reader(result, LIMITS).big is big
        if photometric != 5:
            np.testing.assert_array_equal(imagecodecs.tiff_decode(result).reshape(samples.shape), samples)


def test_many_strips_come_together() -> None:
    pixels = random_pixels(700, 300, 3)
    result, _ = tiff.encode(Order([Frame(pixels)], "RGB", Metadata("PNG"), 90))
    assert tags_of(result).tags[279].count == 3
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(result))), pixels)


@pytest.mark.parametrize("planar", [False, True])
def test_tiles_and_planes(planar: bool) -> None:
    samples = random_pixels(20, 40, 3)
    padded = np.zeros((32, 48, 3), np.uint8)
    padded[:20, :40] = samples
    planes = [padded[..., c : c + 1] for c in range(3)] if planar else [padded]
    tiles = [plane[y : y + 16, x : x + 16].tobytes() for plane in planes for y in (0, 16) for x in (0, 16, 32)]
    numbers = {256: 40, 257: 20, 262: 2, 277: 3, 284: 2 if planar else 1, 322: 16, 323: 16}
    tags = {number: number_tag("<", value) for number, value in numbers.items()}
    tags |= {258: number_tag("<", 8, 8, 8), 325: number_tag("<", *map(len, tiles), kind=4)}
    data = tiff_tags.whole_file(Directory(tags), ("<", False), tiles, tiled=True)
    np.testing.assert_array_equal(read(data), samples)
    np.testing.assert_array_equal(read(again(data)), samples)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_few_bits_become_eight(bits: int, white_is_zero: bool) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, (5, 8), np.uint8)
    packed = np.packbits((values[..., None] >> np.arange(bits - 1, -1, -1) & 1).reshape(5, -1), axis=1)
    numbers = {256: 8, 257: 5, 258: bits, 262: int(not white_is_zero)}
    tags = {number: number_tag("<", value) for number, value in numbers.items()}
    data = tiff_tags.whole_file(Directory(tags | {279: number_tag("<", packed.size)}), ("<", False), [packed.tobytes()])
    light = values.astype(int) * 255 // ((1 << bits) - 1)
    np.testing.assert_array_equal(read(data)[..., 0], 255 - light if white_is_zero else light)
    assert "became 8" in tiff.inspect(data, LIMITS).metadata.notes[0]


def test_palettes_become_colours() -> None:
    colours = random_pixels(16, 3)
    indexes = np.random.default_rng(5).integers(0, 16, (9, 7), np.uint8)
    image = Image.fromarray(indexes).convert("P")
    image.putpalette(colours.tobytes())
    np.testing.assert_array_equal(read(saved(image)), colours[indexes])


def test_gray_palettes_become_gray_unless_a_profile_says_colour() -> None:
    indexes = random_pixels(4, 5, 1)
    for profile, layout in (({}, "L"), ({"t34675": Tag(7, 7, b"profile")}, "RGB")):
        palette = number_tag("<", *[value * 257 for value in range(256)] * 3)
        data = raw(indexes, 3, t320=palette, **profile)
        assert tiff.inspect(data, LIMITS).layout == layout
        np.testing.assert_array_equal(read(data), indexes.repeat(len(layout), axis=2))


def test_a_file_that_says_no_depth_has_one_bit_per_pixel() -> None:
    tags = {256: number_tag("<", 8), 257: number_tag("<", 1), 262: number_tag("<", 1), 279: number_tag("<", 1)}
    data = tiff_tags.whole_file(Directory(tags), ("<", False), [bytes([0b01011000])])
    np.testing.assert_array_equal(read(data)[0, :, 0], [0, 255, 0, 255, 255, 0, 0, 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_associated_alpha_becomes_straight(dtype: str) -> None:
    full = np.iinfo(dtype).max
    alpha = np.array([0, 1, full // 2, full], dtype)
    straight = np.array([0, full, 1000 % full, full // 3], np.int64)
    stored = np.rint(straight * (alpha / full)).astype(dtype)
    samples = np.stack([stored, stored, stored, alpha], axis=1)[None].astype(dtype)
    data = raw(samples, 2, t338=number_tag("<", 1))
    pixels = read(data)
    np.testing.assert_array_equal(pixels[..., 3], samples[..., 3])
    assert abs(int(pixels[0, 2, 0]) - int(straight[2])) <= 1
    assert pixels[0, 0, 0] == 0
    assert pixels[0, 3, 0] == straight[3]
    assert "associated" in tiff.inspect(data, LIMITS).metadata.notes[0]
    np.testing.assert_array_equal(read(again(data)), pixels)


def test_jpeg_inside_is_read_and_stored_without_loss() -> None:
    y, x = np.mgrid[0:48, 0:64]
    image = Image.fromarray(np.stack([x * 4, y * 5, x + y], axis=2).astype(np.uint8))
    data = saved(image, compression="jpeg", quality=90)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(read(data) - reference).max() <= 4  # two JPEG decoders
    header = tiff.inspect(data, LIMITS)
    assert not header.metadata.lossless
    np.testing.assert_array_equal(read(again(data)), read(data))


def test_cmyk_jpeg_stays_cmyk() -> None:
    flat = np.full((16, 16, 4), [10, 60, 120, 200], np.uint8)
    data = saved(Image.frombytes("CMYK", (16, 16), flat.tobytes()), compression="jpeg", quality=95)
    assert np.abs((255 - read(data)).astype(int) - flat).max() <= 3


def test_orientation_is_reported_and_reset_once_turned() -> None:
    data = raw(random_pixels(4, 6, 3), 2, t274=number_tag("<", 6))
    header = tiff.inspect(data, LIMITS)
    assert header.orientation == 6
    turned = replace(header.metadata, turned=True)
    result, _ = tiff.encode(Order([Frame(random_pixels(6, 4, 3))], "RGB", turned, 90))
    assert tiff.inspect(result, LIMITS).orientation == 1


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"II*\1" + bytes(20), InputError, "not a TIFF"),
        (b"II*\0\xff\0\0\0" + bytes(20), TruncatedError, "list of its tags"),
        (raw(PLAIN, 8), UnsupportedError, "Lab"),
        (raw(PLAIN, 2, t339=number_tag("<", 3, 3, 3)), UnsupportedError, "floating-point"),
        (raw(PLAIN.astype(np.uint32), 2), UnsupportedError, "32 bits"),
        (raw(random_pixels(4, 5, 5), 2, t338=number_tag("<", 2, 0)), UnsupportedError, "extra channels"),
        (raw(random_pixels(4, 5, 4), 2, t338=number_tag("<", 0)), UnsupportedError, "extra channels"),
        (raw(random_pixels(4, 5, 5), 5), UnsupportedError, "extra channels"),
        (raw(PLAIN, 2, t259=number_tag("<", 34712)), UnsupportedError, "34712"),
        (raw(PLAIN, 2, t259=number_tag("<", 7), t284=number_tag("<", 2)), UnsupportedError, "in planes"),
        (raw(PLAIN, 6, t284=number_tag("<", 2)), UnsupportedError, "in planes"),
        (raw(PLAIN, 2, t254=number_tag("<", 1)), UnsupportedError, "reduced copy"),
        (raw(PLAIN, 2, t33550=Tag(12, 3, bytes(24))), UnsupportedError, "GeoTIFF"),
        (raw(PLAIN, 2, t50844=Tag(12, 92, bytes(736))), UnsupportedError, "GeoTIFF"),
        (raw(PLAIN, 2, t42113=Tag(2, 2, b"0\0")), UnsupportedError, "missing"),
        (raw(PLAIN, 2, t37724=Tag(7, 8, bytes(8))), UnsupportedError, "layers"),
        (raw(PLAIN, 2, t52545=Tag(7, 8, bytes(8))), UnsupportedError, "Content Credentials"),
        (raw(PLAIN, 2, t256=number_tag("<", 0)), InputError, "0 x 4"),
        (raw(PLAIN, 2, t278=number_tag("<", 1)), InputError, "1 of the 4 parts"),
        (raw(random_pixels(4, 5, 1), 3), InputError, "proper palette"),
    ],
)
def test_what_cannot_be_right_is_refused_in_words(data: bytes, kind: type[LiifError], words: str) -> None:
    with pytest.raises(kind, match=words):
        tiff.inspect(data, LIMITS)


def test_pages_are_refused_and_reduced_copies_left_out() -> None:
    page = Image.fromarray(PLAIN)
    with pytest.raises(UnsupportedError, match="several pages"):
        tiff.inspect(saved(page, save_all=True, append_images=[page]), LIMITS)
    data = bytearray(raw(PLAIN, 2))
    end_of_first = 8 + 2 + 12 * int.from_bytes(data[8:10], "little")
    data[end_of_first : end_of_first + 4] = len(data).to_bytes(4, "little")
    small = struct.pack("<HHHIII", 1, 254, 4, 1, 1, 0)
    header = tiff.inspect(bytes(data) + small, LIMITS)
    assert "smaller copies" in header.metadata.notes[0]
    np.testing.assert_array_equal(tiff.decode(bytes(data), header)[0].pixels, PLAIN)


@pytest.mark.parametrize("coding", ["none", "LZW", "deflate"])
def test_cut_files_give_the_rows_that_are_there(coding: str) -> None:
    pixels = random_pixels(1000, 300, 3)
    metadata = Metadata("TIFF", coding=coding)
    whole, _ = tiff.encode(Order([Frame(pixels)], "RGB", metadata, 90))
    data = whole[: len(whole) * 2 // 3]
    header = tiff.inspect(data, LIMITS)
    assert "parts of its pixels" in str(header.cut)
    [frame] = tiff.decode(data, header, allow_truncated=True)
    rows = int((frame.pixels == pixels).all(axis=(1, 2)).argmin())
    assert 290 <= rows <= 670
    assert (frame.pixels[rows + 1 :] == 0).all()


def test_limits_hold_before_pixels() -> None:
    with pytest.raises(TooLargeError, match="tags"):
        tiff.inspect(raw(PLAIN, 2), Limits(max_pieces=3))
    with pytest.raises(TooLargeError, match="metadata"):
        tiff.inspect(raw(PLAIN, 2, t34675=Tag(7, 9000, bytes(9000))), Limits(max_metadata_bytes=2000))
    tags = {"t256": number_tag("<", 15_000), "t257": number_tag("<", 15_000), "t259": number_tag("<", 8)}
    assert "can hold at most" in str(tiff.inspect(raw(PLAIN, 2, **tags), LIMITS).cut)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutations_end_in_pixels_or_in_words(data: st.DataObject) -> None:
    file = bytearray(file_with_everything("<"))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(4, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = tiff.inspect(bytes(file), LIMITS)
        if header.width * header.height > 1 << 20 or header.cut:
            return
        frames = tiff.decode(bytes(file), header, allow_truncated=True)
    except (LiifError, RuntimeError, ValueError):  # what a decoder says is put into words outside of the room
        return
    assert frames[0].pixels.shape == (header.height, header.width, len(header.layout))
