"""EXIF in place: what a restoration changes is patched, every other byte stays."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file.exif import Thumbnail
from liif_engine.picture.image_file.source import upright

from .made import ASCII, LONG, RATIONAL, SHORT, UNDEFINED, Tags, exif

MAIN = {
    0x010F: (ASCII, b"A camera maker\0"),
    0x0112: (SHORT, 6),
    0x011A: (RATIONAL, [300, 1]),
    0x0100: (SHORT, 40),
    0x0101: (SHORT, 30),
}
SUB = {0xA002: (SHORT, 40), 0xA003: (LONG, 30), 0x927C: (UNDEFINED, b"maker note with offsets")}


def no_thumbnail(_: int) -> None:
    return None


def fresh_thumbnail(_: int) -> Thumbnail:
    return Thumbnail(b"\xff\xd8 fresh \xff\xd9", 16, 12)


def corrected(block: bytes, *, width: int = 80, height: int = 60, upright: bool = True) -> bytes:
    data, notes = exif_block.corrected(block, width=width, height=height, upright=upright, make_thumbnail=no_thumbnail)
    assert notes == []
    return data


def read(block: bytes) -> tuple[Image.Exif, dict[int, object]]:
    """Pillow's reading of the main and the EXIF directory."""
    parsed = Image.Exif()
    parsed.load(block)
    return parsed, parsed.get_ifd(0x8769)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_and_sizes_are_corrected_and_nothing_else(order: str) -> None:
    block = exif(MAIN, sub=SUB, order=order)
    assert exif_block.orientation(block) == 6
    result = corrected(block)
    main, sub = read(result)
    assert (main[0x0112], main[0x0100], main[0x0101], sub[0xA002], sub[0xA003]) == (1, 80, 60, 80, 60)
    assert (main[0x010F], sub[0x927C], main[0x011A]) == ("A camera maker", b"maker note with offsets", 300)
    assert len(result) == len(block)
    assert sum(a != b for a, b in zip(block, result, strict=True)) == 5
    assert exif_block.orientation(result) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_sizes_in_the_interoperability_directory_are_corrected(order: str) -> None:
    own = exif({0x1001: (SHORT, 40), 0x1002: (LONG, 30)}, order=order)[8:]
    place = len(exif(MAIN, sub={**SUB, 0xA005: (LONG, 0)}, order=order))
    result = corrected(exif(MAIN, sub={**SUB, 0xA005: (LONG, place)}, order=order) + own)
    assert read(result)[0].get_ifd(0xA005) == {0x1001: 80, 0x1002: 60}


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_size_too_large_for_a_short_becomes_a_long(order: str) -> None:
    main, sub = read(corrected(exif(MAIN, sub=SUB, order=order), width=70_000, height=65_535))
    assert (main[0x0100], main[0x0101], sub[0xA002], sub[0xA003]) == (70_000, 65_535, 70_000, 65_535)


def test_pixels_that_were_not_turned_keep_their_orientation_tag() -> None:
    assert exif_block.orientation(corrected(exif(MAIN), upright=False)) == 6


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_impossible_orientation_means_upright(value: int) -> None:
    assert exif_block.orientation(exif({0x0112: (SHORT, value)})) == 1


def test_a_stale_thumbnail_is_replaced() -> None:
    old = b"\xff\xd8" + bytes(range(256)) * 4 + b"\xff\xd9"
    block = exif(MAIN, sub=SUB, thumbnail=old)
    fresh = io.BytesIO()
    Image.new("RGB", (16, 12), (200, 10, 10)).save(fresh, "JPEG")
    rooms: list[int] = []

    def make(most: int) -> Thumbnail:
        rooms.append(most)
        return Thumbnail(fresh.getvalue(), 16, 12)

    result, notes = exif_block.corrected(block, width=80, height=60, upright=True, make_thumbnail=make)
    assert notes == []
    assert rooms[0] >= len(old)
    place, length = (
        struct.unpack_from("<I", result, result.index(struct.pack("<HHI", tag, LONG, 1)) + 8)[0]
        for tag in (0x0201, 0x0202)
    )
    assert result[place : place + length] == fresh.getvalue()
    assert old not in result


