"""PNG: every depth and colour type through a restoration, animations frame by frame, broken and hostile files."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_engine.errors import InputError, LiifError, TooLargeError, TruncatedError, UnsupportedError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Limits

from .made import MARKER, SHORT, XMP, chunk, exif, gradient, png, rows
from .pngs import SIGNATURE, XMP_TEXT, Twice, animation, chunks, frame_control, read, twice

__all__ = ["twice"]  # a fixture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_depths_and_colour_types(twice: Twice, channels: int, dtype: type) -> None:
    pixels = gradient(13, 17, channels, dtype)
    before, result = twice(png(pixels))
    np.testing.assert_array_equal(before.frames[0].pixels, pixels)
    witness = imagecodecs.png_decode(result)
    assert witness.dtype == dtype
    np.testing.assert_array_equal(witness.reshape(26, 34, channels)[::2, ::2], pixels)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gray_of_few_bits_is_scaled_to_eight(tmp_path: Path, depth: int) -> None:
    values = np.arange(1 << depth, dtype=np.uint8)
    bits = np.unpackbits(values[:, None], axis=1)[:, 8 - depth :].ravel()
    row = np.packbits(bits)
    head = struct.pack(">IIBBBBB", len(values), 1, depth, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" + row.tobytes()))
    picture = read(tmp_path / "few.png", SIGNATURE + chunk(b"IHDR", head) + body + chunk(b"IEND", b""))
    assert (picture.layout, picture.bits) == ("L", 8)
    assert picture.frames[0].pixels.ravel().tolist() == [round(v * 255 / ((1 << depth) - 1)) for v in range(1 << depth)]


@pytest.mark.parametrize("alpha", [b"", b"\x00\x80"])
def test_palettes_become_colours_with_their_transparency(twice: Twice, alpha: bytes) -> None:
    colours = bytes([10, 20, 30, 200, 100, 50, 7, 8, 9])
    indexes = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)[..., None]
    extra = [(b"PLTE", colours)] + ([(b"tRNS", alpha)] if alpha else [])
    before, result = twice(png(indexes, *extra, colour_type=3))
    assert before.layout == ("RGBA" if alpha else "RGB")
    witness = np.asarray(Image.open(io.BytesIO(result)).convert(before.layout))
    assert witness[0, 0].tolist() == [10, 20, 30] + ([0] if alpha else [])
    assert witness[0, 2].tolist() == [200, 100, 50] + ([128] if alpha else [])
    assert {kind for kind, _ in chunks(result)} & {b"PLTE", b"tRNS"} == set()


def test_gray_palettes_become_gray_unless_a_profile_says_colour(tmp_path: Path) -> None:
    indexes = np.array([[0, 1]], np.uint8)[..., None]
    palette = (b"PLTE", bytes([5, 5, 5, 90, 90, 90]))
    assert read(tmp_path / "gray.png", png(indexes, palette, colour_type=3)).layout == "L"
    profile = (b"iCCP", b"name\0\0" + zlib.compress(b"an RGB profile"))
    assert read(tmp_path / "profile.png", png(indexes, profile, palette, colour_type=3)).layout == "RGB"


@pytest.mark.parametrize(
    ("channels", "dtype", "key"), [(1, np.uint8, (7,)), (3, np.uint8, (1, 2, 3)), (3, np.uint16, (500, 2, 65_535))]
)
def test_a_transparent_colour_becomes_alpha(twice: Twice, channels: int, dtype: type, key: tuple[int, ...]) -> None:
    pixels = gradient(4, 5, channels, dtype)
    pixels[1, 2] = key
    before, _ = twice(png(pixels, (b"tRNS", struct.pack(f">{channels}H", *key))))
    full = np.iinfo(dtype).max
    assert before.layout == ("LA" if channels == 1 else "RGBA")
    alpha = np.full((4, 5), full)
    alpha[1, 2] = 0
    np.testing.assert_array_equal(before.frames[0].pixels[..., -1], alpha)
    np.testing.assert_array_equal(before.frames[0].pixels[..., :-1], pixels)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 5), (9, 16), (40, 33)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_interlaced_files_stay_interlaced(twice: Twice, size: tuple[int, int], dtype: type) -> None:
    from liif_engine.picture.image_file.png_filter import filtered

    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*size, 3), dtype)
    head = struct.pack(">IIBBBBB", size[1], size[0], 8 * pixels.itemsize, 2, 0, 0, 1)
    body = chunk(b"IDAT", b"".join(filtered(pixels, interlaced=True)))
    data = SIGNATURE + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")
    np.testing.assert_array_equal(imagecodecs.png_decode(data), pixels)  # libpng agrees with our passes and filters
    _, result = twice(data)
    assert chunks(result)[0][1][12] == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(tmp_path: Path, orientation: int) -> None:
    block = exif({0x0112: (SHORT, orientation)})
    pixels = gradient(5, 7)
    picture = read(tmp_path / "turned.png", png(pixels, (b"eXIf", block)))
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    from PIL import ImageOps

    np.testing.assert_array_equal(picture.frames[0].pixels, np.asarray(ImageOps.exif_transpose(image)))
    assert (picture.width, picture.height) == ((5, 7) if orientation >= 5 else (7, 5))


def test_the_marker_is_read_back(twice: Twice, tmp_path: Path) -> None:
    _, result = twice(png(gradient(4, 4)))
    path = tmp_path / "marked.png"
    path.write_bytes(result)
    assert image_file.read_marker(path) == MARKER


# Animations


def drawn(parts: list[Any], places: list[tuple[int, int]], disposal: int, blend: int) -> list[Any]:
    """The standard's words on drawing frames, pixel by pixel; alpha is 0 or 255."""
    canvas = np.zeros_like(parts[0])
    shown = []
    for index, (part, (top, left)) in enumerate(zip(parts, places, strict=True)):
        before = canvas.copy()
        for y, x in np.ndindex(part.shape[:2]):
            if blend == 0 or part[y, x, 3] == 255:
                canvas[top + y, left + x] = part[y, x]
        shown.append(canvas.copy())
        area = canvas[top : top + part.shape[0], left : left + part.shape[1]]
        if disposal == 1 or (disposal == 2 and index == 0):
            area[...] = 0
        elif disposal == 2:
            canvas = before
    return shown


