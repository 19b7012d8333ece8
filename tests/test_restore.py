"""Pixels to pixels: tiling, layouts, progress, narrow pictures, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liif_engine import Engine, budget
from liif_engine.errors import LiifError, UsageError
from liif_engine.network import decode, decoder
from liif_engine.network.grid import Span
from liif_engine.network.model import EdsrLiif

from .conftest import picture, tiny_network
from .tiny import HAS_BF16, TOLERANCE, engine


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    scale_y=st.sampled_from([1, 1.5, 2, 2.37, 3, 4]),
    scale_x=st.sampled_from([1, 1.07, 2, 2.37, 5.5]),
    core=st.integers(1, 30),
    queries=st.integers(1, 400),
    blocks=st.integers(0, 2),
)
def test_tiled_equals_whole(
    monkeypatch: pytest.MonkeyPatch,
    height: int,
    width: int,
    scale_y: float,
    scale_x: float,
    core: int,
    queries: int,
    blocks: int,
) -> None:
    one = engine(tiny_network(blocks=blocks))
    pixels = picture(height, width, dtype="float32")
    size = math.ceil(width * scale_x), math.ceil(height * scale_y)
    # No more than 16 tiles: thousands would show no more, and take minutes.
    core = max(core, math.ceil(max(height, width) / 4))
    whole = one.restore(pixels, size=size)
    with monkeypatch.context() as patch:
        patch.setitem(budget.TILE_CORE, "cpu", core)
        patch.setitem(decode.STRIP_QUERIES, "cpu", queries)
        patch.setitem(decode.BLOCK_BYTES, "cpu", max(4 * queries // 3, 1) * 256 * 4)
        tiled = one.restore(pixels, size=size)
    assert np.abs(tiled - whole).max() <= TOLERANCE


def test_no_seam_with_the_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Engine("published", device="cpu", precision="fp32")
    pixels = picture(24, 150, dtype="float32")
    whole = one.restore(pixels, scale=1.7)
    monkeypatch.setitem(budget.TILE_CORE, "cpu", 50)
    assert np.abs(one.restore(pixels, scale=1.7) - whole).max() <= TOLERANCE


def test_a_halo_one_pixel_too_small_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the test above can fail: with half the halo, it does."""
    one = engine(tiny_network(blocks=2))
    pixels = picture(40, 40, dtype="float32")
    whole = one.restore(pixels, scale=2)
    monkeypatch.setitem(budget.TILE_CORE, "cpu", 10)
    monkeypatch.setattr(EdsrLiif, "halo", 3)
    assert np.abs(one.restore(pixels, scale=2) - whole).max() > TOLERANCE


@pytest.mark.parametrize(("scale", "expected"), [(1, (5, 7)), (2, (10, 14)), (2.5, (13, 18)), (1.1, (6, 8))])
def test_size_of_the_result(scale: float, expected: tuple[int, int]) -> None:
    assert engine().restore(picture(5, 7), scale=scale).shape[:2] == expected


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_layouts_and_dtypes_are_kept(dtype: str, channels: int | None) -> None:
    pixels = picture(6, 5, channels or 1, dtype=dtype)
    pixels = pixels[..., 0] if channels is None else pixels
    before = pixels.copy()
    result = engine().restore(pixels, scale=2)
    assert result.dtype == pixels.dtype
    assert result.shape == (12, 10, *pixels.shape[2:])
    assert (pixels == before).all(), "the input is left as it is"
    assert not np.array_equal(result, engine(tiny_network(1)).restore(pixels, scale=2)), "the network is used"


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 4])
def test_bytes_in_another_order_are_the_same_numbers(dtype: str, channels: int) -> None:
    engine, pixels = Engine(tiny_network(), device="cpu"), picture(9, 7, channels, dtype=dtype)
    swapped = pixels.astype(pixels.dtype.newbyteorder("S"))
    result = engine.restore(swapped, scale=2)
    assert result.dtype == swapped.dtype
    assert np.array_equal(result, engine.restore(pixels, scale=2))


