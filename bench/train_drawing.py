"""Which clean pictures `auto` takes for drawings, and what that is worth: behind picture/drawing.py and auto.py.

    python bench/train_drawing.py --data train/a train/b [--scale 2]

Only the held-out training pictures are looked at, the same that choose a checkpoint. Prints Markdown: of each picture
that is flat beside its edges the two measures and what `web` is ahead of `published` by, PSNR-RGB on its middle; and
the mean of all by `published` and by what `auto` takes. At x2 and x4 what is looked at is the whole picture, reduced.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from liif_engine.auto import choose
from liif_engine.lab.evaluate import Pixels
from liif_engine.lab.pairs import SUFFIXES, is_held_out
from liif_engine.model_names import CLEAN, DAMAGED
from liif_engine.picture import damage, drawing
from liif_engine.restore import Engine

#: Side of the middle that is restored [px of the truth], by scale.
SIDES = {1: 160, 2: 288, 4: 288}

#: Pictures less flat beside their edges have no row of their own.
SHOWN = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="the folders of training pictures")
    parser.add_argument("--scale", type=int, nargs="+", default=list(SIDES), choices=list(SIDES))
    options = parser.parse_args()
    paths = sorted(path for folder in options.data for path in folder.iterdir() if path.suffix in SUFFIXES)
    engines = {name: Engine(name) for name in (DAMAGED, CLEAN)}
    means = []
    print("| scale | picture | flat | shaded | `web` ahead by | drawn |\n|---|---|---|---|---|---|")
    for scale in options.scale:
        before, after = [], []
        for path in filter(lambda path: is_held_out(path.name), paths):
            whole = Image.open(path).convert("RGB")
            whole = whole.crop((0, 0, whole.width // 4 * 4, whole.height // 4 * 4))
            pixels = reduced(whole, scale)
            truth = middle(whole, SIDES[scale])
            scores = {name: psnr(engine, truth, scale) for name, engine in engines.items()}
            before.append(scores[CLEAN])
            after.append(scores[choose(damage.estimate(pixels)).model])
            flat, shaded = drawing.measure(pixels) or (0.0, 0.0)
            if flat >= SHOWN:
                drawn = "yes" if drawing.is_drawn(pixels) else "no"
                cells = (path.stem, f"{flat:.2f}", f"{shaded:.2f}", f"{scores[DAMAGED] - scores[CLEAN]:+.2f}", drawn)
                print(f"| x{scale} | {' | '.join(cells)} |", flush=True)
        means.append(f"| x{scale} | {len(before)} | {np.mean(before):.2f} | {np.mean(after):.2f} |")
    print("\n| scale | pictures | published | auto |\n|---|---|---|---|\n" + "\n".join(means))


def reduced(image: Image.Image, scale: int) -> Pixels:
    small = image.resize((image.width // scale, image.height // scale), Image.Resampling.BICUBIC)
    return np.asarray(small)


def middle(image: Image.Image, side: int) -> Image.Image:
    width, height = min(image.width, side), min(image.height, side)
    left, top = (image.width - width) // 8 * 4, (image.height - height) // 8 * 4
    return image.crop((left, top, left + width, top + height))


def psnr(engine: Engine, truth: Image.Image, scale: int) -> float:
    """PSNR-RGB [dB], at most 60, without a border of the scale's width where it is enlarged."""
    border = slice(scale, -scale) if scale > 1 else slice(None)
    result = engine.restore(reduced(truth, scale), scale=scale).astype(np.float64)
    error = float(np.square(result - np.asarray(truth))[border, border].mean())
    return float(-10 * np.log10(max(error / 255**2, 1e-6)))


if __name__ == "__main__":
    main()
