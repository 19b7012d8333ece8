"""The fidelity gate: what it measures, that it can fail, and that the default precision passes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from liif_engine import Engine, cli
from liif_engine.errors import OutputError, UsageError
from liif_engine.lab import audit_command, audit_pictures
from liif_engine.lab.audit import BOUND, AuditedTile, audit, compare, summaries, worst_first
from liif_engine.lab.audit_sheet import CAPTION, GAP, PANEL, sheet
from liif_engine.network.device import has_bf16

from ..conftest import picture

HAS_BF16 = has_bf16(torch.device("cpu"))


class Plain:
    """Repeats pixels, then does what a test wants to them."""

    def __init__(self, change: Any = lambda values: values) -> None:
        self.change = change

    def restore(self, pixels: Any, *, scale: float) -> Any:
        return self.change(pixels.repeat(int(scale), 0).repeat(int(scale), 1))


def one_bad_corner(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[:8, :8] += 40 / 255
    return values


def test_a_bad_place_is_found_though_the_average_is_good() -> None:
    gray = np.full((512, 512, 3), 100, np.uint8)
    forms = {"good": Plain(lambda v: v + np.float32(0.1 / 255)), "bad": Plain(one_bad_corner)}
    tiles = list(audit(Plain(), forms, [("gray", gray)], scale=1))
    assert len(tiles) == 2 * 64
    good, bad = summaries(tiles)
    assert good.passes
    assert good.worst.maximum == pytest.approx(0.1, abs=1e-3)
    assert bad.overall.mean < 0.01
    assert not bad.passes
    assert worst_first(tiles)[0].form == "bad"
    assert bad.worst.maximum == pytest.approx(40, abs=1e-3)


def test_tiles_cover_pictures_of_any_shape_once() -> None:
    shapes = [(1, 200), (130, 3), (65, 64)]
    tiles = list(audit(Plain(), {"x": Plain()}, [("k", picture(h, w)) for h, w in shapes], scale=2))
    assert sum(tile.exact.shape[0] * tile.exact.shape[1] for tile in tiles) == 4 * sum(h * w for h, w in shapes)
    assert all(tile.exact.shape == tile.reduced.shape for tile in tiles)


def test_figures_are_levels_of_8_bits() -> None:
    exact = np.zeros((10, 100, 3), np.float32)
    reduced = exact.copy()
    reduced[0, 0] = 10 / 255
    figures = compare(exact, reduced)
    assert figures.mean == pytest.approx(0.01)
    assert figures.rms == pytest.approx(10 / 1000**0.5, rel=1e-5)
    assert figures.p999 == figures.maximum == pytest.approx(10, rel=1e-6)


def test_a_not_a_number_never_passes() -> None:
    def spoiled(values: np.ndarray) -> np.ndarray:
        return np.full_like(values, np.nan)

    (summary,) = summaries(list(audit(Plain(), {"x": Plain(spoiled)}, [("k", picture(8, 8))], scale=1)))
    assert not summary.passes


def test_the_drawn_pictures_are_the_same_each_time_and_of_every_kind() -> None:
    first, second = (list(audit_pictures.pictures(side=64)) for _ in range(2))
    assert [kind for kind, _ in first] == [kind for kind, _ in second]
    assert all((a == b).all() for (_, a), (_, b) in zip(first, second, strict=True))
    assert all(pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 for _, pixels in first)
    assert len({kind for kind, _ in first}) == 11
    assert all(pixels.std() > 5 for _, pixels in first), "none is blank"


def test_photographs_come_from_folders(tmp_path: Path) -> None:
    Image.fromarray(picture(100, 90)).save(tmp_path / "a.png")
    Image.fromarray(picture(30, 40, 1)[..., 0]).save(tmp_path / "gray.png")
    photographs = [pixels for kind, pixels in audit_pictures.pictures([tmp_path], side=64) if kind == "photographs"]
    assert [pixels.shape for pixels in photographs] == [(64, 64, 3), (30, 40, 3)]


@pytest.mark.skipif(not HAS_BF16, reason="needs a CPU with AVX512-BF16 or AMX")
@pytest.mark.parametrize("model", ["web", "published"])
def test_the_default_precision_keeps_to_the_bound(model: str) -> None:
    """On every drawn kind, small: what `liif evaluate --audit` holds at full size."""
    exact, default = (Engine(model, device="cpu", precision=precision) for precision in ("fp32", "auto"))
    assert default.precision_for(8) == "bf16"
    reduced = Engine(model, device="cpu", precision="bf16")  # floats, too, which `auto` would keep in fp32
    tiles = list(audit(exact, {"bf16": reduced}, audit_pictures.pictures(side=64), scale=1.5))
    missed = [f"{one.kind}: {one.share:.2f} of the bound" for one in summaries(tiles) if not one.passes]
    assert not missed


def test_a_coarser_form_would_miss_the_bound() -> None:
    """That the test above can fail: weights of 8 bits, two of them after the point, are too coarse."""
    coarse = Engine("web", device="cpu", precision="fp32")
    with torch.no_grad():
        for weight in coarse._original.state_dict().values():
            weight.copy_(weight.to(torch.float8_e5m2).float())
    exact = Engine("web", device="cpu", precision="fp32")
    (summary,) = summaries(list(audit(exact, {"8 bits": coarse}, [("n", audit_pictures.night_noise(64))], scale=1)))
    assert summary.share > 2


def test_the_sheet_shows_a_row_for_each_tile() -> None:
    tiles = list(audit(Plain(), {"bad": Plain(one_bad_corner)}, [("gray", picture(64, 64))], scale=1))
    image = sheet(tiles)
    assert image.size == (GAP + 4 * (PANEL + GAP), CAPTION + PANEL + CAPTION + GAP)
    difference = np.asarray(image)[2 * CAPTION :, GAP + 3 * (PANEL + GAP) :]
    assert (difference[2, 2] == 255).all(), "the bad corner, amplified"
    assert (difference[PANEL // 2, PANEL // 2] == 128).all(), "no difference is mid-gray"


def test_the_sheet_names_the_model_of_each_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def drawn(tiles: list[AuditedTile]) -> Image.Image:
        shown.extend(tile.form for tile in tiles)
        return sheet(tiles)

    monkeypatch.setattr(audit_command, "sheet", drawn)
    monkeypatch.setattr(audit_command, "Engine", lambda *_, **__: Plain())
    monkeypatch.setattr(audit_command, "reduced_precisions", lambda _: ["bf16"])
    monkeypatch.setattr(audit_command, "pictures", lambda *_, **__: [("gray", picture(64, 64))])
    audit_command.run("auto", [], scale=1, side=64, device="cpu", sheet_file=tmp_path / "worst.png", as_json=True)
    assert set(shown) == {"web, bf16", "web, fast", "published, bf16"}


@pytest.mark.parametrize(("scale", "side"), [(0.5, 128), (2, 100), (2, 32)])
def test_nonsense_is_refused(scale: float, side: int) -> None:
    with pytest.raises(UsageError):
        audit_command.run("web", [], scale=scale, side=side, device="cpu", sheet_file=None, as_json=False)


@pytest.mark.skipif(not HAS_BF16, reason="needs a CPU with AVX512-BF16 or AMX")
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    few = [("night noise", audit_pictures.night_noise(64)), ("text", audit_pictures.text(64))]
    monkeypatch.setattr(audit_command, "pictures", lambda *_, **__: few)
    file = tmp_path / "worst.png"
    code = audit_command.run("web", [], scale=1, side=64, device="cpu", sheet_file=file, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {row["kind"] for row in rows if row["form"] == "bf16"} == {"night noise", "text"}
    assert all(row["share"] <= 1 and row["passes"] and row["default"] for row in rows if row["form"] == "bf16")
    with Image.open(file) as image:
        assert image.format == "PNG"
    monkeypatch.setattr(type(BOUND), "share", lambda *_: 1.5)
    assert audit_command.run("web", [], scale=1, side=64, device="cpu", sheet_file=None, as_json=False) == 1
    assert "MISSED" in capsys.readouterr().out


@pytest.mark.skipif(not HAS_BF16, reason="needs a CPU with AVX512-BF16 or AMX")
def test_self_ensembles_are_audited_as_any_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`auto+` stands for both that it chooses from, each against itself in fp32: not for whichever suits a picture."""
    monkeypatch.setattr(audit_command, "pictures", lambda *_, **__: [("text", audit_pictures.text(64)[:24, :24])])
    code = audit_command.run("auto+", [], scale=1, side=64, device="cpu", sheet_file=None, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(row["model"], row["form"]) for row in rows] == [("web+", "bf16"), ("published+", "bf16")]
    assert all(0 < row["share"] <= 1 for row in rows)


@pytest.mark.parametrize(
    "words",
    [
        ["--audit", "--jpeg-quality", "10"],
        ["--audit", "--precision", "bf16"],
        ["--sheet", "a.png"],
        ["--side", "64"],
        ["--audit", "--scale", "0"],
    ],
)
def test_an_option_of_the_other_kind_is_refused_not_left_unheard(words: list[str]) -> None:
    ended = CliRunner().invoke(cli.app, ["evaluate", *words])
    assert isinstance(ended.exception, UsageError)
    assert words[-2].strip("-") in str(ended.exception)


def test_a_sheet_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "worst.png"
    with pytest.raises(OutputError, match="folder does not exist"):
        audit_command.run("no such model", [], scale=2, side=64, device="cpu", sheet_file=file, as_json=False)


def test_evaluate_without_audit_still_needs_pictures() -> None:
    command = [sys.executable, "-m", "liif_engine", "evaluate", "--scale", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "--images" in done.stderr