def test_not_a_number_is_refused_in_any_order_of_bytes() -> None:
    pixels = np.full((5, 5, 3), np.nan, np.dtype("f4").newbyteorder("S"))
    with pytest.raises(UsageError, match="not-a-numbers"):
        Engine(tiny_network(), device="cpu").restore(pixels, scale=2)


@pytest.mark.parametrize("channels", [3, 4])
def test_real_numbers_of_another_scale_are_refused_and_highlights_are_not(channels: int) -> None:
    pixels = picture(8, 8, channels, dtype="float32")
    far = pixels.copy()
    far[..., :3] *= 255
    with pytest.raises(UsageError, match="0 to 1") as refused:
        engine().restore(far, scale=1)
    assert "Divide" in refused.value.remedy
    bright = pixels.copy()
    bright[..., :3] *= 2  # beyond what a screen shows
    bright[:2, :, :3] = 60
    assert engine().restore(bright, scale=1).max() <= 1


def test_integers_are_the_rounded_real_numbers() -> None:
    pixels = picture(9, 8)
    exact = engine().restore(pixels.astype(np.float32) / 255, scale=2.37)
    assert np.abs(exact * 255 - engine().restore(pixels, scale=2.37)).max() <= 0.5 + 1e-3
    wide = engine().restore(pixels.astype(np.uint16) * 257, scale=2.37)
    assert np.abs(exact * 65535 - wide).max() <= 0.5 + 0.1


def test_cmyk_is_three_channels_and_one() -> None:
    pixels = picture(6, 6, 4)
    one = engine()
    result = one.restore(pixels, scale=2, layout="CMYK")
    assert (result[..., :3] == one.restore(pixels[..., :3], scale=2)).all()
    assert (result[..., 3] == one.restore(pixels[..., 3], scale=2)).all()


def test_no_dark_fringe_round_transparent_black() -> None:
    """A white disc on transparent black stays white up to its edge, as it would on white."""
    y, x = np.mgrid[0:40, 0:40]
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[(y - 20) ** 2 + (x - 20) ** 2 < 150] = 255
    one = Engine("published", device="cpu", precision="fp32")
    result = one.restore(pixels, scale=2)
    on_white = one.restore(np.full((40, 40, 3), 255, np.uint8), scale=2)
    visible = result[..., 3] > 0
    assert np.abs(result[..., :3][visible].astype(int) - on_white[visible]).max() <= 1


def test_equal_input_gives_equal_bytes() -> None:
    pixels = picture(30, 33)
    results = [engine(precision="auto").restore(pixels, scale=2.37).tobytes() for _ in range(2)]
    assert results[0] == results[1]


def test_auto_keeps_16_bits_in_fp32() -> None:
    assert engine(precision="auto").precision_for(16) == "fp32"
    assert engine(precision="auto").precision_for(8) == ("bf16" if HAS_BF16 else "fp32")


