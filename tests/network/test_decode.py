"""The fast decoder and the factorised one against the paper's formula, query by query."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from liif_engine.network import checkpoint
from liif_engine.network import decode as decode_module
from liif_engine.network.decode import decode
from liif_engine.network.device import has_bf16
from liif_engine.network.grid import Span, axis
from liif_engine.network.model import EdsrLiif

from ..conftest import picture, tiny_network
from . import oracle

SIZES = st.integers(1, 12)
SCALES = st.one_of(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.floats(1, 7))


def whole(model: EdsrLiif, pixels: torch.Tensor, out: tuple[int, int]) -> np.ndarray:
    """The fast decoder over all of a picture that is given as (3, H, W)."""
    height, width = pixels.shape[1:]
    rows, columns = Span(axis(height, out[0]), 0, out[0], 0), Span(axis(width, out[1]), 0, out[1], 0)
    with torch.inference_mode():
        feature_map = model.encode(pixels[None].contiguous(memory_format=torch.channels_last))
        strips = [strip.values for strip in decode(model, feature_map, rows, columns)]
    return torch.cat(strips).numpy()


def queries(out: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates and cells of all pixels of a grid, (1, Q, 2) float64."""
    centres = [(2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1 for n in out]
    coord = torch.cartesian_prod(*centres)[None]
    return coord, coord.new_tensor([2 / out[0], 2 / out[1]]).expand_as(coord)


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, SCALES, SCALES, st.integers(0, 3))
def test_every_pixel_equals_the_formula(height: int, width: int, scale_y: float, scale_x: float, seed: int) -> None:
    model = tiny_network(seed, channels=3, hidden=(6, 5, 7))
    pixels = torch.from_numpy(picture(height, width, dtype="float32", seed=seed)).permute(2, 0, 1)
    out = max(1, round(height * scale_y)), max(1, round(width * scale_x))

    result = whole(model, pixels, out)

    tensors = model.state_dict()
    features = oracle.feature_map(tensors, pixels)
    rng = np.random.default_rng(seed)
    chosen = {(0, 0), (out[0] - 1, out[1] - 1)} | {tuple(rng.integers(0, out)) for _ in range(12)}
    for row, column in chosen:
        expected = oracle.colour(tensors, features, int(row), int(column), out)
        np.testing.assert_allclose(result[row, column], expected, atol=0.02 / 255)


