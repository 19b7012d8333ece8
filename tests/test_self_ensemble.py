"""A model whose name ends with `+` answers with the mean over the eight ways to lay a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from liif_engine import budget, compute
from liif_engine.compute import Computer
from liif_engine.errors import ModelError
from liif_engine.judge import ImplausibleTile
from liif_engine.model_names import like, makers, plain
from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif
from liif_engine.picture.tiles import Grid, Rect, tile, tiles
from liif_engine.picture.turns import TURNS, Turn
from liif_engine.restore import Engine

#: Of answers in fp32 that were added up in another order.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights, as a file."""
    torch.manual_seed(3)
    model = EdsrLiif(channels=8, blocks=1, hidden=(16, 16))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    file = tmp_path_factory.mktemp("model") / "small.safetensors"
    checkpoint.save(model, file, {})
    return file


def picture(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    values = np.random.default_rng(5).random(shape)
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    return (values * full).astype(dtype)


def engines(path: Path) -> tuple[Engine, Engine]:
    how = {"device": "cpu", "precision": "fp32"}
    return Engine(path, **how), Engine(f"{path}+", **how)


@pytest.mark.parametrize("size", [(33, 47), (20, 25), (71, 40)])  # x2.35 and so on, x1, a size of its own
def test_it_is_the_mean_of_the_answers_to_the_turned_pictures(path: Path, size: tuple[int, int]) -> None:
    once, ensemble = engines(path)
    pixels = picture((25, 20, 3), "float32")

    answers = []
    for turn in TURNS:
        turned = turn.lay(pixels)
        answer = once.restore(turned, size=size[::-1] if turn.swap else size)
        back = np.empty((size[1], size[0], 3), np.float32)
        turn.lay(back)[...] = answer
        answers.append(back)

    assert np.abs(ensemble.restore(pixels, size=size) - np.mean(answers, axis=0)).max() <= TOLERANCE
    assert np.abs(ensemble.restore(pixels, size=size) - answers[0]).max() > 1e-3


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_picture_gives_the_turned_result(path: Path, turn: Turn) -> None:
    _, ensemble = engines(path)
    pixels = picture((18, 23, 3), "float32")
    there = ensemble.restore(np.ascontiguousarray(turn.lay(pixels)), scale=1.7)
    assert np.abs(there - turn.lay(ensemble.restore(pixels, scale=1.7))).max() <= TOLERANCE


@pytest.mark.parametrize("shape", [(30, 41), (30, 41, 2), (30, 41, 3), (30, 41, 4), (2, 9, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_kind_of_pixels_keeps_its_shape_and_is_rounded_once(
    path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    _, ensemble = engines(path)
    pixels = picture(shape, dtype)
    result = ensemble.restore(pixels, scale=2)
    assert (result.dtype, result.shape) == (pixels.dtype, (2 * shape[0], 2 * shape[1], *shape[2:]))
    if shape[2:] in {(), (3,)} and dtype != "float32":  # alpha has roundings of its own
        full = np.iinfo(dtype).max
        fine = ensemble.restore((pixels / full).astype(np.float32), scale=2) * full
        assert np.abs(result - fine).max() <= 0.5 + full * 2e-6


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5, 1 / 0.37])
def test_tiles_change_no_pixel(path: Path, monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    _, ensemble = engines(path)
    pixels = picture((61, 90, 3), "float32")
    whole = ensemble.restore(pixels, scale=scale)
    monkeypatch.setitem(budget.TILE_CORE, "cpu", 32)
    assert np.abs(ensemble.restore(pixels, scale=scale) - whole).max() <= TOLERANCE


def test_a_tile_for_itself_is_the_same_piece(path: Path) -> None:
    _, ensemble = engines(path)
    pixels = picture((50, 60, 3), "float32")
    whole = ensemble.restore(pixels, size=(150, 130))
    grid = Grid(50, 60, 130, 150, ensemble.halo)
    piece = tile(grid, Rect(10, 42, 20, 60))
    window = pixels[piece.window.top : piece.window.bottom, piece.window.left : piece.window.right]
    made = ensemble.restore_tile(window, grid, piece.core)
    there = whole[piece.output.top : piece.output.bottom, piece.output.left : piece.output.right]
    assert np.abs(made - there).max() <= TOLERANCE


def test_out_of_memory_halves_tiles_here_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ensemble = engines(path)
    pixels = picture((80, 64, 3), "float32")
    whole = ensemble.restore(pixels, scale=2)
    answers = Computer._answers

    def scarce(self: Computer, view: np.ndarray, *rest: object) -> object:
        if view.shape[0] * view.shape[1] > 60 * 60:
            raise MemoryError
        return answers(self, view, *rest)

    monkeypatch.setattr(Computer, "_answers", scarce)
    assert np.abs(ensemble.restore(pixels, scale=2) - whole).max() <= TOLERANCE


def test_a_tile_that_half_precision_spoils_starts_over_with_all_its_turns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first turns added before the failure must not stay in the sum."""
    pixels = picture((20, 30, 3)) // 4  # calm enough for half precision
    exact = Engine(f"{path}+", device="cpu", precision="fp32").restore(pixels, scale=2)
    calls = []

    def spoiled(*judged: object) -> None:
        precision = judged[-1]
        calls.append(precision)
        if precision == "bf16" and len(calls) == 3:
            raise ImplausibleTile("overflowed")

    monkeypatch.setattr(compute, "judge", spoiled)
    result = Engine(f"{path}+", device="cpu", precision="bf16").restore(pixels, scale=2)
    assert calls[2] == "bf16"
    assert set(calls[3:]) == {"fp32"}
    assert np.array_equal(result, exact)


def test_progress_counts_all_eight_and_never_goes_back(path: Path) -> None:
    _, ensemble = engines(path)
    seen: list[float] = []
    ensemble.restore(picture((40, 40, 3)), scale=2, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert sum(share < 0.51 for share in seen) >= 4


sides = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(1, 90), st.integers(1, 90), st.integers(3, 20), st.sampled_from(TURNS))
def test_turned_tiles_cover_the_turned_picture_once(
    height: int, width: int, down: int, across: int, core: int, turn: Turn
) -> None:
    grid = Grid(height, width, max(down, height), max(across, width), 4)
    numbers = np.arange(grid.out_height * grid.out_width).reshape(grid.out_height, grid.out_width)
    inputs = np.arange(height * width).reshape(height, width)
    covered = np.zeros_like(turn.lay(numbers))
    for one in tiles(grid, core):
        turned = turn.tile(one, grid)
        for lies, was, of in ((turned.output, one.output, numbers), (turned.window, one.window, inputs)):
            there = turn.lay(of)[lies.top : lies.bottom, lies.left : lies.right]
            assert np.array_equal(there, turn.lay(of[was.top : was.bottom, was.left : was.right]))
        covered[turned.output.top : turned.output.bottom, turned.output.left : turned.output.right] += 1
    assert (covered == 1).all()


def test_the_sign_belongs_to_names_and_to_paths() -> None:
    assert plain("web+") == plain("web") == "web"
    assert like("auto+", "web") == "web+"
    assert like("auto", "web") == "web"
    assert makers("auto+") == {"web+", "published+"}
    assert makers("/models/old.safetensors+") == {"old+"}


def test_auto_chooses_among_ensembles(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    engine = Engine("auto+", device="cpu")
    clean = np.full((24, 24, 3), 90, np.uint8)
    assert engine.for_picture(clean).model_name == "published+"
    assert "published+" in caplog.text
    assert engine.network.blocks == 16


def test_an_unknown_name_is_refused_with_or_without_the_sign() -> None:
    for name in ("nothing", "nothing+", "+"):
        with pytest.raises(ModelError, match="there is no model"):
            Engine(name)
