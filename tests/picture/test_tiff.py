"""TIFF: every way of storing pixels against Pillow and libtiff, every tag, broken files."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from liif_engine.errors import InputError, LiifError, TooLargeError, TruncatedError, UnsupportedError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import tiff, tiff_tags
from liif_engine.picture.image_file.contents import Density, Frame, Limits, Metadata, Pixels
from liif_engine.picture.image_file.result import write
from liif_engine.picture.image_file.room import Order
from liif_engine.picture.image_file.tiff_tags import Directory, Tag, number_tag

from . import made

LIMITS = Limits()
ORDERS = ("<", ">")


def random_pixels(*shape: int, dtype: str = "uint8", seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


def raw(samples: Pixels, photometric: int, *, order: str = "<", big: bool = False, **more: Tag) -> bytes:
    """An uncompressed file of one strip, from samples as they are to be stored; `more` is t<number>=tag."""
    height, width, count = samples.shape
    directory = Directory(
        {
            256: number_tag(order, width),
            257: number_tag(order, height),
            258: number_tag(order, *[samples.itemsize * 8] * count),
            262: number_tag(order, photometric),
            277: number_tag(order, count),
            279: number_tag(order, samples.nbytes, kind=4),
        }
        | {int(name[1:]): tag for name, tag in more.items()}
    )
    return tiff_tags.whole_file(directory, (order, big), [samples.astype(samples.dtype.newbyteorder(order)).tobytes()])


def read(data: bytes) -> Pixels:
    header = tiff.inspect(data, LIMITS)
    assert header.cut is None
    [frame] = tiff.decode(data, header, allow_truncated=False)
    assert frame.pixels.shape == (header.height, header.width, len(header.layout))
    assert frame.pixels.dtype == (np.uint16 if header.bits == 16 else np.uint8)
    return frame.pixels


def again(data: bytes) -> bytes:
    header = tiff.inspect(data, LIMITS)
    frames = tiff.decode(data, header, allow_truncated=False)
    return tiff.encode(Order(frames, header.layout, header.metadata, 90))[0]


def tags_of(data: bytes) -> Directory:
    reader = tiff_tags.Reader(data, LIMITS)
    directory = reader.directory(reader.first)
    assert directory is not None
    return directory


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


def file_with_everything(order: str) -> bytes:
    exif = Directory(
        {
            33434: Tag(5, 1, struct.pack(order + "II", 1, 250)),
            40962: number_tag(order, 8),
            37510: Tag(7, 12, b"ASCII\0\0\0note"),
        },
        {0xA005: Directory({1: Tag(2, 4, b"R98\0")})},
    )
    tags = {
        270: Tag(2, 12, b"description\0"),
        271: Tag(2, 4, b"Mak\0"),
        274: number_tag(order, 1),
        282: Tag(5, 1, struct.pack(order + "II", 3001, 10)),
        283: Tag(5, 1, struct.pack(order + "II", 2999, 10)),
        285: Tag(2, 5, b"page\0"),
        296: number_tag(order, 3),
        315: Tag(2, 7, b"artist\0"),
        318: Tag(5, 2, struct.pack(order + "4I", 3127, 10000, 3290, 10000)),
        700: Tag(1, 4, b"<x/>"),
        33432: Tag(2, 3, b"(c\0"),
        33723: Tag(7, 8, b"\x1c\x02\x78\0\x03abc"),
        34377: Tag(1, 14, b"8BIM\x04\x04\0\0\0\0\0\x02ab"),
        34675: Tag(7, 7, b"profile"),
        65000: Tag(12, 2, struct.pack(order + "2d", 1.5, -2.5)),
    }
    samples = random_pixels(6, 8, 3)
    directory = Directory(tags, {0x8769: exif, 0x8825: Directory({1: Tag(2, 2, b"N\0")})})
    directory.tags |= {
        256: number_tag(order, 8),
        257: number_tag(order, 6),
        258: number_tag(order, 8, 8, 8),
        262: number_tag(order, 2),
        277: number_tag(order, 3),
        279: number_tag(order, samples.nbytes),
    }
    return tiff_tags.whole_file(directory, (order, False), [samples.tobytes()])


@pytest.mark.parametrize("order", ORDERS)
def test_every_tag_comes_back(order: str) -> None:
    data = file_with_everything(order)
    metadata = tiff.inspect(data, LIMITS).metadata
    assert (metadata.xmp, metadata.icc) == (b"<x/>", b"profile")
    assert metadata.iptc == b"\x1c\x02\x78\0\x03abc"
    assert metadata.photoshop == b"8BIM\x04\x04\0\0\0\0\0\x02ab"
    assert metadata.density == Density((3001, 10), (2999, 10), "cm")
    result = again(data)
    assert tiff.inspect(result, LIMITS).metadata == metadata
    before, after = tags_of(data), tags_of(result)
    pixels = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284}
    assert {n: t for n, t in before.tags.items() if n not in pixels} == {
        n: t for n, t in after.tags.items() if n not in pixels
    }
    assert before.below == after.below
    image = Image.open(io.BytesIO(result))
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    assert image.tag_v2[270] == "description"
    assert image.getexif().get_ifd(0x8769)[33434] == 1 / 250
    assert image.info["dpi"] == pytest.approx((300.1 * 2.54, 299.9 * 2.54))


def test_the_exif_block_reads_as_one_elsewhere() -> None:
    metadata = tiff.inspect(file_with_everything(">"), LIMITS).metadata
    assert metadata.exif is not None
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + metadata.exif)
    assert exif[271] == "Mak"
    assert exif.get_ifd(0x8769)[33434] == 1 / 250
    assert exif.get_ifd(0x8825)[1] == "N"


def test_another_formats_exif_is_taken_apart() -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    exif[256] = 99
    exif.get_ifd(0x8769)[33434] = 0.5
    fields = {
        "exif": exif.tobytes().removeprefix(b"Exif\0\0"),
        "density": Density((11811, 1), (11811, 1), "metre"),
        "comments": (b"one", b"two"),
    }
    result, notes = tiff.encode(Order([Frame(random_pixels(4, 5, 3))], "RGB", Metadata("PNG", **fields), 90))
    image = Image.open(io.BytesIO(result))
    assert notes == []
    assert (image.size, image.getexif()[271], image.getexif()[270]) == ((5, 4), "Maker", "one\ntwo")
    assert image.getexif().get_ifd(0x8769)[33434] == 0.5
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize(
    ("described", "wanted"), [(b"a view\0", b"a view\none\0"), (b"one\0", b"one\0"), (b"      \0", b"one\0")]
)
def test_a_comment_stands_behind_the_description_that_is_there(described: bytes, wanted: bytes) -> None:
    metadata = Metadata("JPEG", exif=made.exif({270: (made.ASCII, described)}), comments=(b"one",))
    result, notes = tiff.encode(Order([Frame(random_pixels(4, 5, 3))], "RGB", metadata, 90))
    assert (notes, tags_of(result).tags[270].data) == ([], wanted)


@pytest.mark.parametrize("number", [318, 18246, 40091])
def test_a_tag_that_exif_has_too_goes_along_alone(tmp_path: Path, number: int) -> None:
    tag = Tag(5, 2, struct.pack("<4I", 3127, 10000, 329, 1000))
    (tmp_path / "a.tif").write_bytes(raw(random_pixels(4, 5, 3), 2, **{f"t{number}": tag}))
    assert made.restored(tmp_path / "a.tif", tmp_path / "b.jpg", format="JPEG") == []
    exif = image_file.read(tmp_path / "b.jpg").metadata.exif
    assert exif is not None
    assert tags_of(exif).tags[number].data == tag.data


def test_what_another_formats_exif_loses_in_tiff_is_said() -> None:
    block = made.exif({}, sub={0x927C: (made.UNDEFINED, b"a maker's note")}, thumbnail=b"\xff\xd8thumbnail\xff\xd9")
    order = Order([Frame(random_pixels(4, 5, 3))], "RGB", Metadata("JPEG", exif=block), 90)
    result, notes = tiff.encode(order)
    assert tags_of(result).below[0x8769].tags[0x927C].data == b"a maker's note"
    assert [note.partition(" was ")[0] for note in notes] == ["the camera's maker note", "the EXIF thumbnail"]


def test_sizes_in_exif_are_put_right(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(file_with_everything(">"))
    source = image_file.read(tmp_path / "a.tif")
    pixels = [source.frames[0].pixels.repeat(3, axis=0).repeat(3, axis=1)]
    write(tmp_path / "b.tif", source, pixels, format="TIFF", quality=90, marker=None, overwrite=False)
    exif = tags_of((tmp_path / "b.tif").read_bytes()).below[0x8769]
    assert tiff_tags.integers(exif.tags[40962], ">") == (24,)


def test_orientation_is_reported_and_reset_once_turned() -> None:
    data = raw(random_pixels(4, 6, 3), 2, t274=number_tag("<", 6))
    header = tiff.inspect(data, LIMITS)
    assert header.orientation == 6
    turned = replace(header.metadata, turned=True)
    result, _ = tiff.encode(Order([Frame(random_pixels(6, 4, 3))], "RGB", turned, 90))
    assert tiff.inspect(result, LIMITS).orientation == 1


PLAIN = random_pixels(4, 5, 3)


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
        (raw(PLAIN, 2, t254=number_tag("<", 1)), UnsupportedError, "reduced copy"),
        (raw(PLAIN, 2, t33550=Tag(12, 3, bytes(24))), UnsupportedError, "GeoTIFF"),
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


blobs = st.none() | st.binary(min_size=1, max_size=80)
words = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=30)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries({"xmp": blobs, "icc": blobs, "iptc": blobs}),
    st.dictionaries(st.sampled_from([269, 270, 285, 305, 315, 33432, 65000]), words, max_size=5),
    st.dictionaries(st.sampled_from([33434, 37510, 42036, 42240]), blobs.filter(bool), max_size=4),
    st.sampled_from(ORDERS),
    st.booleans(),
)
def test_random_metadata_comes_back(
    fields: dict[str, bytes | None], texts: dict[int, str], exif: dict[int, bytes], order: str, big: bool
) -> None:
    tags = {f"t{number}": Tag(2, len(text) + 1, text.encode() + b"\0") for number, text in texts.items()}
    numbers = {"xmp": 700, "icc": 34675, "iptc": 33723}
    kinds = {"xmp": 1, "icc": 7, "iptc": 7}
    tags |= {f"t{numbers[n]}": Tag(kinds[n], len(v), v) for n, v in fields.items() if v is not None}
    data = raw(PLAIN, 2, order=order, big=big, **tags)
    if exif:
        directory = tags_of(data)
        directory.below[0x8769] = Directory({n: Tag(7, len(v), v) for n, v in exif.items()})
        data = tiff_tags.whole_file(directory, (order, big), [PLAIN.tobytes()])
    metadata = tiff.inspect(data, LIMITS).metadata
    assert {name: getattr(metadata, name) for name in fields} == fields
    result = again(data)
    assert tiff.inspect(result, LIMITS).metadata == metadata
    assert tags_of(result).below == tags_of(data).below
    assert {n: t for n, t in tags_of(result).tags.items() if f"t{n}" in tags} == {
        int(k[1:]): t for k, t in tags.items()
    }


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
