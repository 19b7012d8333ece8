"""BMP: every depth and header against Pillow or by hand, run lengths, colour spaces, broken files."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif_engine.errors import InputError, LiifError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file import bmp
from liif_engine.picture.image_file.contents import Density, Frame, Limits, Metadata, Pixels
from liif_engine.picture.image_file.room import Order

from . import made

LIMITS = Limits()


def random_pixels(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def raw(
    pixels: bytes,
    *,
    size: tuple[int, int] = (4, 3),
    bits: int = 24,
    compression: int = 0,
    header: int = 40,
    palette: bytes = b"",
    more: bytes = b"",
    used: int = 0,
    tail: bytes = b"",
) -> bytes:
    """A file from its parts; `more` is what follows the first 40 bytes of the header."""
    info = struct.pack("<IiiHHIIiiII", header, *size, 1, bits, compression, len(pixels), 2835, 2834, used, 0) + more
    start = 14 + len(info) + len(palette)
    total = start + len(pixels) + len(tail)
    return b"BM" + struct.pack("<IHHI", total, 0, 0, start) + info + palette + pixels + tail


def read(data: bytes) -> Pixels:
    header = bmp.inspect(data, LIMITS)
    assert header.cut is None
    [frame] = bmp.decode(data, header, allow_truncated=False)
    assert frame.pixels.shape == (header.height, header.width, len(header.layout))
    assert frame.pixels.dtype == np.uint8
    return frame.pixels


def again(data: bytes) -> bytes:
    header = bmp.inspect(data, LIMITS)
    return bmp.encode(Order(bmp.decode(data, header), header.layout, header.metadata, 90))[0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("width", [1, 4, 31, 33])
def test_pixels_are_pillows(mode: str, width: int) -> None:
    image = Image.fromarray(random_pixels(9, width, 3)).convert(mode)
    file = io.BytesIO()
    image.save(file, "BMP")
    kept = {"1": "L", "P": "RGB"}.get(mode, mode)
    wanted = np.asarray(image.convert(kept)).reshape(9, width, -1)
    for data in (file.getvalue(), again(file.getvalue())):
        np.testing.assert_array_equal(read(data), wanted)
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(data)).convert(kept)).reshape(wanted.shape), wanted
        )


def test_alpha_is_there_for_pillow_too() -> None:
    pixels = random_pixels(7, 5, 4)
    data, _ = bmp.encode(Order([Frame(pixels)], "RGBA", Metadata("PNG"), 90))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    np.testing.assert_array_equal(read(data), pixels)


def test_rows_may_come_from_above() -> None:
    pixels = random_pixels(3, 4, 3)
    stored = pixels[..., ::-1].tobytes()
    np.testing.assert_array_equal(read(raw(stored, size=(4, -3))), pixels)
    np.testing.assert_array_equal(read(raw(stored)), pixels[::-1])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(bits: int) -> None:
    colours = random_pixels(1 << bits, 3)
    indexes = np.random.default_rng(1).integers(0, 1 << bits, (3, 8), np.uint8)
    packed = np.packbits((indexes[..., None] >> np.arange(bits - 1, -1, -1) & 1).reshape(3, -1), axis=1)
    rows = np.zeros((3, -(-packed.shape[1] // 4) * 4), np.uint8)
    rows[:, : packed.shape[1]] = packed
    palette = np.dstack([colours[None, :, ::-1], np.zeros((1, len(colours), 1), np.uint8)]).tobytes()
    data = raw(rows.tobytes(), size=(8, -3), bits=bits, palette=palette)
    np.testing.assert_array_equal(read(data), colours[indexes])


@pytest.mark.parametrize(
    ("bits", "compression", "masks", "value", "colour"),
    [
        (16, 0, b"", 0b0_11111_00000_00001, (255, 0, 8)),
        (16, 3, struct.pack("<3I", 0xF800, 0x07E0, 0x1F), 0b10000_100000_00000, (132, 130, 0)),
        (32, 0, b"", 0x80FF7F01, (255, 127, 1)),
        (32, 3, struct.pack("<3I", 0xFF, 0xFF00, 0xFF0000), 0x0001FFFE, (254, 255, 1)),
        (32, 6, struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000), 0x80010203, (3, 2, 1, 128)),
        (32, 3, struct.pack("<3I", 0x7FF, 0x3FF800, 0xFFC00000), 0xFFC00000, (0, 0, 255)),
    ],
)
def test_masks(bits: int, compression: int, masks: bytes, value: int, colour: tuple[int, ...]) -> None:
    data = raw(value.to_bytes(bits // 8, "little") * 2, size=(2, 1), bits=bits, compression=compression, more=masks)
    assert read(data)[0].tolist() == [list(colour)] * 2


def test_alpha_that_is_0_everywhere_is_opaque() -> None:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    data = raw(bytes([1, 2, 3, 0]) * 2, size=(2, 1), bits=32, compression=3, header=56, more=masks)
    assert read(data)[0].tolist() == [[3, 2, 1, 255]] * 2


GRAYS = b"".join(bytes([v, v, v, 0]) for v in range(256))


def test_run_lengths_of_8_bits() -> None:
    data = bytes([3, 7, 0, 0, 0, 3, 1, 2, 3, 0, 0, 2, 1, 1, 1, 9, 0, 1])
    pixels = read(raw(data, size=(5, 3), bits=8, compression=1, palette=GRAYS))
    assert pixels[::-1, :, 0].tolist() == [[7, 7, 7, 0, 0], [1, 2, 3, 0, 0], [0, 0, 0, 0, 9]]


def test_run_lengths_of_4_bits() -> None:
    palette = GRAYS[: 16 * 4]
    data = bytes([3, 0x7A, 0, 0, 0, 5, 0x12, 0x34, 0x50, 0, 0, 0, 0, 1])
    pixels = read(raw(data, size=(5, 3), bits=4, compression=2, palette=palette))
    assert pixels[::-1, :, 0].tolist() == [[7, 10, 7, 0, 0], [1, 2, 3, 4, 5], [0] * 5]


def test_run_lengths_that_run_over_or_end_early() -> None:
    over = raw(bytes([9, 4, 0, 0, 2, 5, 0, 1]), size=(3, 2), bits=8, compression=1, palette=GRAYS)
    assert read(over)[::-1, :, 0].tolist() == [[4, 4, 4], [5, 5, 0]]
    cut = raw(bytes([2, 4, 0, 0]), size=(3, 2), bits=8, compression=1, palette=GRAYS)
    header = bmp.inspect(cut, LIMITS)
    with pytest.raises(TruncatedError, match="row 2 of 2"):
        bmp.decode(cut, header, allow_truncated=False)
    assert bmp.decode(cut, header, allow_truncated=True)[0].pixels[1, :, 0].tolist() == [4, 4, 0]
    stuck = raw(bytes([0, 2, 0, 0]) * 2000, size=(3, 2), bits=8, compression=1, palette=GRAYS)
    with pytest.raises(InputError, match="nowhere"):
        read(stuck)


def test_the_oldest_header() -> None:
    pixels = random_pixels(2, 4, 3)
    info = struct.pack("<IHHHH", 12, 4, 2, 1, 24)
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + info + pixels[::-1, :, ::-1].tobytes()
    np.testing.assert_array_equal(read(data), pixels)


def with_profile(kind: bytes, profile: bytes) -> bytes:
    colour = kind + bytes(range(1, 49)) + struct.pack("<IIII", 4, 124 + 36, len(profile), 0)
    return raw(bytes(36), header=124, more=bytes(16) + colour, tail=profile)


def test_an_embedded_profile_comes_back() -> None:
    data = with_profile(b"DEBM", b"a profile")
    metadata = bmp.inspect(data, LIMITS).metadata
    assert metadata.icc == b"a profile"
    assert metadata.density == Density((2835, 1), (2834, 1), "metre")
    assert bmp.inspect(again(data), LIMITS).metadata == metadata
    assert again(data)[70:] == data[70:]


def test_a_linked_profile_and_own_primaries_bind_to_the_format() -> None:
    linked = with_profile(b"KNIL", b"C:\\x.icc\0")
    metadata = bmp.inspect(linked, LIMITS).metadata
    assert "file of its own" in metadata.bound_to_home[0]
    assert again(linked)[70:] == linked[70:]
    own = raw(bytes(36), header=108, more=bytes(20) + bytes(range(1, 49)))
    assert "primary" in bmp.inspect(own, LIMITS).metadata.bound_to_home[0]
    assert again(own)[54:] == own[54:]


@pytest.mark.parametrize("channels", [3, 4])
def test_another_formats_profile_and_density(channels: int) -> None:
    pixels = random_pixels(3, 5, channels)
    metadata = Metadata("PNG", icc=b"profile", density=Density((300, 1), (150, 1), "inch"))
    layout = {3: "RGB", 4: "RGBA"}[channels]
    data, notes = bmp.encode(Order([Frame(pixels)], layout, metadata, 90))
    found = bmp.inspect(data, LIMITS).metadata
    assert found.icc == b"profile"
    assert found.density == Density((11811, 1), (5906, 1), "metre")
    assert "note of the restoration" in notes[0]
    np.testing.assert_array_equal(read(data), pixels)
    assert Image.open(io.BytesIO(data)).size == (5, 3)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"BN" + bytes(60), InputError, "not a BMP"),
        (raw(b"")[:30], TruncatedError, "inside of its header"),
        (raw(b"", header=66, more=bytes(99)), InputError, "66 bytes"),
        (raw(b"", size=(-4, 3)), InputError, "-4 x 3"),
        (raw(b"", bits=30000), InputError, "30000 bits"),
        (raw(b"", bits=8, compression=2), InputError, "8 bits in compression 2"),
        (raw(b"", bits=0, compression=4), UnsupportedError, "JPEG"),
        (raw(b"", bits=32, compression=3, more=struct.pack("<3I", 0xFF, 0xF0, 0xFF0000)), InputError, "masks"),
        (raw(b"", bits=32, compression=3, more=struct.pack("<3I", 0xFF, 0, 0xFF0000)), InputError, "lacks"),
    ],
)
def test_broken_files_are_refused_in_words(data: bytes, kind: type[LiifError], words: str) -> None:
    with pytest.raises(kind, match=words):
        bmp.inspect(data, LIMITS)


def test_cut_files() -> None:
    pixels = random_pixels(8, 4, 3)
    whole = raw(pixels[::-1, :, ::-1].tobytes(), size=(4, 8))
    data = whole[:-24]
    header = bmp.inspect(data, LIMITS)
    assert "75%" in str(header.cut)
    [frame] = bmp.decode(data, header, allow_truncated=True)
    np.testing.assert_array_equal(frame.pixels[2:], pixels[2:])
    assert (frame.pixels[:2] == 0).all()


def test_a_lying_size_takes_no_memory() -> None:
    header = bmp.inspect(raw(bytes(36), size=(2_000_000_000, 1_000_000_000)), LIMITS)
    assert header.cut is not None
    assert header.width == 2_000_000_000


@settings(max_examples=60, deadline=None)
@given(
    st.none() | st.binary(min_size=1, max_size=50),
    st.none() | st.tuples(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)),
    st.sampled_from(["L", "RGB", "RGBA"]),
)
def test_random_metadata_comes_back(icc: bytes | None, dots: tuple[int, int] | None, layout: str) -> None:
    density = None if dots is None else Density((dots[0], 1), (dots[1], 1), "metre")
    icc = None if layout == "L" else icc
    pixels = random_pixels(2, 3, len(layout))
    data, _ = bmp.encode(Order([Frame(pixels)], layout, Metadata("BMP", icc=icc, density=density), 90))
    metadata = bmp.inspect(data, LIMITS).metadata
    assert (metadata.icc, metadata.density) == (icc, density)
    assert again(again(data)) == again(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutations_end_in_pixels_or_in_words(data: st.DataObject) -> None:
    runs = raw(bytes([3, 7, 0, 0, 0, 3, 1, 2, 3, 0, 0, 1]), size=(5, 3), bits=8, compression=1, palette=GRAYS)
    file = bytearray(data.draw(st.sampled_from([runs, with_profile(b"DEBM", b"profile")])))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(2, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = bmp.inspect(bytes(file), LIMITS)
        if header.width * header.height > 1 << 20:
            return
        frames = bmp.decode(bytes(file), header, allow_truncated=True)
    except LiifError:
        return
    assert frames[0].pixels.shape == (header.height, header.width, len(header.layout))


def test_a_picture_that_is_transparent_everywhere_is_refused_in_words(tmp_path: Path) -> None:
    Image.new("RGBA", (3, 2), (1, 2, 3, 0)).save(tmp_path / "nothing.png")
    with pytest.raises(UnsupportedError, match="transparent everywhere"):
        made.restored(tmp_path / "nothing.png", tmp_path / "nothing.bmp", format="BMP")
    assert not (tmp_path / "nothing.bmp").exists()