@pytest.mark.parametrize(("size", "out"), [((11, 7), (22, 14)), ((5, 9), (12, 31)), ((1, 1), (4, 4)), ((6, 6), (6, 6))])
def test_published_weights_equal_the_formula(size: tuple[int, int], out: tuple[int, int]) -> None:
    model = checkpoint.load("published")
    pixels = torch.from_numpy(picture(*size, dtype="float32")).permute(2, 0, 1)
    tensors = model.state_dict()
    features = oracle.feature_map(tensors, pixels)
    result = whole(model, pixels, out)
    for row, column in [(0, 0), (out[0] // 2, out[1] // 3), (out[0] - 1, out[1] - 1), (0, out[1] - 1)]:
        expected = oracle.colour(tensors, features, row, column, out)
        np.testing.assert_allclose(result[row, column], expected, atol=0.02 / 255)


@pytest.mark.parametrize(("size", "out"), [((4, 5), (4, 5)), ((4, 5), (4, 9)), ((3, 5), (9, 5)), ((3, 4), (9, 12))])
def test_pixels_on_codes_equal_the_formula_to_the_last_row_and_column(
    size: tuple[int, int], out: tuple[int, int]
) -> None:
    """Where the scale is 1, or 3, some pixels lie on codes; there the paper's weights may all be zero."""
    model = tiny_network(channels=3, hidden=(6, 5))
    pixels = torch.from_numpy(picture(*size, dtype="float32")).permute(2, 0, 1)
    tensors = model.state_dict()
    features = oracle.feature_map(tensors, pixels)
    expected = [
        [oracle.colour(tensors, features, row, column, out) for column in range(out[1])] for row in range(out[0])
    ]
    np.testing.assert_allclose(whole(model, pixels, out), expected, atol=0.02 / 255)


def test_at_a_scale_of_1_each_pixel_is_its_own_code_s_answer() -> None:
    """Of the last row and column too, for which the published implementation mixes in their neighbours'."""
    model = tiny_network(channels=3, hidden=(6, 5))
    pixels = torch.from_numpy(picture(5, 4, dtype="float32")).permute(2, 0, 1)
    kernel, bias, _, cell_columns = model.first_layer()
    with torch.inference_mode():
        answers = torch.nn.functional.conv2d(model.encode(pixels[None]), kernel, bias, padding=1)[0].permute(1, 2, 0)
        answers = answers + cell_columns @ torch.tensor([2.0, 2.0])
        for linear in model.imnet.linears[1:]:
            answers = linear(answers.relu())
    np.testing.assert_allclose(whole(model, pixels, (5, 4)), answers * 0.5 + 0.5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, SCALES)
def test_factorised_decoding_at_any_coordinates_equals_the_grid(height: int, width: int, scale: float) -> None:
    model = tiny_network()
    pixels = torch.from_numpy(picture(height, width, dtype="float32")).permute(2, 0, 1)
    out = max(1, round(height * scale)), max(1, round(width * scale))
    with torch.inference_mode():
        answers = model.decode(model.encode(pixels[None]), *queries(out))
    np.testing.assert_allclose(answers[0].reshape(*out, 3), whole(model, pixels, out), atol=0.02 / 255)


def test_gradients_reach_every_weight() -> None:
    model = tiny_network().requires_grad_(True)
    pixels = torch.from_numpy(picture(6, 6, dtype="float32")).permute(2, 0, 1)[None]
    model.decode(model.encode(pixels), *queries((9, 9))).sum().backward()
    assert all(bool((weight.grad != 0).any()) for weight in model.parameters())


@given(st.integers(1, 200), st.floats(1, 9))
def test_codes_are_neighbours_and_weights_positive(n_in: int, scale: float) -> None:
    n_out = max(n_in, round(n_in * scale))
    ax = axis(n_in, n_out)
    assert ax.nearest.min() >= 0
    assert ax.nearest.max() < n_in
    assert np.isin(ax.nearest[1] - ax.nearest[0], (0, 1)).all()
    # A query lies within one code of both of its codes, half a code beyond the border at most.
    assert np.abs(ax.relative).max() <= 2 + 1e-9


@given(st.integers(0, 30), st.integers(0, 400), st.integers(1, 500), st.integers(1, 8))
def test_parts_cover_a_span_and_are_equal(start: int, length: int, at_most: int, multiple: int) -> None:
    """Several are shared evenly among so many cores, where there are rows enough; the last is not a small rest."""
    parts = list(decode_module._parts(Span(axis(430, 430), start, start + length, 0), at_most, multiple))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(start, start + length))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths, default=0) <= at_most
    assert max(lengths, default=0) - min(lengths, default=0) <= 1
    assert len(parts) <= 1 or len(parts) % multiple == 0 or set(lengths) == {1}


@pytest.mark.skipif(not has_bf16(torch.device("cpu")), reason="needs a CPU with AVX512-BF16 or AMX")
def test_bf16_stays_within_57_db() -> None:
    # A smooth picture: noise would flatter bf16, whose error grows with flat, bright areas.
    y, x = np.mgrid[0:48, 0:40] / 48
    pixels = torch.from_numpy(np.stack([y, x, (x + y) / 2]).astype(np.float32))
    exact = whole(checkpoint.load("published"), pixels, (96, 80))
    reduced = whole(checkpoint.load("published").reduce(torch.bfloat16), pixels, (96, 80))
    assert -10 * np.log10(np.mean((exact - reduced) ** 2)) >= 57


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setitem(decode_module.STRIP_QUERIES, "cpu", 40)
    model = tiny_network(hidden=(40, 33)).reduce(dtype)
    pixels = torch.from_numpy(picture(20, 23, dtype="float32")).permute(2, 0, 1)
    before = torch.get_num_threads()
    results = []
    try:
        with torch.inference_mode():
            feature_map = model.encode(pixels[None])
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                spans = Span(axis(20, 47), 0, 47, 0), Span(axis(23, 50), 0, 50, 0)
                results.append(torch.cat([strip.values for strip in decode(model, feature_map, *spans)]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