@pytest.mark.parametrize("behind", [b"", b"data of the camera"], ids=["last", "before other data"])
def test_a_thumbnails_directory_tells_the_size_of_the_fresh_one(behind: bytes) -> None:
    small = {0x0100: (LONG, 512), 0x0101: (SHORT, 384)}
    block = exif(MAIN, thumbnail=b"\xff\xd8" + bytes(900) + b"\xff\xd9", small=small) + behind
    result, notes = exif_block.corrected(block, width=80, height=60, upright=True, make_thumbnail=fresh_thumbnail)
    told = Image.Exif()
    told.load(result)
    directory = told.get_ifd(ExifTags.IFD.IFD1)
    assert (directory[0x0100], directory[0x0101], notes) == (16, 12, [])


def test_a_thumbnail_that_holds_its_own_directory_is_none() -> None:
    block = bytearray(exif(MAIN, thumbnail=b"\xff\xd8" + bytes(50) + b"\xff\xd9"))
    entry = block.index(struct.pack("<HHI", 0x0201, LONG, 1))
    main = block.index(b"A camera maker")
    block[main : main + 2] = b"\xff\xd8"
    block[entry + 8 : entry + 12] = struct.pack("<I", main)
    block[entry + 20 : entry + 24] = struct.pack("<I", len(block) - main)
    result, notes = exif_block.corrected(
        bytes(block), width=80, height=60, upright=True, make_thumbnail=fresh_thumbnail
    )
    assert notes == ["the EXIF thumbnail was damaged and was removed"]
    assert not exif_block.has_thumbnail(result)
    assert len(result) == len(block)


def test_a_thumbnail_that_does_not_fit_in_front_of_other_data_is_removed_and_said() -> None:
    old = b"\xff\xd8 old thumbnail \xff\xd9"
    block = exif(MAIN, thumbnail=old) + b"data of the camera behind the thumbnail"

    def make(most: int) -> Thumbnail | None:
        return Thumbnail(b"\xff\xd8" + bytes(500), 16, 12) if most >= 502 else None

    result, notes = exif_block.corrected(block, width=80, height=60, upright=True, make_thumbnail=make)
    assert notes == ["the EXIF thumbnail was removed: a fresh one does not fit in its place"]
    assert not exif_block.has_thumbnail(result)
    assert b"old thumbnail" not in result
    assert result.endswith(b"data of the camera behind the thumbnail")


def test_a_thumbnail_outside_of_the_block_is_removed_and_said() -> None:
    block = bytearray(exif(MAIN, thumbnail=b"\xff\xd8 thumbnail"))
    result, notes = exif_block.corrected(
        bytes(block[:-9]), width=80, height=60, upright=True, make_thumbnail=no_thumbnail
    )
    assert notes == ["the EXIF thumbnail was damaged and was removed"]
    assert not exif_block.has_thumbnail(result)


def test_a_wrong_offset_of_the_thumbnail_costs_nothing_else() -> None:
    note = b"maker note " * 100
    block = bytearray(exif(MAIN, sub={0x927C: (UNDEFINED, note)}, thumbnail=b"\xff\xd8" + bytes(50) + b"\xff\xd9"))
    entry = block.index(struct.pack("<HHI", 0x0201, LONG, 1))
    block[entry + 8 : entry + 12] = struct.pack("<I", block.index(note))
    result, notes = exif_block.corrected(
        bytes(block), width=80, height=60, upright=True, make_thumbnail=fresh_thumbnail
    )
    assert notes == ["the EXIF thumbnail was damaged and was removed"]
    assert not exif_block.has_thumbnail(result)
    assert note in result


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_subject_lies_where_it_is_seen(order: str, orientation: int) -> None:
    stored = np.zeros((24, 40, 1), np.uint8)
    stored[3:8, 30:33] = 1  # 3 wide and 5 high around (31, 5)
    sub: Tags = {
        0x9214: (SHORT, [31, 5, 3, 5]),
        0xA214: (SHORT, [31, 5]),
        0xA20E: (RATIONAL, [1000, 3]),
        0xA20F: (RATIONAL, [500, 7]),
    }
    shown = upright(stored, orientation)
    enlarged = shown.repeat(5, axis=0).repeat(3, axis=1)
    height, width = enlarged.shape[:2]
    result, notes = exif_block.corrected(
        exif({0x0112: (SHORT, orientation)}, sub=sub, order=order),
        width=width,
        height=height,
        upright=True,
        make_thumbnail=no_thumbnail,
        before=(shown.shape[1], shown.shape[0]),
    )
    assert notes == []
    _, tags = read(result)
    rows, columns = np.flatnonzero(enlarged.any((1, 2))), np.flatnonzero(enlarged.any((0, 2)))
    middle = (columns[0] + columns[-1] + 1) // 2, (rows[0] + rows[-1] + 1) // 2
    assert tags[0x9214] == (*middle, len(columns), len(rows))
    assert tags[0xA214] == middle
    per_unit = [1000 / 3, 500 / 7] if orientation < 5 else [500 / 7, 1000 / 3]
    assert [tags[0xA20E], tags[0xA20F]] == pytest.approx([per_unit[0] * 3, per_unit[1] * 5])


