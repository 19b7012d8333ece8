"""WebP: pixels against Pillow, every field of the metadata, animation, broken files."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_engine.errors import InputError, LiifError, TooLargeError, UnsupportedError
from liif_engine.picture.image_file import webp, webp_chunks
from liif_engine.picture.image_file.contents import Frame, Limits, Metadata, Piece, Pixels
from liif_engine.picture.image_file.room import Order

from . import made

LIMITS = Limits()


def smooth(height: int, width: int, channels: int, *, seed: int = 0) -> Pixels:
    """A picture that lossy coding hardly changes."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (3, 3, channels), np.uint8)
    planes = [np.asarray(Image.fromarray(small[..., c]).resize((width, height))) for c in range(channels)]
    return np.stack(planes, axis=2)


def saved(pixels: Pixels, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", **options)
    return file.getvalue()


def again(data: bytes, *, quality: int = 95) -> bytes:
    """The file read and written once."""
    header = webp.inspect(data, LIMITS)
    frames = webp.decode(data, header, allow_truncated=False)
    encoded, notes = webp.encode(Order(frames, header.layout, header.metadata, quality))
    assert notes == []
    return encoded


def pillow_frames(data: bytes) -> list[Pixels]:
    image = Image.open(io.BytesIO(data))
    frames = []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        frames.append(np.asarray(image))
    return frames


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("lossless", [True, False])
def test_pixels_are_pillows(channels: int, lossless: bool) -> None:
    data = saved(smooth(23, 31, channels), lossless=lossless, exact=True)
    header = webp.inspect(data, LIMITS)
    [frame] = webp.decode(data, header, allow_truncated=False)
    assert (header.width, header.height, header.layout) == (31, 23, "RGBA" if channels == 4 else "RGB")
    assert header.metadata.lossless is lossless
    np.testing.assert_array_equal(frame.pixels, pillow_frames(data)[0])


@pytest.mark.parametrize("channels", [3, 4])
def test_lossless_stays_lossless_even_under_transparent_pixels(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (19, 20, channels), np.uint8)
    pixels[:9, :, 3:] = 0
    data = again(saved(pixels, lossless=True, exact=True))
    assert webp.inspect(data, LIMITS).metadata.lossless
    np.testing.assert_array_equal(pillow_frames(data)[0], pixels)


def test_lossy_result_is_lossy_and_close() -> None:
    pixels = smooth(64, 48, 4)
    pixels[..., 3] |= 128
    data = again(saved(pixels, quality=95))
    assert not webp.inspect(data, LIMITS).metadata.lossless
    assert np.abs(pillow_frames(data)[0].astype(int) - pixels).mean() < 3


def test_gray_becomes_rgb() -> None:
    gray = smooth(9, 8, 2)
    metadata = Metadata("PNG", lossless=True)
    data, _ = webp.encode(Order([Frame(gray)], "LA", metadata, 90))
    np.testing.assert_array_equal(pillow_frames(data)[0], gray[..., [0, 0, 0, 1]])


def test_every_chunk_comes_back_in_its_place() -> None:
    plain = webp_chunks.take_apart(saved(smooth(8, 8, 3)), LIMITS).all[0]
    chunk = webp_chunks.chunk_bytes
    parts = [
        webp_chunks.extended_header(8, 8, 0x2C),
        chunk(b"ICCP", b"profile"),
        chunk(b"abcd", b"early"),
        chunk(plain.kind, plain.data),
        chunk(b"XMP ", b"<x/>"),
        chunk(b"EXIF", b"Exif\0\0II*\0\x08\0\0\0\0\0"),
        chunk(b"efgh", b"late."),
        chunk(b"XMP ", b"second"),
    ]
    data = webp_chunks.riff(b"".join(parts)) + b"behind the container"
    header = webp.inspect(data, LIMITS)
    metadata = header.metadata
    assert (metadata.icc, metadata.xmp) == (b"profile", b"<x/>")
    assert metadata.exif == b"II*\0\x08\0\0\0\0\0"
    result = again(data)
    kept = webp_chunks.take_apart(result, LIMITS)
    wanted = webp_chunks.take_apart(data, LIMITS)
    pixels = {b"VP8 ", b"VP8L"}
    assert [c for c in kept.all if c.kind not in pixels] == [c for c in wanted.all if c.kind not in pixels]
    assert kept.after == b"behind the container"
    assert Image.open(io.BytesIO(result)).info["icc_profile"] == b"profile"


def test_content_credentials_are_refused() -> None:
    [plain] = webp_chunks.take_apart(saved(smooth(8, 8, 3)), LIMITS).all
    parts = [webp_chunks.extended_header(8, 8, 0), webp_chunks.chunk_bytes(plain.kind, plain.data)]
    with pytest.raises(UnsupportedError, match="Content Credentials"):
        webp.inspect(webp_chunks.riff(b"".join([*parts, webp_chunks.chunk_bytes(b"C2PA", b"manifest")])), LIMITS)


def test_a_marker_needs_no_chunk_to_have_been_there() -> None:
    data, _ = webp.encode(Order([Frame(smooth(5, 5, 3))], "RGB", Metadata("JPEG", xmp=b"<x/>", exif=b"II"), 90))
    metadata = webp.inspect(data, LIMITS).metadata
    assert (metadata.xmp, metadata.exif) == (b"<x/>", b"II")
    assert Image.open(io.BytesIO(data)).info["xmp"] == b"<x/>"


def animation(*, lossless: bool = True) -> bytes:
    """Four frames, the second a part of the picture, with changing times."""
    first = smooth(30, 40, 4, seed=1)
    second = first.copy()
    second[5:9, 7:30] = 255 - second[5:9, 7:30]
    images = [Image.fromarray(p) for p in (first, second, second, smooth(30, 40, 4, seed=2))]
    file = io.BytesIO()
    options = {"duration": [10, 20, 0, 70_000], "loop": 3, "background": (1, 2, 3, 4), "lossless": lossless}
    images[0].save(file, "WEBP", save_all=True, append_images=images[1:], **options)
    return file.getvalue()


@pytest.mark.parametrize("lossless", [True, False])
def test_animation_keeps_frames_times_loop_and_background(lossless: bool) -> None:
    data = animation(lossless=lossless)
    header = webp.inspect(data, LIMITS)
    frames = webp.decode(data, header, allow_truncated=False)
    for frame, reference in zip(frames, pillow_frames(data), strict=True):
        visible = reference[..., 3] > 0
        np.testing.assert_array_equal(frame.pixels[visible][:, : reference.shape[2]], reference[visible])
    result = again(data)
    kept = webp.inspect(result, LIMITS)
    assert kept.metadata.loop == 3
    assert Piece("<BACKGROUND>", bytes([3, 2, 1, 4])) in kept.metadata.pieces
    shown = webp.decode(result, kept, allow_truncated=False)
    assert [frame.duration for frame in shown] == [frame.duration for frame in frames]
    if lossless:
        for frame, before in zip(shown, frames, strict=True):
            np.testing.assert_array_equal(frame.pixels, before.pixels)


@pytest.mark.parametrize("background", [(0, 0, 0, 0), (255, 255, 255, 255)])
def test_a_background_colour_that_another_format_lacks_is_said(tmp_path: Path, background: tuple[int, ...]) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green")]
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": frames[1:],
        "background": background,
        "lossless": True,
    }
    frames[0].save(tmp_path / "a.webp", **options)
    notes = made.restored(tmp_path / "a.webp", tmp_path / "a.png", format="PNG")
    assert notes == ["the background colour, which viewers ignore, was left out"] * any(background)


