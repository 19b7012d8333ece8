"""Scores the shipped models on the field's test sets and writes docs/quality.md.

    python bench/quality.py --data FOLDER [--out docs/quality.md] [--cache FILE]

FOLDER holds Set5, Set14, LIVE1, Classic5. These sets choose nothing: no checkpoint, no threshold, no setting.
Every picture's scores are kept beside the page, in docs/quality.json, by the model's SHA-256: a run that was stopped
goes on, and a new model costs its own share only.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.auto import choose
from liif_engine.lab.degrade import Compression
from liif_engine.lab.evaluate import Bicubic, Pixels, degrade, pictures_in, read, score
from liif_engine.model_names import CLEAN as CLEAN_MODEL
from liif_engine.model_names import DAMAGED, SELF_ENSEMBLE, like, plain
from liif_engine.network import checkpoint
from liif_engine.network.card import SHIPPED, find, shipped_models
from liif_engine.picture import advantage
from liif_engine.picture.damage import Damage, estimate
from liif_engine.picture.quantisation import FileQuality
from liif_engine.restore import Engine

PSNR_Y, PSNR_RGB, SSIM, PSNR_B = range(4)
NAMES = ("PSNR-Y", "PSNR-RGB", "SSIM", "PSNR-B")

#: RGB PSNR on LIVE1 in colour at quality 10, 20, 30, 40, as published; parameters in millions.
PUBLISHED_LIVE1 = {
    "QGAC": (27.62, 29.88, 31.17, 32.05),
    "FBCNN, 71.9 M parameters": (27.77, 30.11, 31.43, 32.34),
    "SwinIR, one model per quality": (28.06, 30.45, 31.82, 32.75),
}


@dataclass(frozen=True)
class Condition:
    """What the pictures go through; a row of a table."""

    label: str
    scale: float
    passes: tuple[Compression, ...] = ()


@dataclass(frozen=True)
class Table:
    """A set of pictures, what they go through, and which of `NAMES` are shown."""

    title: str
    folder: str
    conditions: tuple[Condition, ...]
    metrics: tuple[int, ...]
    ensembles: tuple[str, ...] = ()  # shown too; each takes eight times as long


def jpegs(scale: float, *qualities: int) -> tuple[Condition, ...]:
    return tuple(Condition(f"x{scale:g}, JPEG {q}", scale, (Compression("jpeg", q),)) for q in qualities)


def twice(first: int, second: int) -> Condition:
    passes = (Compression("jpeg", first), Compression("jpeg", second, shift=(4, 4)))
    return Condition(f"x1, JPEG {first} then {second}", 1, passes)


def webps(scale: float, *qualities: int) -> tuple[Condition, ...]:
    return tuple(Condition(f"x{scale:g}, WebP {q}", scale, (Compression("webp", q),)) for q in qualities)


def others(scale: float) -> tuple[Condition, ...]:
    gifs = tuple(Condition(f"x{scale:g}, GIF {n} colours", scale, (Compression("gif", n),)) for n in (128, 64))
    avifs = tuple(Condition(f"x{scale:g}, AVIF {q}", scale, (Compression("avif", q),)) for q in (50, 75))
    return gifs + avifs


#: What `auto+` may choose.
ENSEMBLES = WEB, PUBLISHED = DAMAGED + SELF_ENSEMBLE, CLEAN_MODEL + SELF_ENSEMBLE

CLEAN = tuple(Condition(f"x{scale}, clean", scale) for scale in (2, 3, 4))
SCALED_JPEG = (*jpegs(2, 10, 20, 30, 40, 75), *jpegs(4, 10, 20, 30, 40, 75))

LIVE1_JPEG = jpegs(1, 10, 20, 30, 40)

#: The quick ones first, should the time be short.
TABLES = (
    Table("JPEG, artifact removal alone: Set5", "Set5", jpegs(1, 10, 20, 40), (PSNR_Y, PSNR_RGB, SSIM), (WEB,)),
    Table("JPEG, then enlarged: Set5", "Set5", SCALED_JPEG, (PSNR_Y, SSIM), (WEB,)),
    Table("Clean, enlarged: Set5", "Set5", CLEAN, (PSNR_Y, PSNR_RGB, SSIM), (PUBLISHED,)),
    Table("WebP: Set5", "Set5", (*webps(1, 10, 30, 50, 75), *webps(2, 10, 50, 75)), (PSNR_RGB, SSIM)),
    Table("GIF, dithered, and AVIF: Set5", "Set5", (*others(1), *others(2)), (PSNR_RGB, SSIM)),
    Table("JPEG twice, the second grid 4 px off: Set5", "Set5", (twice(10, 50), twice(50, 10)), (PSNR_RGB, SSIM)),
    Table("JPEG, artifact removal alone: LIVE1, colour", "LIVE1", LIVE1_JPEG, (PSNR_RGB, PSNR_B, SSIM), (WEB,)),
    Table(
        "JPEG, artifact removal alone: Classic5, gray", "Classic5", jpegs(1, 10, 20, 30, 40), (PSNR_RGB, PSNR_B, SSIM)
    ),
    Table("Clean, enlarged: Set14", "Set14", CLEAN, (PSNR_Y, PSNR_RGB, SSIM)),
    Table("JPEG twice, the second grid 4 px off: LIVE1", "LIVE1", (twice(10, 50), twice(50, 10)), (PSNR_RGB, SSIM)),
    Table("JPEG, then enlarged: LIVE1", "LIVE1", SCALED_JPEG, (PSNR_Y, SSIM)),
)


class Judge:
    """Scores pictures, and remembers."""

    def __init__(self, data: Path, cache: Path, models: Sequence[str], minutes: float, *, ensembles: bool) -> None:
        self.data, self.cache, self.ensembles = data, cache, ensembles
        self.deadline = time.monotonic() + 60 * minutes
        self.known: dict[str, Any] = json.loads(cache.read_text()) if cache.is_file() else {}
        self.engines: dict[str, Any] = {"bicubic": Bicubic()}
        self.versions = {"bicubic": "bicubic"}
        for model in (*models, *ENSEMBLES):
            self.engines[model] = Engine(model)
            precision = self.engines[model].precision_for(8)
            sha = checkpoint.sha256_of(find(plain(model)))[:16]
            self.versions[model] = f"{like(model, sha)} {precision}"

    def models(self, table: Table) -> list[str]:
        """The table's columns."""
        return [*(name for name in self.engines if name not in ENSEMBLES or name in table.ensembles), "auto"]

    def row(self, table: Table, condition: Condition) -> tuple[dict[str, NDArray[Any] | None], str]:
        """Mean scores by model, None where the time was over before; how many pictures `auto` gave to `web`."""
        paths = pictures_in(self.data / table.folder)
        chosen = [self.choice(path, condition) for path in paths]
        scores = {name: [self.score(name, path, condition) for path in paths] for name in self.models(table)[:-1]}
        scores["auto"] = [None if name is None else scores[name][index] for index, name in enumerate(chosen)]
        means = {
            name: None if any(one is None for one in rows) else np.mean(np.array(rows, float), axis=0)
            for name, rows in scores.items()
        }
        return means, "not measured" if None in chosen else f"{chosen.count(DAMAGED)} of {len(chosen)}"

    def choice(self, path: Path, condition: Condition) -> str | None:
        """What `auto` takes for a picture; None where the time was over before it was known."""
        key = f"{path.parent.name}/{path.name} {condition} auto"
        if key not in self.known:
            if time.monotonic() > self.deadline:
                return None
            pixels, _ = degrade(read(path), scale=condition.scale, passes=condition.passes)
            self._keep(key, choose(look(pixels, condition), lambda: advantage.guess(pixels)).model)
        return str(self.known[key])

    def score(self, model: str, path: Path, condition: Condition) -> list[float] | None:
        """A model's scores on a picture, in the order of `NAMES`; None where the time was over before."""
        key = f"{path.parent.name}/{path.name} {condition} {self.versions[model]}"
        if key not in self.known:
            if time.monotonic() > self.deadline or (model in ENSEMBLES and not self.ensembles):
                return None
            pixels, truth = degrade(read(path), scale=condition.scale, passes=condition.passes)
            result = self.engines[model].restore(pixels, size=(truth.shape[1], truth.shape[0]))
            self._keep(key, [round(one, 4) for one in score(result, truth, scale=condition.scale, path=path)])
        return list(self.known[key])

    def _keep(self, key: str, value: Any) -> None:
        self.known[key] = value
        part = self.cache.with_suffix(".part")
        part.write_text(json.dumps(self.known, indent=0, separators=(",", ":"), sort_keys=True))
        part.replace(self.cache)