def shown_by_pillow(data: bytes) -> list[Any]:
    image = Image.open(io.BytesIO(data))
    frames = []
    for index in range(image.n_frames):
        image.seek(index)
        frames.append(np.asarray(image.convert("RGBA")))
    return frames


@pytest.mark.parametrize("disposal", [0, 1, 2])
@pytest.mark.parametrize("blend", [0, 1])
def test_every_frame_with_its_time_and_the_loop(twice: Twice, disposal: int, blend: int) -> None:
    random = np.random.default_rng(1)
    parts = [random.integers(0, 256, (h, w, 4), np.uint8) for h, w in [(8, 10), (3, 4), (5, 2), (8, 10)]]
    for part in parts:
        part[..., 3] = np.where(part[..., 3] < 128, 0, 255)
    places = [(0, 0), (2, 3), (1, 8), (0, 0)]
    times = [(1, 10), (0, 0), (3, 0), (65_535, 1000)]
    controls = [
        frame_control(0, part.shape[:2], place, *time, disposal, blend)
        for part, place, time in zip(parts, places, times, strict=True)
    ]
    before, result = twice(animation(parts, controls, plays=3))
    for ours, oracle in zip(before.frames, drawn(parts, places, disposal, blend), strict=True):
        np.testing.assert_array_equal(ours.pixels, oracle)
    image = Image.open(io.BytesIO(result))
    assert (image.n_frames, image.info["loop"]) == (4, 3)
    assert [frame.duration for frame in before.frames] == [(1, 10), (0, 100), (3, 100), (65_535, 1000)]
    delays = [struct.unpack_from(">HH", data, 20) for kind, data in chunks(result) if kind == b"fcTL"]
    assert [n / d for n, d in delays] == [0.1, 0, 0.03, 65.535]
    for ours, written in zip(before.frames, shown_by_pillow(result), strict=True):
        np.testing.assert_array_equal(written[::2, ::2], ours.pixels)