def test_progress_rises_to_one_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(budget.TILE_CORE, "cpu", 16)
    shares: list[float] = []
    engine().restore(picture(40, 40, 4), scale=2, on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert np.diff([0, *shares]).max() < 0.2


def test_what_progress_raises_ends_the_work() -> None:
    class Stop(Exception):  # noqa: N818 - the name a caller might choose
        pass

    def stop(share: float) -> None:
        if share > 0.3:
            raise Stop

    with pytest.raises(Stop):
        engine().restore(picture(20, 20), scale=2, on_progress=stop)


@pytest.mark.parametrize(
    ("pixels", "arguments"),
    [
        (np.zeros((4, 4, 3), np.int32), {"scale": 2}),
        (np.zeros((4, 4, 5), np.uint8), {"scale": 2}),
        (np.zeros((0, 4, 3), np.uint8), {"scale": 2}),
        (np.zeros((4,), np.uint8), {"scale": 2}),
        (np.full((4, 4), np.nan, np.float32), {"scale": 2}),
        (np.zeros((4, 4), np.uint8), {"scale": 0.5}),
        (np.zeros((4, 4), np.uint8), {"scale": math.nan}),
        (np.zeros((4, 4), np.uint8), {"size": (3, 9)}),
        (np.zeros((4, 4), np.uint8), {"size": (8, 8.0)}),
        (np.zeros((4, 4), np.uint8), {"scale": "2"}),
        (np.zeros((4, 4), np.uint8), {}),
        (np.zeros((4, 4), np.uint8), {"scale": 2, "size": (8, 8)}),
        (np.zeros((4, 4, 3), np.uint8), {"scale": 2, "layout": "CMYK"}),
        (np.zeros((4, 4, 4), np.uint8), {"scale": 2, "layout": "RGB"}),
        (np.zeros((4, 4, 3), np.uint8), {"scale": 2, "layout": "RGBA"}),
        (np.zeros((4, 4, 3), np.uint8), {"scale": 2, "layout": "L"}),
        (np.zeros((4, 4), np.uint8), {"scale": 2, "layout": "LA"}),
        (np.zeros((4, 4, 3), np.uint8), {"scale": 2, "layout": ["R", "G", "B"]}),
        (np.zeros((4, 4, 3), np.uint8), {"scale": 2, "layout": ""}),
        ([[1, 2], [3, 4]], {"scale": 2}),
        (np.ma.masked_equal(np.arange(16, dtype=np.uint8).reshape(4, 4), 3), {"scale": 2}),
        (None, {"scale": 2}),
        (np.zeros((4, 4), np.uint8), {"scale": True}),
        (np.zeros((4, 4), np.uint8), {"scale": 2, "on_progress": "print"}),
    ],
)
def test_nonsense_is_refused_in_words(pixels: np.ndarray, arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        engine().restore(pixels, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": None},
        {"device": 0},
        {"precision": None},
        *({"memory_bytes": wrong} for wrong in ("1 GB", float("nan"), float("inf"), True, -1)),
    ],
)
def test_an_engine_that_cannot_be_is_refused_in_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(LiifError, match=str(next(iter(wrong.values())))):
        Engine(tiny_network(), **{"device": "cpu", **wrong})


@pytest.mark.parametrize("model", ["web", "fast", "published"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 3), (1, 30), (30, 2)])
def test_a_spacer_or_a_rule_keeps_its_colour(model: str, size: tuple[int, int]) -> None:
    """Zeros beyond the border must not outweigh the few pixels that there are."""
    one = Engine(model, device="cpu", precision="fp32")
    for colour in ((255, 255, 255), (0, 0, 0), (200, 30, 90)):
        flat = np.full((*size, 3), colour, np.uint8)
        result = one.restore(flat, scale=2)
        assert result.shape == (2 * size[0], 2 * size[1], 3)
        assert np.abs(result.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (9, 3, 1), (1, 5, 2), (3, 1, 4)])
def test_narrow_pictures_keep_shape_and_channels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 65535, shape, np.uint16)
    result = engine().restore(pixels, size=(shape[1] * 2 + 1, shape[0] * 3))
    assert result.shape == (shape[0] * 3, shape[1] * 2 + 1, *shape[2:])
    assert result.dtype == np.uint16


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 30, 3), (5, 3, 1)])
def test_of_a_narrow_picture_only_its_own_pixels_are_computed(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    """A spacer of one pixel, made as wide as a page, must not take the time of a picture 49 times as large."""
    one = engine()
    pixels = picture(*shape[:2], channels=shape[2], dtype="float32")
    size = shape[1] * 5 + 2, shape[0] * 4 + 1
    down, across = (3 * side * (side < 4) for side in shape[:2])
    wide = np.pad(pixels, [(down, down), (across, across), (0, 0)], mode="edge")
    whole = one.restore(wide, size=(wide.shape[1] // shape[1] * size[0], wide.shape[0] // shape[0] * size[1]))
    top, left = down // shape[0] * size[1], across // shape[1] * size[0]

    asked = []
    strips = decoder.strips

    def counted(network: EdsrLiif, feature_map: torch.Tensor, rows: Span, columns: Span, **how: object) -> object:
        asked.append((rows.stop - rows.start) * (columns.stop - columns.start))
        return strips(network, feature_map, rows, columns, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(decoder, "strips", counted)
    result = one.restore(pixels, size=size)
    assert sum(asked) == size[0] * size[1]
    assert np.abs(result - whole[top : top + size[1], left : left + size[0]]).max() <= TOLERANCE