def look(pixels: Pixels, condition: Condition) -> Damage:
    """What `auto` would see of the file: its pixels and the last encoder's quality."""
    found = estimate(pixels)
    if not condition.passes:
        return found
    last = condition.passes[-1]
    assert isinstance(last.quality, int)
    if last.codec == "gif":
        return found
    if last.codec == "avif":
        return replace(found, halved_chroma="AVIF")
    file = FileQuality(last.codec, last.quality, last.codec == "jpeg", "4:2:0")
    return replace(found, file=file)


def report(judge: Judge) -> Iterator[str]:
    """The page, paragraph by paragraph; each table is measured when it is asked for."""
    yield (
        "# What the models are worth\n\nWritten by `python bench/quality.py`; do not edit. Protocol: see"
        " `liif_engine/lab/evaluate.py`. Means over the pictures; PSNR in dB, PSNR-Y on limited-range BT.601 luma;"
        " JPEG, WebP and AVIF by Pillow, 4:2:0. At x1 `bicubic` is the damaged picture itself, and"
        " `web+` and `published+` are these models as self-ensembles.\n\n"
        "No model, checkpoint or threshold was chosen on these sets."
    )
    yield "| model | SHA-256 | arithmetic | training |\n|---|---|---|---|\n" + "\n".join(
        f"| `{name}` | {sha} | {precision} | {shipped_models()[name].card.get('training', 'as published')} |"
        for name, (sha, precision) in ((n, v.split()) for n, v in judge.versions.items() if n in shipped_models())
    )
    for table in TABLES:
        models = judge.models(table)
        shown = " / ".join(NAMES[metric] for metric in table.metrics)
        lines = [f"## {table.title}", "", f"{shown}; the last column is how many pictures `auto` gave to `web`.", ""]
        lines += ["| | " + " | ".join(models) + " | to `web` |", "|---" * (len(models) + 2) + "|"]
        for condition in table.conditions:
            row, count = judge.row(table, condition)
            cells = [cell(row[model], table.metrics) for model in models]
            lines.append(f"| {condition.label} | " + " | ".join(cells) + f" | {count} |")
        if table.folder == "LIVE1" and table.conditions == LIVE1_JPEG:
            lines += ["", "Published, RGB PSNR at quality 10 / 20 / 30 / 40:", ""]
            lines += [f"- {who}: {' / '.join(f'{x:.2f}' for x in row)}" for who, row in PUBLISHED_LIVE1.items()]
        yield "\n".join(lines)


def cell(means: NDArray[Any] | None, metrics: Sequence[int]) -> str:
    return "not measured" if means is None else " / ".join(shown_as(means[metric], metric) for metric in metrics)


def shown_as(value: float, metric: int) -> str:
    if math.isinf(value):
        return "exact"
    return f"{value:.4f}" if metric == SSIM else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the test sets")
    parser.add_argument("--out", type=Path, default=Path("docs/quality.md"))
    parser.add_argument("--cache", type=Path, default=Path("docs/quality.json"), help="where scores are kept")
    parser.add_argument("--minutes", type=float, default=1e6, help="what is not measured by then is said so")
    parser.add_argument("--quick", action="store_true", help="measure no self-ensembles, which take most of the time")
    options = parser.parse_args()
    models = sorted((path.stem for path in SHIPPED.glob("*.safetensors")), key=lambda name: (name != DAMAGED, name))
    judge = Judge(options.data, options.cache, models, options.minutes, ensembles=not options.quick)
    page = []
    for paragraph in report(judge):
        print(paragraph, end="\n\n", flush=True)
        page.append(paragraph)
    part = options.out.with_suffix(".part")
    part.write_text("\n\n".join(page) + "\n")
    part.replace(options.out)


if __name__ == "__main__":
    main()