@pytest.mark.parametrize(("second", "disposal"), [((6, 6), 1), ((2, 3), 1), ((2, 3), 2)])
def test_where_an_opaque_frame_was_cleared_away_nothing_is_drawn(
    twice: Twice, second: tuple[int, int], disposal: int
) -> None:
    parts = [gradient(6, 6) // 2, gradient(*second) // 3]
    controls = [frame_control(0, part.shape[:2], (0, 0), 1, 5, disposal, 0) for part in parts]
    before, result = twice(animation(parts, controls, plays=0))
    opaque = [np.dstack([part, np.full(part.shape[:2], 255, np.uint8)]) for part in parts]
    for ours, oracle in zip(before.frames, drawn(opaque, [(0, 0)] * 2, disposal, 0), strict=True):
        np.testing.assert_array_equal(ours.pixels, oracle)
    for ours, written in zip(before.frames, shown_by_pillow(result), strict=True):
        np.testing.assert_array_equal(written[::2, ::2], ours.pixels)


def test_a_still_for_other_viewers_stays_hidden(twice: Twice) -> None:
    still, parts = gradient(6, 6, 4), [gradient(6, 6, 4) // 2, gradient(6, 6, 4) // 3]
    controls = [frame_control(0, (6, 6), (0, 0), 1, 5, 0, 0)] * 2
    before, result = twice(animation(parts, controls, plays=0, hidden=still))
    assert [frame.hidden for frame in before.frames] == [True, False, False]
    kinds = [kind for kind, _ in chunks(result) if kind in {b"acTL", b"IDAT", b"fcTL", b"fdAT"}]
    assert kinds == [b"acTL", b"IDAT", b"fcTL", b"fdAT", b"fcTL", b"fdAT"]


def test_contradictory_animations_are_refused(tmp_path: Path) -> None:
    parts, controls = [gradient(4, 4, 4)] * 2, [frame_control(0, (4, 4), (0, 0), 1, 5, 0, 0)] * 2
    whole = animation(parts, controls, plays=0)
    outside = animation(parts, [controls[0], frame_control(0, (4, 4), (1, 0), 1, 5, 0, 0)], plays=0)
    lying = whole.replace(chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"acTL", struct.pack(">II", 900, 0)))
    first = chunk(*controls[0])
    small = whole.replace(first, chunk(*frame_control(0, (2, 2), (0, 0), 1, 5, 0, 0)))
    assert first in whole
    with pytest.raises(InputError, match="first frame"):
        read(tmp_path / "odd.png", small)
    for data in (outside, lying, whole.replace(first, b"")):
        with pytest.raises(InputError):
            read(tmp_path / "odd.png", data)
    with pytest.raises(TooLargeError, match="frames"):
        read(tmp_path / "whole.png", whole, limits=Limits(max_frames=1))


# Broken and hostile files


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_cut_file_is_refused_unless_allowed(tmp_path: Path, share: float, dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (64, 40, 3), dtype)
    data, path = png(pixels), tmp_path / "cut.png"
    cut = data[: int(len(data) * share)]
    with pytest.raises(TruncatedError):
        read(path, cut)
    picture = read(path, cut, allow_truncated=True)
    there = int(64 * share) - 4
    np.testing.assert_array_equal(picture.frames[0].pixels[:there], pixels[:there])
    assert not picture.frames[0].pixels[-1].any()


def test_a_side_that_libpng_refuses_is_refused_before_it(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 1_000_001, 1, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1_000_002)))
    with pytest.raises(UnsupportedError, match="1,000,001 x 1 pixels"):
        read(tmp_path / "wide.png", SIGNATURE + chunk(b"IHDR", head) + body + chunk(b"IEND", b""))


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (1 << 31, 1)])
def test_a_size_that_png_does_not_have_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    data = SIGNATURE + head + chunk(b"IDAT", zlib.compress(bytes(6))) + chunk(b"IEND", b"")
    with pytest.raises(InputError, match=f"says {size[0]} x {size[1]} pixels"):
        read(tmp_path / "none.png", data)


