"""From pictures to pairs: what lies where, who is held out, and one order whoever makes them."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_engine.errors import InputError, LiifError, UsageError
from liif_engine.lab import stream
from liif_engine.lab.degrade import Compression, Plan, Shares
from liif_engine.lab.pairs import FIRST_PHASE, PHASES, PairShape, Pool, build_pool, is_held_out, make_pair, pair_from
from liif_engine.picture import damage
from tests.picture.photograph import photograph

SHAPE = PairShape(patch=24, queries=40)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pictures")
    for number, size in enumerate([(150, 210), (120, 120), (90, 260)]):
        Image.fromarray(photograph(*size, seed=number)).save(folder / f"picture{number}.png")
    (folder / "notes.txt").write_text("not a picture")
    return build_pool([folder], folder / "pool.rgb", keep=bool, threads=2, smallest=SHAPE.canvas)


def places(pair: np.ndarray, patch: int) -> np.ndarray:
    """The queries as (row, column) in damaged pixels, counted from the patch's corner to pixel centres."""
    return (pair["coord"].astype(np.float64) + 1) * patch / 2 - 0.5


def test_a_pool_holds_the_pictures(pool: Pool) -> None:
    assert pool.names == ("picture0.png", "picture1.png", "picture2.png")
    for number, picture in enumerate(pool):
        assert np.array_equal(picture, photograph(*pool.sizes[number], seed=number))


def test_pictures_that_are_too_small_or_unwanted_are_left_out(tmp_path: Path) -> None:
    for name, side in (("small", 40), ("large", 80), ("unwanted", 80)):
        Image.fromarray(photograph(side, side)).save(tmp_path / f"{name}.png")
    kept = build_pool([tmp_path], tmp_path / "pool", keep=lambda name: "un" not in name, threads=1, smallest=60)
    assert kept.names == ("large.png",)


def test_pictures_of_the_same_name_in_two_folders_are_two_and_a_folder_named_twice_is_one(tmp_path: Path) -> None:
    for number, folder in enumerate(("b", "a")):
        (tmp_path / folder).mkdir()
        Image.fromarray(photograph(60 + number, 80, seed=number)).save(tmp_path / folder / "0001.png")
    folders = [tmp_path, tmp_path / "a"]
    kept = build_pool(folders, tmp_path / "pool", keep=bool, threads=1, smallest=8)
    assert kept.names == ("0001.png", "0001.png")
    assert kept.sizes == ((61, 80), (60, 80)), "those of a come first"
    assert np.array_equal(kept[1], photograph(60, 80, seed=0))