def test_a_picture_that_stays_as_it_is_keeps_its_subject() -> None:
    sub: Tags = {0x9214: (SHORT, [39, 0, 7]), 0xA214: (SHORT, [0, 23]), 0xA20E: (RATIONAL, [1, 3])}
    block = exif({0x0112: (SHORT, 1)}, sub=sub)
    assert corrected(block, width=40, height=24) == block


@given(st.binary(max_size=200))
def test_nonsense_comes_back_as_it_is(data: bytes) -> None:
    for block in (data, b"II*\0" + data, b"MM\0*" + data):
        assert 1 <= exif_block.orientation(block) <= 8
        result, _ = exif_block.corrected(block, width=1, height=1, upright=True, make_thumbnail=no_thumbnail)
        assert len(result) == len(block)


@given(st.data())
def test_a_broken_block_never_fails(data: st.DataObject) -> None:
    sub: Tags = {**SUB, 0x9214: (SHORT, [9, 8, 7, 6]), 0xA20E: (RATIONAL, [3, 1]), 0xA20F: (RATIONAL, [4, 1])}
    block = bytearray(
        exif(MAIN, sub=sub, thumbnail=b"\xff\xd8 thumbnail \xff\xd9", order=data.draw(st.sampled_from("<>")))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(block[: data.draw(st.integers(0, len(block)))])
    result, _ = exif_block.corrected(
        cut,
        width=80,
        height=60,
        upright=True,
        make_thumbnail=lambda most: Thumbnail(bytes(min(most, 50)), 16, 12),
        before=(30, 40),
    )
    assert len(result) >= len(cut) - len(b"\xff\xd8 thumbnail \xff\xd9")


values = st.one_of(
    st.tuples(st.just(ASCII), st.binary(min_size=1, max_size=30)),
    st.tuples(st.just(UNDEFINED), st.binary(min_size=1, max_size=30)),
    st.tuples(st.just(SHORT), st.lists(st.integers(0, 65_535), min_size=1, max_size=5)),
    st.tuples(st.just(LONG), st.integers(0, (1 << 32) - 1)),
    st.tuples(st.just(RATIONAL), st.lists(st.integers(0, 1 << 31), min_size=2, max_size=2)),
)
pointers = {0x8769, 0x8825, 0xA005}
corrected_tags = {0x0112} | exif_block.WIDTH_TAGS | exif_block.HEIGHT_TAGS
others = st.integers(1, 65_535).filter(lambda tag: tag not in pointers | corrected_tags)
moved_tags = {0x9214, 0xA214, 0xA20E, 0xA20F, 0x011A, 0x011B}
resting = others.filter(lambda tag: tag not in moved_tags)


@example({}, {0x9214: (SHORT, [65_535, 9]), 0xA20E: (RATIONAL, [3, 1])}, "<")
@given(st.dictionaries(others, values, min_size=1), st.dictionaries(others, values, min_size=1), st.sampled_from("<>"))
def test_any_other_tags_stay_byte_for_byte(main: Tags, sub: Tags, order: str) -> None:
    block = exif(main, sub=sub, order=order)
    assert corrected(block) == block


@given(st.dictionaries(resting, values), st.dictionaries(resting, values), st.sampled_from("<>"), st.integers(1, 8))
def test_any_other_tags_stay_beside_corrected_ones(main: Tags, sub: Tags, order: str, orientation: int) -> None:
    before = exif({**main, 0x0112: (SHORT, orientation)}, sub={**sub, 0xA002: (SHORT, 31)}, order=order)
    after = exif({**main, 0x0112: (SHORT, 1)}, sub={**sub, 0xA002: (SHORT, 80)}, order=order)
    assert exif_block.orientation(before) == orientation
    assert corrected(before) == after


def test_directories_in_a_circle_end() -> None:
    block = bytearray(exif({0x0112: (SHORT, 6)}))
    block[8 + 2 + 12 : 8 + 2 + 12 + 4] = (8).to_bytes(4, "little")  # the next directory is the main one again
    assert exif_block.orientation(bytes(block)) == 6
    corrected(bytes(block))