def test_what_comes_before_a_broken_place_is_read_and_no_row_twice(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    coder = zlib.compressobj()
    there = coder.compress(b"".join(b"\0" + row.tobytes() for row in pixels[:40])) + coder.flush(zlib.Z_FULL_FLUSH)
    data = png(pixels).replace(chunk(b"IDAT", rows(pixels)), chunk(b"IDAT", there + b"\xff" * 9000))
    with pytest.raises(TruncatedError):
        read(tmp_path / "broken.png", data)
    picture = read(tmp_path / "broken.png", data, allow_truncated=True)
    np.testing.assert_array_equal(picture.frames[0].pixels[:30], pixels[:30])
    assert not picture.frames[0].pixels[40:].any()


def test_pixels_that_stop_before_a_whole_end_are_noticed(tmp_path: Path) -> None:
    pixels = gradient(20, 20)
    short = chunk(b"IDAT", rows(pixels[:10]))
    data = png(pixels).replace(chunk(b"IDAT", rows(pixels)), short)
    with pytest.raises(TruncatedError, match="50%"):
        read(tmp_path / "short.png", data)
    assert read(tmp_path / "short.png", data, allow_truncated=True).height == 20


def test_bombs_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(TooLargeError, match="40,000,000,000 pixels"):
        read(tmp_path / "bomb.png", SIGNATURE + chunk(b"IHDR", head) + body + chunk(b"IEND", b""))
    head = struct.pack(">IIBBBBB", 15_000, 15_000, 8, 2, 0, 0, 0)
    with pytest.raises(TruncatedError, match="can hold at most"):
        read(tmp_path / "liar.png", SIGNATURE + chunk(b"IHDR", head) + body + chunk(b"IEND", b""))


def test_wrong_checksums_and_names_are_refused(tmp_path: Path) -> None:
    data = png(gradient(4, 4), (b"tEXt", b"Title\0text"))
    for old, new, words in [
        (b"text", b"texT", "checksum of a tEXt"),
        (b"tEXt", b"t\0Xt", "no PNG chunk"),
        (b"IHDR", b"IHDX", "checksum of a IHDX"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            read(tmp_path / "broken.png", data.replace(old, new, 1))
        assert caught.value.path == tmp_path / "broken.png"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_end_in_words(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Chunks are damaged under a right checksum, or no damage would get past it."""
    parts = [gradient(6, 6, 4)] * 2
    controls = [frame_control(0, (6, 6), (0, 0), 1, 5, 1, 1)] * 2
    extra = [(b"PLTE", bytes(9)), (b"tRNS", bytes(6)), (b"bKGD", bytes(6)), (b"eXIf", exif({0x0112: (SHORT, 6)}))]
    still = png(gradient(6, 6), *extra, (b"iTXt", XMP_TEXT + XMP), (b"zTXt", b"a\0\0" + zlib.compress(b"text")))
    items = chunks(data.draw(st.sampled_from([still, animation(parts, controls, plays=1)])))
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(items) - 1))
        kind, content = items[index]
        action = data.draw(st.sampled_from(["byte", "cut", "drop", "twice", "rename"]))
        if action == "byte" and content:
            at = data.draw(st.integers(0, min(len(content), 30) - 1))
            items[index] = kind, content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :]
        elif action == "cut":
            items[index] = kind, content[: data.draw(st.integers(0, len(content)))]
        elif action == "drop" and len(items) > 1:
            del items[index]
        elif action == "twice":
            items.insert(index, items[index])
        elif action == "rename":
            items[index] = data.draw(st.sampled_from([b"IDAT", b"fdAT", b"fcTL", b"iCCP", b"tRNS"])), content
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(SIGNATURE + b"".join(chunk(*item) for item in items))
    try:
        picture = image_file.read(path, limits=Limits(max_pixels=1_000_000), allow_truncated=data.draw(st.booleans()))
    except LiifError as error:
        assert error.path == path  # noqa: PT017 - either outcome is right
    else:
        shape = picture.height, picture.width, len(picture.layout)
        assert all(frame.pixels.shape == shape for frame in picture.frames)
