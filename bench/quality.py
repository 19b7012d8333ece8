"""Scores the shipped models on the field's test sets and writes docs/quality.md.

    python bench/quality.py --data FOLDER [--out docs/quality.md] [--cache FILE]

FOLDER holds Set5, Set14, LIVE1, Classic5. These sets choose nothing: no checkpoint, no threshold, no setting.
Scores are kept in the cache by the model's SHA-256, so that a run that was stopped goes on and a new model costs its
own share only.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from liif_engine.auto import choose
from liif_engine.lab.degrade import Compression
from liif_engine.lab.evaluate import Bicubic, Pixels, degrade, pictures_in, read, score
from liif_engine.network import checkpoint
from liif_engine.network.card import SHIPPED, shipped_models
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


def jpegs(scale: float, *qualities: int) -> tuple[Condition, ...]:
    return tuple(Condition(f"x{scale:g}, JPEG {q}", scale, (Compression("jpeg", q),)) for q in qualities)


def twice(first: int, second: int) -> Condition:
    passes = (Compression("jpeg", first), Compression("jpeg", second, shift=(4, 4)))
    return Condition(f"x1, JPEG {first} then {second}", 1, passes)


def webps(scale: float, *qualities: int) -> tuple[Condition, ...]:
    return tuple(Condition(f"x{scale:g}, WebP {q}", scale, (Compression("webp", q),)) for q in qualities)


CLEAN = tuple(Condition(f"x{scale}, clean", scale) for scale in (2, 3, 4))
SCALED_JPEG = (*jpegs(2, 10, 20, 30, 40, 75), *jpegs(4, 10, 20, 30, 40, 75))

#: In the order of their worth, should the time be short.
TABLES = (
    Table("JPEG, artifact removal alone: LIVE1, colour", "LIVE1", jpegs(1, 10, 20, 30, 40), (PSNR_RGB, PSNR_B, SSIM)),
    Table("JPEG, then enlarged: Set5", "Set5", SCALED_JPEG, (PSNR_Y, SSIM)),
    Table("Clean, enlarged: Set5", "Set5", CLEAN, (PSNR_Y, PSNR_RGB, SSIM)),
    Table("JPEG, artifact removal alone: Set5", "Set5", jpegs(1, 10, 20, 40), (PSNR_Y, PSNR_RGB, SSIM)),
    Table(
        "JPEG, artifact removal alone: Classic5, gray", "Classic5", jpegs(1, 10, 20, 30, 40), (PSNR_RGB, PSNR_B, SSIM)
    ),
    Table("JPEG twice, the second grid 4 px off: LIVE1", "LIVE1", (twice(10, 50), twice(50, 10)), (PSNR_RGB, SSIM)),
    Table("WebP: Set5", "Set5", (*webps(1, 10, 30, 50, 75), *webps(2, 10, 50, 75)), (PSNR_RGB, SSIM)),
    Table("Clean, enlarged: Set14", "Set14", CLEAN, (PSNR_Y, PSNR_RGB, SSIM)),
    Table("JPEG, then enlarged: LIVE1", "LIVE1", SCALED_JPEG, (PSNR_Y, SSIM)),
)


class Judge:
    """Scores pictures, and remembers."""

    def __init__(self, data: Path, cache: Path, models: Sequence[str]) -> None:
        self.data, self.cache = data, cache
        self.known: dict[str, Any] = json.loads(cache.read_text()) if cache.is_file() else {}
        self.engines: dict[str, Any] = {"bicubic": Bicubic()}
        self.versions = {"bicubic": "bicubic"}
        for model in models:
            self.engines[model] = Engine(model)
            precision = self.engines[model].precision_for(8)
            self.versions[model] = f"{checkpoint.sha256_of(checkpoint.find(model))[:16]} {precision}"

    def row(self, table: Table, condition: Condition) -> dict[str, Any]:
        """Mean scores by model, and how many pictures `auto` gave to `web`."""
        rows: dict[str, list[list[float]]] = {name: [] for name in (*self.engines, "auto")}
        to_web = 0
        for path in pictures_in(self.data / table.folder):
            scores, chosen = self.picture(path, condition)
            for name in self.engines:
                rows[name].append(scores[name])
            rows["auto"].append(scores[chosen])
            to_web += chosen == "web"
        means: dict[str, Any] = {name: np.mean(values, axis=0) for name, values in rows.items()}
        return means | {"to web": to_web, "pictures": len(rows["auto"])}

    def picture(self, path: Path, condition: Condition) -> tuple[dict[str, list[float]], str]:
        """One picture's scores by model, and what `auto` chooses for it."""
        about = f"{path.parent.name}/{path.name} {condition}"
        keys = {name: f"{about} {version}" for name, version in self.versions.items()}
        choice_key = f"{about} auto"
        if not all(key in self.known for key in (*keys.values(), choice_key)):
            pixels, truth = degrade(read(path), scale=condition.scale, passes=condition.passes)
            self.known[choice_key] = choose(look(pixels, condition)).model
            for name, key in keys.items():
                if key not in self.known:
                    result = self.engines[name].restore(pixels, size=(truth.shape[1], truth.shape[0]))
                    self.known[key] = score(result, truth, scale=condition.scale, path=path)
            part = self.cache.with_suffix(".part")
            part.write_text(json.dumps(self.known))
            part.replace(self.cache)
        return {name: self.known[key] for name, key in keys.items()}, self.known[choice_key]