def test_an_animation_of_both_kinds_is_said_to_become_lossy() -> None:
    chunk, triple = webp_chunks.chunk_bytes, webp_chunks.triple
    frames = b""
    for lossless in (True, False):
        image = webp_chunks.take_apart(saved(smooth(4, 4, 3), lossless=lossless), LIMITS).all[0]
        head = triple(0) + triple(0) + triple(3) + triple(3) + triple(10) + b"\2"
        frames += chunk(b"ANMF", head + chunk(image.kind, image.data))
    head = webp_chunks.extended_header(4, 4, webp_chunks.ANIMATION_FLAG)
    metadata = webp.inspect(webp_chunks.riff(head + chunk(b"ANIM", bytes(6)) + frames), LIMITS).metadata
    assert not metadata.lossless
    assert "become lossy" in metadata.notes[0]


def test_a_cleared_frame_leaves_transparency() -> None:
    chunk, triple = webp_chunks.chunk_bytes, webp_chunks.triple
    images = [webp_chunks.take_apart(saved(smooth(4, 4, 3, seed=s), lossless=True), LIMITS).all[0] for s in (1, 2)]
    frames = b""
    for image, x, disposal in ((images[0], 0, 1), (images[1], 2, 0)):
        head = triple(x) + triple(0) + triple(3) + triple(3) + triple(10) + bytes([disposal])
        frames += chunk(b"ANMF", head + chunk(image.kind, image.data))
    head = webp_chunks.extended_header(8, 4, webp_chunks.ANIMATION_FLAG)
    data = webp_chunks.riff(head + chunk(b"ANIM", bytes(6)) + frames)
    header = webp.inspect(data, LIMITS)
    first, second = webp.decode(data, header, allow_truncated=False)
    assert header.layout == "RGBA"
    assert (first.pixels[:, 4:] == 0).all()
    assert (second.pixels[:, :4] == 0).all()
    np.testing.assert_array_equal(second.pixels[:, 4:, :3], smooth(4, 4, 3, seed=2))


