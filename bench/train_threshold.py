"""From which quality on `published` beats `web`: the curve behind the threshold in liif_engine/auto.py.

    python bench/train_threshold.py --data train/a train/b [--web CHECKPOINT] [--codec webp]

Only the held-out training pictures are looked at, the same that choose a checkpoint. Prints Markdown: PSNR of both
models by quality and scale and, for JPEG, how often the quality is recovered from pixels alone.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from liif_engine.lab.degrade import Codec, Compression, Plan
from liif_engine.lab.pairs import Pool, build_pool, is_held_out
from liif_engine.lab.validate import SHAPE, Answer, validate, validation_pairs
from liif_engine.network import checkpoint
from liif_engine.picture import damage

SCALES = (1.0, 2.0, 4.0)
QUALITIES = (30, 50, 70, 75, 80, 85, 90, 92, 95, 98)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="the folders of training pictures")
    parser.add_argument("--web", default="web", help="a shipped name or a checkpoint")
    parser.add_argument("--codec", default="jpeg", choices=["jpeg", "webp"])
    parser.add_argument("--pictures", type=int, default=32, help="held-out pictures, at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        pool = build_pool(
            options.data,
            Path(scratch) / "held-out.rgb",
            keep=is_held_out,
            threads=os.cpu_count() or 1,
            smallest=SHAPE.canvas,
        )
        print_scores(pool, options.web, options.codec, options.pictures)
        if options.codec == "jpeg":
            print_recovery(pool)


def print_scores(pool: Pool, web: str, codec: Codec, pictures: int) -> None:
    plans = {"clean": ()} | {str(q): (Compression(codec, q),) for q in reversed(QUALITIES)}
    models = {name: answer(name) for name in (web, "published")}
    print(f"| {codec} quality | " + " | ".join(f"x{scale:g} web | x{scale:g} published" for scale in SCALES) + " |")
    print("|---" * (1 + 2 * len(SCALES)) + "|")
    for column, passes in plans.items():
        cells = []
        for scale in SCALES:
            pairs = validation_pairs(pool, pictures, SHAPE, {column: Plan(scale, passes=passes)})
            cells += [f"{validate(model, pairs, torch.device('cpu'))[column]:.2f}" for model in models.values()]
        print(f"| {column} | " + " | ".join(cells) + " |", flush=True)


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