def look(pixels: Pixels, condition: Condition) -> Damage:
    """What `auto` would see of the file: its pixels and the last encoder's quality."""
    found = estimate(pixels)
    if not condition.passes:
        return found
    last = condition.passes[-1]
    assert isinstance(last.quality, int)
    file = FileQuality(last.codec, last.quality, last.codec == "jpeg", "4:2:0")
    return Damage(file, found.grid_phase, found.grid_strength, found.pixel_quality)


def report(judge: Judge, tables: Sequence[Table]) -> Iterator[str]:
    """The page, paragraph by paragraph; each table is measured when it is asked for."""
    models = [*judge.engines, "auto"]
    yield (
        "# What the models are worth\n\nWritten by `python bench/quality.py`; do not edit. Protocol: see"
        " `liif_engine/lab/evaluate.py`. Means over the pictures; PSNR in dB, PSNR-Y on limited-range BT.601 luma; JPEG"
        " and WebP by Pillow, 4:2:0. At x1 `bicubic` is the damaged picture itself. No model, checkpoint or threshold"
        " was chosen on these sets."
    )
    yield "| model | SHA-256 | arithmetic | training |\n|---|---|---|---|\n" + "\n".join(
        f"| `{name}` | {sha} | {precision} | {shipped_models()[name].card.get('training', 'as published')} |"
        for name, (sha, precision) in ((n, v.split()) for n, v in judge.versions.items() if n != "bicubic")
    )
    for table in tables:
        shown = " / ".join(NAMES[metric] for metric in table.metrics)
        lines = [f"## {table.title}", "", f"{shown}; the last column is how many pictures `auto` gave to `web`.", ""]
        lines += ["| | " + " | ".join(models) + " | to `web` |", "|---" * (len(models) + 2) + "|"]
        for condition in table.conditions:
            row = judge.row(table, condition)
            cells = [" / ".join(shown_as(row[m][metric], metric) for metric in table.metrics) for m in models]
            count = f"{row['to web']} of {row['pictures']}"
            lines.append(f"| {condition.label} | " + " | ".join(cells) + f" | {count} |")
        if table is TABLES[0]:
            lines += ["", "Published, RGB PSNR at quality 10 / 20 / 30 / 40:", ""]
            lines += [f"- {who}: {' / '.join(f'{x:.2f}' for x in row)}" for who, row in PUBLISHED_LIVE1.items()]
        yield "\n".join(lines)


def shown_as(value: float, metric: int) -> str:
    if math.isinf(value):
        return "exact"
    return f"{value:.4f}" if metric == SSIM else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the test sets")
    parser.add_argument("--out", type=Path, default=Path("docs/quality.md"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "liif-quality.json")
    parser.add_argument("--tables", type=int, default=len(TABLES), help="only so many, the most important first")
    options = parser.parse_args()
    models = [path.stem for path in sorted(SHIPPED.glob("*.safetensors"))]
    page = []
    for paragraph in report(Judge(options.data, options.cache, models), TABLES[: options.tables]):
        print(paragraph, end="\n\n", flush=True)
        page.append(paragraph)
    part = options.out.with_suffix(".part")
    part.write_text("\n\n".join(page) + "\n")
    part.replace(options.out)


if __name__ == "__main__":
    main()