def test_no_picture_and_a_broken_picture_are_errors_in_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of 0 pictures") as nothing:
        build_pool([tmp_path], tmp_path / "pool", keep=bool, threads=1, smallest=8)
    assert nothing.value.remedy
    with pytest.raises(UsageError, match="nowhere: there is no such folder"):
        build_pool([tmp_path, tmp_path / "nowhere"], tmp_path / "pool", keep=bool, threads=1, smallest=8)
    Image.fromarray(photograph(80, 80)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.png"):
        build_pool([tmp_path], tmp_path / "pool", keep=bool, threads=1, smallest=8)
    (tmp_path / "cut.png").write_bytes(b"no picture at all")
    with pytest.raises(InputError, match=r"cut\.png"):
        build_pool([tmp_path], tmp_path / "pool", keep=bool, threads=1, smallest=8)


def test_one_picture_in_twenty_is_held_out_by_its_name_alone() -> None:
    held_out = [name for name in (f"photo{number}.png" for number in range(4000)) if is_held_out(name)]
    assert 150 < len(held_out) < 250
    assert all(is_held_out(f"elsewhere/{Path(name).stem}.avif") for name in held_out)


def test_a_pair_is_the_same_whenever_it_is_made(pool: Pool) -> None:
    first = [make_pair(pool, 7, index, SHAPE, Shares()).tobytes() for index in range(30)]
    again = [make_pair(pool, 7, index, SHAPE, Shares()).tobytes() for index in reversed(range(30))]
    assert first == again[::-1]
    assert len(set(first)) == 30
    assert first != [make_pair(pool, 8, index, SHAPE, Shares()).tobytes() for index in range(30)]


def test_unscaled_queries_have_the_colours_of_the_pixels_they_lie_on() -> None:
    truth = photograph(SHAPE.canvas, SHAPE.canvas)
    pair = pair_from(truth, Plan(), SHAPE, np.random.default_rng(0))
    at = places(pair, SHAPE.patch)
    assert np.abs(at - np.rint(at)).max() < 1e-4
    rows, columns = np.rint(at).astype(int).T
    assert np.array_equal(pair["pixels"][rows, columns], pair["rgb"])
    assert pair["cell"] == pytest.approx(2 / SHAPE.patch)


@pytest.mark.parametrize("scale", [1.0, 1.7, 3.0, 4.0])
def test_queries_lie_where_their_colours_are_also_after_a_shifted_second_pass(scale: float) -> None:
    # On a ramp a colour is its own place: red is the row, green the column.
    side = round(scale * SHAPE.canvas)
    ramp = np.zeros((side, side, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(side)[:, None], np.arange(side)
    twice = (Compression("jpeg", 95, 0), Compression("jpeg", 95, 0, (3, 6)))
    pair = pair_from(ramp, Plan(scale, passes=twice), SHAPE, np.random.default_rng(3))
    at = places(pair, SHAPE.patch)
    assert (at >= -0.5).all()
    assert (at <= SHAPE.patch - 0.5).all()
    rows, columns = np.rint(at).astype(int).clip(0, SHAPE.patch - 1).T
    moved = pair["pixels"][rows, columns, :2].astype(float) - pair["rgb"][:, :2]
    expected = (np.stack([rows, columns], -1) - at) * side / SHAPE.canvas
    assert np.abs(moved - expected).max() < 6
    assert np.abs((moved - expected).mean(0)).max() < 1


def test_every_grid_phase_comes() -> None:
    shape = PairShape(patch=88, queries=1)
    truth = photograph(shape.canvas, shape.canvas)
    phases = set()
    for seed in range(40):
        pair = pair_from(truth, Plan(passes=(Compression("jpeg", 12),)), shape, np.random.default_rng(seed))
        phases.add(damage.estimate(pair["pixels"]).grid_phase)
    assert {y for y, _ in phases} == set(range(8))  # type: ignore[misc]
    assert {x for _, x in phases} == set(range(8))  # type: ignore[misc]


def test_a_patch_never_leaves_what_every_shift_leaves_of_the_canvas() -> None:
    assert FIRST_PHASE >= 7
    assert FIRST_PHASE + PHASES - 1 + SHAPE.patch <= SHAPE.canvas
    widest = Plan(passes=(Compression("jpeg", 50), Compression("jpeg", 50, shift=(7, 7))))
    truth = photograph(SHAPE.canvas, SHAPE.canvas)
    for seed in range(60):
        pair = pair_from(truth, widest, SHAPE, np.random.default_rng(seed))
        assert pair["pixels"].std() > 0


def test_gray_pairs_are_gray_on_both_sides() -> None:
    truth = photograph(2 * SHAPE.canvas, 2 * SHAPE.canvas)
    pair = pair_from(truth, Plan(2.0, gray=True), SHAPE, np.random.default_rng(0))
    assert np.ptp(pair["pixels"].astype(int), axis=-1).max() == 0
    assert np.ptp(pair["rgb"].astype(int), axis=-1).max() == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_the_order_does_not_depend_on_the_workers(pool: Pool, workers: int) -> None:
    recipe = stream.Recipe(pool, 5, 2, SHAPE, Shares())
    with closing(stream.batches(recipe, 4, 0)) as here:
        expected = [batch.tobytes() for batch in itertools.islice(here, 9)]
    with closing(stream.batches(recipe, 4, workers)) as there:
        assert [batch.tobytes() for batch in itertools.islice(there, 9)] == expected
    with closing(stream.batches(recipe, 6, 0)) as later:
        assert next(later).tobytes() == expected[2]


def test_a_worker_that_dies_is_an_error_in_words(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LOOK_SECONDS", 0.2)
    broken = stream.Recipe(pool, 5, 2, SHAPE, Shares(clean="much"))  # type: ignore[arg-type]
    with closing(stream.batches(broken, 0, 1)) as there, pytest.raises(LiifError, match=r"worker .* died"):
        next(there)