def test_cut_files_say_so_and_give_what_is_there() -> None:
    pixels = smooth(200, 200, 3)
    data = saved(pixels, quality=95)
    cut = data[: len(data) * 3 // 4]
    header = webp.inspect(cut, LIMITS)
    assert header.cut is not None
    assert "ends early" in header.cut
    [frame] = webp.decode(cut, header, allow_truncated=True)
    assert np.abs(frame.pixels[:60].astype(int) - pixels[:60]).mean() < 8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"RIFF\4\0\0\0WEBX", "not a WebP"),
        (webp_chunks.riff(webp_chunks.chunk_bytes(b"VP8L", b"\x2e" + bytes(20))), "lossless WebP data is damaged"),
        (webp_chunks.riff(webp_chunks.chunk_bytes(b"VP8 ", b"\0" * 20)), "lossy WebP data is damaged"),
        (webp_chunks.riff(webp_chunks.chunk_bytes(b"ANMF", b"\0" * 20)), "without its header"),
        (webp_chunks.riff(b"VP8L" + struct.pack("<I", 1000) + b"\x2f" + bytes(20)), "longer than the file says"),
    ],
)
def test_broken_files_are_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        webp.inspect(data, LIMITS)


def test_limits_hold_before_pixels() -> None:
    data = saved(smooth(8, 8, 3), exif=b"Exif\0\0" + bytes(1000), xmp=b"x" * 1000)
    with pytest.raises(TooLargeError, match="metadata"):
        webp.inspect(data, Limits(max_metadata_bytes=1999))
    with pytest.raises(TooLargeError, match="chunks"):
        webp.inspect(data, Limits(max_pieces=2))


blobs = st.none() | st.binary(min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(blobs, blobs, blobs, st.lists(st.tuples(st.sampled_from(["abcd", "zzzz"]), blobs, st.booleans()), max_size=4))
def test_random_metadata_comes_back(
    exif: bytes | None, icc: bytes | None, xmp: bytes | None, unknown: list[tuple[str, bytes | None, bool]]
) -> None:
    pieces = tuple(Piece(kind, data or b"", late) for kind, data, late in sorted(unknown, key=lambda piece: piece[2]))
    metadata = Metadata("WEBP", exif=exif, icc=icc, xmp=xmp, pieces=pieces, lossless=True)
    data, _ = webp.encode(Order([Frame(smooth(3, 2, 3))], "RGB", metadata, 90))
    kept = webp.inspect(data, LIMITS).metadata
    prefix = webp_chunks.EXIF_PREFIX
    assert kept.exif == (exif.removeprefix(prefix) if exif else exif)
    assert (kept.icc, kept.xmp) == (icc, xmp)
    assert [piece for piece in kept.pieces if not piece.kind.startswith("<")] == list(pieces)
    assert again(data) == data


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutations_end_in_pixels_or_in_words(data: st.DataObject) -> None:
    file = bytearray(animation() if data.draw(st.booleans()) else saved(smooth(16, 16, 4), exif=b"II", xmp=b"x"))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(12, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = webp.inspect(bytes(file), LIMITS)
    except LiifError:
        return
    if header.width * header.height * header.frames > 1 << 20:
        return
    try:
        frames = webp.decode(bytes(file), header, allow_truncated=True)
    except (LiifError, RuntimeError, ValueError):  # damaged pixels: put into words outside of the room
        return
    assert all(frame.pixels.shape == (header.height, header.width, len(header.layout)) for frame in frames)
