"""Every TIFF tag through a restoration, and another format's EXIF as tags."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from liif_engine.picture import image_file
from liif_engine.picture.image_file import tiff, tiff_tags
from liif_engine.picture.image_file.contents import Density, Frame, Metadata
from liif_engine.picture.image_file.result import write
from liif_engine.picture.image_file.room import Order
from liif_engine.picture.image_file.tiff_tags import RATIONAL, Directory, Tag

from . import made
from .tiffs import LIMITS, ORDERS, PLAIN, again, file_with_everything, random_pixels, raw, tags_of


@pytest.mark.parametrize("order", ORDERS)
def test_a_density_without_a_unit_is_in_inches(order: str) -> None:
    sides = {f"t{number}": Tag(RATIONAL, 1, struct.pack(order + "II", 300, 1)) for number in (282, 283)}
    metadata = tiff.inspect(raw(random_pixels(4, 6, 3), 2, order=order, **sides), LIMITS).metadata
    assert metadata.density == Density((300, 1), (300, 1), "inch")


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


@pytest.mark.parametrize(("photometric", "kept"), [(2, True), (6, False)], ids=["RGB", "YCbCr"])
def test_what_is_black_and_white_stays_with_the_samples_it_speaks_of(photometric: int, kept: bool) -> None:
    limits = Tag(5, 6, struct.pack("<12I", *(16, 1, 235, 1) * 3))
    result = again(raw(random_pixels(4, 5, 3), photometric, t532=limits))
    assert tags_of(result).tags.get(532) == (limits if kept else None)


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


def test_exif_of_any_layout_goes_from_a_jpeg_into_a_tiff(tmp_path: Path) -> None:
    main = {271: (made.ASCII, b"a maker\0"), 306: (made.ASCII, b"2003:02:01 10:20:30\0"), 50_000: (made.SHORT, 7)}
    block = made.exif(main, sub={0x829A: (made.RATIONAL, (1, 125))}) + b"behind all directories"
    (tmp_path / "a.jpg").write_bytes(made.jpeg(made.gradient(8, 8), (0xE1, b"Exif\0\0" + block)))
    assert made.restored(tmp_path / "a.jpg", tmp_path / "b.tif", format="TIFF") == []
    found = tags_of((tmp_path / "b.tif").read_bytes())
    assert {number: found.tags[number].data for number in main} == {
        271: b"a maker\0",
        306: b"2003:02:01 10:20:30\0",
        50_000: b"\7\0",
    }
    assert found.below[0x8769].tags[0x829A].data == struct.pack("<II", 1, 125)


def test_sizes_in_exif_are_put_right(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(file_with_everything(">"))
    source = image_file.read(tmp_path / "a.tif")
    pixels = [source.frames[0].pixels.repeat(3, axis=0).repeat(3, axis=1)]
    write(tmp_path / "b.tif", source, pixels, format="TIFF", quality=90, marker=None, overwrite=False)
    exif = tags_of((tmp_path / "b.tif").read_bytes()).below[0x8769]
    assert tiff_tags.integers(exif.tags[40962], ">") == (24,)


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
