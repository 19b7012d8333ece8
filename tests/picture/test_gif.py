"""GIF: pixels and disposal, palettes, every block, broken files."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_engine.errors import InputError, LiifError, TooLargeError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import gif, gif_blocks
from liif_engine.picture.image_file.contents import Density, Frame, Limits, Metadata, Pixels
from liif_engine.picture.image_file.lzw import unpack_what_is_there
from liif_engine.picture.image_file.room import Order

LIMITS = Limits()
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def flat(colour: tuple[int, int, int], *, height: int = 6, width: int = 8) -> Image.Image:
    image = Image.new("P", (width, height), 0)
    image.putpalette([*colour, 9, 9, 9, 7, 8, 9])
    return image


def saved(*images: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=len(images) > 1, append_images=images[1:], **options)
    return file.getvalue()


def read(data: bytes) -> list[Frame]:
    return gif.decode(data, gif.inspect(data, LIMITS), allow_truncated=False)


def again(data: bytes) -> bytes:
    header = gif.inspect(data, LIMITS)
    frames = gif.decode(data, header, allow_truncated=False)
    return gif.encode(Order(frames, header.layout, header.metadata, 90))[0]


def written(*pixels: Pixels, layout: str, **fields: object) -> tuple[bytes, list[str]]:
    metadata = replace(Metadata("PNG"), **fields)
    return gif.encode(Order([Frame(p, (7, 100)) for p in pixels], layout, metadata, 90))


def raw(*parts: bytes, screen: tuple[int, int] = (8, 6)) -> bytes:
    """A file of two gray levels, from blocks as they are."""
    head = b"GIF89a" + screen[0].to_bytes(2, "little") + screen[1].to_bytes(2, "little") + b"\x80\0\0"
    return head + bytes([0, 0, 0, 255, 255, 255]) + b"".join(parts) + b";"


def block(x: int, y: int, *, disposal: int = 0, transparent: bool = False) -> bytes:
    """A 2 x 2 picture, white but for its black (or transparent) last pixel."""
    control = b"!\xf9\x04" + bytes([disposal << 2 | transparent, 5, 0, 0, 0])
    place = b"," + b"".join(v.to_bytes(2, "little") for v in (x, y, 2, 2)) + b"\0"
    return control + place + b"\2" + gif_blocks.subblocks(_codes([4, 1, 1, 4, 1, 0, 5], 3))


def _codes(codes: list[int], width: int) -> bytes:
    number = sum(code << width * place for place, code in enumerate(codes))
    return number.to_bytes(-(-len(codes) * width // 8), "little")


def test_palettes_become_colours_and_are_found_again() -> None:
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (200, 3), np.uint8)
    pixels = colours[random.integers(0, 200, (31, 40))]
    data = saved(Image.fromarray(pixels).quantize(256))
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    result = again(data)
    np.testing.assert_array_equal(read(data)[0].pixels, reference)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(result)).convert("RGB")), reference)


def test_a_gray_palette_is_gray_and_all_256_levels_stay() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    data, notes = written(pixels, layout="L")
    assert notes == []
    assert gif.inspect(data, LIMITS).layout == "L"
    np.testing.assert_array_equal(read(data)[0].pixels, pixels)


def test_more_colours_than_a_palette_are_dithered_and_said() -> None:
    y, x = np.mgrid[0:64, 0:64]
    pixels = np.stack([x * 4, y * 4, (x + y) * 2], axis=2).astype(np.uint8)
    data, notes = written(pixels, layout="RGB")
    result = read(data)[0].pixels.astype(float)
    assert "256" in notes[0]
    assert len(np.unique(result.reshape(-1, 3), axis=0)) > 200
    blocks = (result - pixels).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    assert np.abs(blocks).max() < 4  # dithering keeps the colour of an area


def test_transparency_stays_hard_and_soft_edges_are_said() -> None:
    pixels = np.random.default_rng(0).integers(0, 4, (9, 9, 4), np.uint8) * 60
    pixels[..., 3] = np.where(np.arange(9) < 4, 0, 255)
    data, notes = written(pixels, layout="RGBA")
    [frame] = read(data)
    np.testing.assert_array_equal(frame.pixels[:, 4:], pixels[:, 4:])
    assert (frame.pixels[:, :4] == 0).all()
    assert notes == []
    pixels[0, :, 3] = [0, 1, 127, 128, 254, 255, 255, 255, 255]
    data, notes = written(pixels, layout="RGBA")
    assert "partial transparency" in notes[0]
    np.testing.assert_array_equal(read(data)[0].pixels[0, :, 3], [0, 0, 0, 255, 255, 255, 255, 255, 255])


def test_256_colours_and_transparency_are_one_too_many() -> None:
    pixels = np.zeros((16, 17, 4), np.uint8)
    pixels[:, :16, :3] = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    pixels[:, :16, 3] = 255
    data, notes = written(pixels, layout="RGBA")
    result = read(data)[0].pixels
    assert "256" in notes[0]
    np.testing.assert_array_equal(result[..., -1], pixels[..., -1])
    assert np.abs(result[:, :16, 0].astype(int) - pixels[:, :16, 0]).max() < 8


def test_disposal_is_resolved() -> None:
    data = raw(
        block(0, 0, disposal=1),
        block(2, 0, disposal=2),
        block(4, 0, disposal=3, transparent=True),
        block(6, 4, disposal=1),
    )
    shown = [frame.pixels for frame in read(data)]
    assert shown[0].shape == (6, 8, 2)
    white, black, nothing = [255, 255], [0, 255], [0, 0]
    assert shown[1][0, :4].tolist() == [white] * 4
    assert shown[1][1, :5].tolist() == [white, black, white, black, nothing]
    assert shown[2][0].tolist() == [white, white, nothing, nothing, white, white, nothing, nothing]
    assert shown[2][1, 5].tolist() == nothing
    assert shown[3][0].tolist() == [white, white, *[nothing] * 6]
    assert shown[3][4, 6:].tolist() == [white, white]


def test_an_opaque_animation_stays_opaque_and_stores_what_changed() -> None:
    first = np.random.default_rng(1).integers(0, 256, (40, 40, 1), np.uint8)
    second = first.copy()
    second[10:13, 5:9] ^= 255
    data, _ = written(first, second, second, layout="L", loop=0)
    header = gif.inspect(data, LIMITS)
    assert header.layout == "L"
    assert [(part.y, part.x, part.height, part.width) for part in header.plan] == [
        (0, 0, 40, 40),
        (10, 5, 3, 4),
        (0, 0, 1, 1),
    ]
    for frame, pixels in zip(read(data), (first, second, second), strict=True):
        np.testing.assert_array_equal(frame.pixels, pixels)


def test_pixels_may_vanish() -> None:
    first = np.full((5, 5, 4), 255, np.uint8)
    second = first.copy()
    second[1:3] = 0
    data, _ = written(first, second, first, layout="RGBA")
    for frame, pixels in zip(read(data), (first, second, first), strict=True):
        np.testing.assert_array_equal(frame.pixels[..., -1], pixels[..., -1])
    image = Image.open(io.BytesIO(data))
    image.seek(1)
    np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., 3], second[..., 3])


@pytest.mark.parametrize("loop", [None, 0, 1, 7])
def test_times_and_loop(loop: int | None) -> None:
    options = {} if loop is None else {"loop": loop}
    data = saved(flat(RED), flat(GREEN), flat(BLUE), duration=[10, 250, 0], **options)
    plays = {None: 1, 0: 0, 1: 2, 7: 8}[loop]
    result = again(data)
    for file in (data, result):
        assert gif.inspect(file, LIMITS).metadata.loop == plays
        assert [frame.duration for frame in read(file)] == [(1, 100), (25, 100), (0, 100)]
    assert Image.open(io.BytesIO(result)).info.get("loop") == loop
    foreign, _ = written(*[frame.pixels for frame in read(data)], layout="RGB", loop=plays)
    assert gif.inspect(foreign, LIMITS).metadata.loop == plays


def test_every_block_comes_back() -> None:
    data = (
        raw(
            b"!\xfe" + gif_blocks.subblocks(b"first comment" * 40),
            b"!\xff\x0bXMP DataXMP" + b"<x/>" + gif_blocks._XMP_TRAILER,
            b"!\xff\x0bICCRGBG1012" + gif_blocks.subblocks(b"profile" * 50),
            b"!\xff\x0bSOMEAPP 1.0\x02ab\x01c\0",
            b"!\x99\x03odd\0",
            block(0, 0),
            b"!\xfe\x04late\0",
        )
        + b"behind the end"
    )
    data = data[:12] + bytes([49]) + data[13:]
    metadata = gif.inspect(data, LIMITS).metadata
    assert metadata.xmp == b"<x/>"
    assert metadata.icc == b"profile" * 50
    assert metadata.comments == (b"first comment" * 40, b"late")
    assert metadata.density == Density((64, 1), (64, 1), "aspect")
    result = again(data)
    kept = gif.inspect(result, LIMITS).metadata
    assert kept == metadata
    assert result.endswith(b";behind the end")
    assert Image.open(io.BytesIO(result)).info["comment"] == b"first comment" * 40


def test_interlacing_stays() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (37, 20, 1), np.uint8)
    data = saved(Image.fromarray(pixels[..., 0]), interlace=1)
    result = again(data)
    assert gif.inspect(data, LIMITS).metadata.progressive
    assert gif.inspect(result, LIMITS).metadata.progressive
    np.testing.assert_array_equal(read(result)[0].pixels, pixels)


@pytest.mark.parametrize("interlace", [0, 1])
def test_cut_files(interlace: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (40, 40), np.uint8)
    pixels[0, 0] = 1
    whole = saved(Image.fromarray(pixels), interlace=interlace)
    data = whole[: len(whole) * 2 // 3]
    header = gif.inspect(data, LIMITS)
    assert header.cut is not None
    [frame] = gif.decode(data, header, allow_truncated=True)
    kept = (frame.pixels[..., 0] == pixels).mean()
    assert 0.4 < kept < 0.9
    with pytest.raises(TruncatedError, match="%"):
        gif.decode(data, header, allow_truncated=False)


def test_pillows_own_limit_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = again(saved(flat(RED)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    assert read(data)[0].pixels.shape == (6, 8, 3)


def test_the_slow_decoder_agrees_with_the_fast_one() -> None:
    for seed, levels in enumerate([2, 4, 16, 256]):
        pixels = np.random.default_rng(seed).integers(0, levels, (50, 61), np.uint8)
        pixels[20:] = 1
        [part] = gif_blocks.take_apart(saved(Image.fromarray(pixels), interlace=0, optimize=False), LIMITS).parts
        there = unpack_what_is_there(part.packed, part.code_size, pixels.size)
        assert there == pixels.tobytes()


def test_the_first_frame_enlarges_the_screen_and_later_ones_are_clipped() -> None:
    header = gif.inspect(raw(block(0, 0), block(2, 1), screen=(1, 1)), LIMITS)
    assert (header.width, header.height) == (2, 2)
    assert "outside" in header.metadata.notes[-1]
    assert len(gif.decode(b"", header, allow_truncated=False)) == 2


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"GIF88a" + bytes(20), InputError, "not a GIF"),
        (raw(b"?"), InputError, "no GIF block"),
        (raw(), TruncatedError, "before the first picture"),
        (raw(b"," + bytes(9) + b"\2\0"), InputError, "0 x 0"),
        (raw(b",\0\0\0\0\1\0\1\0\0\x20\0"), InputError, "32 bits"),
        (raw(b"!\x01\x01a\0", block(0, 0)), UnsupportedError, "draws text"),
        (raw(b"!\xff\x0bC2PA_GIF\1\0\0\4data\0", block(0, 0)), UnsupportedError, "Content Credentials"),
    ],
)
def test_broken_files_are_refused_in_words(data: bytes, kind: type[LiifError], words: str) -> None:
    with pytest.raises(kind, match=words):
        gif.inspect(data, LIMITS)


def test_limits_hold_before_pixels() -> None:
    huge = b",\0\0\0\0\xff\xff\xff\xff\0\2" + gif_blocks.subblocks(b"\x44")
    with pytest.raises(TooLargeError, match="pixels together"):
        gif.inspect(raw(block(0, 0), huge), LIMITS)
    assert "can hold at most" in str(gif.inspect(raw(huge), Limits(max_pixels=1 << 33)).cut)
    with pytest.raises(TooLargeError, match="metadata") as refused:
        gif.inspect(raw(b"!\xfe" + gif_blocks.subblocks(bytes(2000)), block(0, 0)), Limits(max_metadata_bytes=1999))
    assert "exiftool" in refused.value.remedy
    with pytest.raises(TooLargeError, match="blocks"):
        gif.inspect(raw(*[b"!\xfe\0"] * 9, block(0, 0)), Limits(max_pieces=9))


def test_sub_blocks_of_one_byte_each_take_no_more_memory_than_long_ones() -> None:
    data = raw(b"!\xfe" + b"\1x" * 1_000_000 + b"\0", block(0, 0))
    tracemalloc.start()
    try:
        gif.inspect(data, LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    finally:
        tracemalloc.stop()


texts = st.binary(min_size=1, max_size=600)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, max_size=3), st.none() | texts, st.none() | st.text(min_size=1, max_size=600), st.integers(0, 9))
def test_random_metadata_comes_back(comments: list[bytes], icc: bytes | None, xmp: str | None, loop: int) -> None:
    packet = None if xmp is None else xmp.replace("\0", "").encode("utf-8", "ignore") or None
    fields = {"comments": tuple(comments), "icc": icc, "xmp": packet, "loop": loop}
    pixels = np.zeros((2, 2, 3), np.uint8)
    data, _ = written(pixels, pixels + 1, layout="RGB", **fields)
    for file in (data, again(data)):
        metadata = gif.inspect(file, LIMITS).metadata
        assert {name: getattr(metadata, name) for name in fields} == fields


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutations_end_in_pixels_or_in_words(data: st.DataObject) -> None:
    file = bytearray(raw(block(0, 0, disposal=2), b"!\xfe\x04late\0", block(1, 1, transparent=True), block(3, 3)))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(6, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = gif.inspect(bytes(file), LIMITS)
        if header.width * header.height > 1 << 20:
            return
        frames = gif.decode(bytes(file), header, allow_truncated=True)
    except LiifError:
        return
    assert all(frame.pixels.shape == (header.height, header.width, len(header.layout)) for frame in frames)
