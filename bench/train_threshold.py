"""From which quality on `published` beats `web`: the curve behind the threshold in liif_engine/auto.py.

    python bench/train_threshold.py --data train/a train/b [--web CHECKPOINT]
        [--codec webp | --codec avif | --codec heif | --codec palette | --codec noise] [--only PREFIX...]

Only the held-out training pictures are looked at, the same that choose a checkpoint. Prints Markdown: PSNR of both
models by quality and scale and, for JPEG, how often the quality is recovered from pixels alone; or by noise or the
colours of a palette, and how often these are seen. HEIF needs the extra `heic`.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from liif_engine.auto import NOISY, choose
from liif_engine.lab.degrade import Compression, Plan, apply
from liif_engine.lab.pairs import Pool, build_pool, is_held_out
from liif_engine.lab.validate import SHAPE, Answer, validate, validation_pairs
from liif_engine.model_names import DAMAGED
from liif_engine.network import checkpoint
from liif_engine.picture import colours, damage, noise

SCALES = (1.0, 2.0, 4.0)
NOISES = (1, 2, 3, 4, 6, 9, 13)
PALETTES = ((256, True), (256, False), (64, True), (64, False), (16, True), (16, False))
QUALITIES = (30, 50, 70, 75, 80, 85, 90, 92, 95, 98, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="the folders of training pictures")
    parser.add_argument("--web", default="web", help="a shipped name or a checkpoint")
    parser.add_argument("--codec", default="jpeg", choices=["jpeg", "webp", "avif", "heif", "palette", "noise"])
    parser.add_argument("--only", nargs="+", default=[""], metavar="PREFIX", help="names that begin with one of these")
    parser.add_argument("--pictures", type=int, default=32, help="held-out pictures, at most")
    options = parser.parse_args()
    if options.codec == "heif":
        import pillow_heif

        pillow_heif.register_heif_opener()
    with tempfile.TemporaryDirectory() as scratch:
        pool = build_pool(
            options.data,
            Path(scratch) / "held-out.rgb",
            keep=lambda name: is_held_out(name) and name.startswith(tuple(options.only)),
            threads=os.cpu_count() or 1,
            smallest=SHAPE.canvas,
        )
        print_scores(pool, options.web, options.codec, options.pictures)
        if options.codec == "jpeg":
            print_recovery(pool)
        if options.codec == "noise":
            print_noise(pool)
        if options.codec == "palette":
            print_palettes(pool)


def print_scores(pool: Pool, web: str, codec: Any, pictures: int) -> None:
    plans: dict[str, dict[str, Any]] = {"clean": {}}
    if codec == "noise":
        plans |= {str(level): {"noise": float(level)} for level in NOISES}
    elif codec == "palette":
        plans |= {_named(*one): {"colours": one[0], "dither": one[1]} for one in PALETTES}
    else:
        plans |= {str(quality): {"passes": (Compression(codec, quality),)} for quality in reversed(QUALITIES)}
    models = {name: answer(name) for name in (web, "published")}
    print(f"| {codec} | " + " | ".join(f"x{scale:g} web | x{scale:g} published" for scale in SCALES) + " |")
    print("|---" * (1 + 2 * len(SCALES)) + "|")
    for column, done in plans.items():
        cells = []
        for scale in SCALES:
            pairs = validation_pairs(pool, pictures, SHAPE, {column: Plan(scale, **done)})
            cells += [f"{validate(model, pairs, torch.device('cpu'))[column]:.2f}" for model in models.values()]
        print(f"| {column} | " + " | ".join(cells) + " |", flush=True)


def print_noise(pool: Pool) -> None:
    """How many of the pictures, reduced to half their size, `auto` takes for noisy, by the noise that is added."""
    print("\n| noise | its measure: median | largest | taken for noisy |\n|---|---|---|---|")
    for level in (0, *NOISES):
        found = []
        for index in range(len(pool)):
            small = Image.fromarray(pool[index]).reduce(2)
            noisy = np.asarray(small) + np.random.default_rng(index).standard_normal((*small.size[::-1], 3)) * level
            found.append(max(noise.measure(np.rint(noisy).clip(0, 255).astype(np.uint8))))
        taken = sum(one >= NOISY for one in found)
        print(f"| {level} | {np.median(found):.1f} | {max(found):.1f} | {taken} of {len(found)} |", flush=True)


def _named(count: int, dither: bool) -> str:
    return f"{count} colours{', dithered' if dither else ''}"


def print_palettes(pool: Pool) -> None:
    """How many of the pictures, the middle of each, are seen to be reduced to a palette."""
    print("\n| palette | seen | taken for `web` by that or by anything else |\n|---|---|---|")
    for count, dither in ((0, False), *PALETTES):
        seen = taken = 0
        for index in range(len(pool)):
            middle = np.ascontiguousarray(pool[index][:512, :512])
            pixels, _ = apply(middle, Plan(colours=count, dither=dither), np.random.default_rng(0))
            seen += colours.quantised(pixels) is not None
            taken += choose(damage.estimate(pixels)).model == DAMAGED
        print(f"| {_named(count, dither) if count else 'clean'} | {seen} of {len(pool)} | {taken} |", flush=True)


def answer(name: str) -> Answer:
    model = checkpoint.load(name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return lambda pixels, coord, cell: model.decode(model.encode(pixels), coord, cell)


def print_recovery(pool: Pool) -> None:
    """How often the pixels alone, cut at a random grid phase, tell the quality to within 3."""
    print("\n| JPEG quality | recovered within 3 | otherwise wrong | silent |\n|---|---|---|---|")
    rng = np.random.default_rng(0)
    for quality in (*QUALITIES[:0:-1], QUALITIES[0], 10, None):
        right = wrong = silent = 0
        for index in range(len(pool)):
            pixels = np.asarray(pool[index])
            if quality is not None:
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "JPEG", quality=quality)
                down, across = rng.integers(0, 8, 2)
                pixels = np.asarray(Image.open(file))[down:, across:]
            found = damage.estimate(pixels).pixel_quality
            right += found is not None and quality is not None and abs(found - quality) <= 3
            wrong += found is not None and (quality is None or abs(found - quality) > 3)
            silent += found is None
        print(f"| {quality or 'clean'} | {right} | {wrong} | {silent} |", flush=True)


if __name__ == "__main__":
    main()
