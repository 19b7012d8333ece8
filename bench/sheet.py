"""Sheets for the eye: each old picture enlarged twice, by bicubic on the left, by a model on the right, at 100%.

    python bench/sheet.py --pictures FOLDER --out FOLDER [--model auto]

Look for halos, smeared text, shifted colour.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from liif_engine.lab.evaluate import Bicubic, pictures_in
from liif_engine.picture import image_file
from liif_engine.restore import Engine

#: Input pixels of a crop along each axis; the result shows twice as many.
CROP = 200
LABEL = 16  # [px] of a line of text
ROWS, COLUMNS = 3, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="auto")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pairs = beside(Engine(options.model), options.pictures)
    for number in range(1, 1000):
        cells = list(islice(pairs, ROWS * COLUMNS))
        if not cells:
            break
        width, height = cells[0].size
        sheet = Image.new("RGB", (width * COLUMNS, height * ROWS), "white")
        for index, cell in enumerate(cells):
            sheet.paste(cell, (index % COLUMNS * width, index // COLUMNS * height))
        sheet.save(options.out / f"sheet{number}.png")


def beside(engine: Engine, folder: Path) -> Iterator[Image.Image]:
    """One labelled pair of crops for each picture."""
    for path in pictures_in(folder):
        pixels = image_file.read(path).frames[0].pixels
        if pixels.ndim == 2 or pixels.shape[2] < 3:
            pixels = np.repeat(pixels.reshape(*pixels.shape[:2], -1)[..., :1], 3, axis=-1)
        pixels = pixels[..., :3]
        chosen = engine.for_picture(pixels, path)
        top, left = (max(n - CROP, 0) // 2 for n in pixels.shape[:2])
        crop = np.ascontiguousarray(pixels[top : top + CROP, left : left + CROP])
        size = (2 * crop.shape[1], 2 * crop.shape[0])
        before, after = (restorer.restore(crop, size=size) for restorer in (Bicubic(), chosen))
        cell = Image.new("RGB", (4 * CROP + 8, 2 * CROP + LABEL), "white")
        ImageDraw.Draw(cell).text((2, 1), f"{path.name}: bicubic | {chosen.model_name}", "black")
        cell.paste(Image.fromarray(before), (0, LABEL))
        cell.paste(Image.fromarray(after), (2 * CROP + 4, LABEL))
        yield cell


if __name__ == "__main__":
    main()
