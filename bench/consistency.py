"""How much of a restored picture its JPEG file allows, and what keeping to the file is worth: tables of docs/clues.md.

    python bench/consistency.py LIVE1 --crop 192 --model published --model web [--scale 1] [--out FILE]

Each clean picture (or a crop of its middle) is reduced by the scale, saved as a JPEG by Pillow with its default chroma
subsampling, and restored. The result, reduced again by Pillow's bicubic filter if it was enlarged, is compared with the
JPEG's quantisation intervals (`liif_engine/picture/consistency.py`). At scale 1 the result is also moved into the
intervals, and scored before and after. The pictures choose nothing.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liif_engine.lab.evaluate import Bicubic, pictures_in, read, score
from liif_engine.picture import coefficients, consistency
from liif_engine.picture.coefficients import Coefficients, as_blocks
from liif_engine.picture.consistency import TO_YCBCR
from liif_engine.picture.loss import expected_loss
from liif_engine.restore import Engine

Pixels = NDArray[np.uint8]


def middle(truth: Pixels, side: int | None, scale: int) -> Pixels:
    """The middle of a picture, a whole multiple of the scale on each side."""
    height, width = (min(side or n, n) // scale * scale for n in truth.shape[:2])
    top, left = (truth.shape[0] - height) // 2, (truth.shape[1] - width) // 2
    return truth[top : top + height, left : left + width]


def as_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels))


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(as_image(pixels).resize(size, Image.Resampling.BICUBIC)).reshape(size[1], size[0], -1)


def compressed(pixels: Pixels, quality: int) -> tuple[Pixels, Coefficients]:
    """What a JPEG file shows, and what it stores."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.jpg")
        as_image(pixels).save(path, quality=quality)
        stored = coefficients.read(path)
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            shown = np.asarray(image).reshape(pixels.shape)
    assert stored is not None
    return shown, stored


def unclipped_share(stored: Coefficients, shown: Pixels) -> float:
    """The share inside of the luma blocks none of whose pixels is 0 or 255 in any colour."""
    clipped = as_blocks(((shown == 0) | (shown == 255)).any(-1).astype(np.float32)).any((2, 3))
    inside = consistency.agreement(stored, shown).inside[0]
    return float(inside[~clipped].mean()) if (~clipped).any() else 1.0


def loss_correlation(stored: Coefficients, shown: Pixels, truth: Pixels) -> float:
    """Rank correlation over blocks of the expected loss of luma and the true one."""
    weights = TO_YCBCR[0] if truth.shape[2] == 3 else np.ones(1, np.float32)
    true = np.square(as_blocks((shown.astype(np.float32) - truth) @ weights)).mean((2, 3))
    expected = expected_loss(stored.luma)[: true.shape[0], : true.shape[1]]
    ranks = [np.argsort(np.argsort(values, axis=None)) for values in (true, expected)]
    return float(np.corrcoef(*ranks)[0, 1])


def rows(options: argparse.Namespace, quality: int, engines: dict[str, Any]) -> Iterator[dict[str, list[float]]]:
    """Of each picture, the measurements by name."""
    for path in pictures_in(options.folder):
        truth = middle(read(path), options.crop, options.scale)
        size = (truth.shape[1], truth.shape[0])
        small = (size[0] // options.scale, size[1] // options.scale)
        shown, stored = compressed(resized(truth, small), quality)
        row = {"unclipped": [unclipped_share(stored, shown)]}
        row["truth"] = [consistency.agreement(stored, resized(truth, small)).share]
        row["loss"] = [loss_correlation(stored, shown, resized(truth, small))]
        for name, engine in engines.items():
            result = engine.restore(shown, size=size)
            before = consistency.agreement(stored, resized(result, small)).share
            row[name] = [before]
            if options.scale == 1:
                kept = consistency.project(stored, result)
                row[name] += [consistency.agreement(stored, kept).share]
                row[name] += [*score(result, truth, scale=1, path=path), *score(kept, truth, scale=1, path=path)]
        yield row


def table(options: argparse.Namespace) -> Iterator[str]:
    """The table's lines, each as soon as it is measured."""
    engines = {"bicubic": Bicubic(), **{name: Engine(name) for name in options.model}}
    crop = f", the middle {options.crop}x{options.crop} of each" if options.crop else ""
    count = len(pictures_in(options.folder))
    yield f"{options.folder.name}, {count} pictures{crop}, x{options.scale}; share of coefficients inside, %\n"
    yield "| JPEG quality | " + " | ".join(["original", *engines, "bicubic, no clipped block (luma)"]) + " |"
    yield "|---" * (len(engines) + 3) + "|"
    gains, ranks = [], []
    for quality in options.quality:
        measured = list(rows(options, quality, engines))
        mean = {name: np.mean([row[name] for row in measured], axis=0) for name in measured[0]}
        shares = [f"{100 * mean[name][0]:.3f}" for name in ("truth", *engines, "unclipped")]
        yield f"| {quality} | " + " | ".join(shares) + " |"
        ranks.append(f"{mean['loss'][0]:.2f} at quality {quality}")
        if options.scale == 1:
            for name in options.model:
                each = np.array([row[name] for row in measured])
                better = int((each[:, 7] > each[:, 3]).sum())
                values = mean[name]
                gains.append(
                    f"| {quality} | `{name}` | {100 * values[0]:.2f} -> {100 * values[1]:.2f}"
                    f" | {values[3]:.3f} -> {values[7]:.3f} ({values[7] - values[3]:+.3f})"
                    f" | {values[5]:.3f} -> {values[9]:.3f} ({values[9] - values[5]:+.3f}) | {better} of {len(each)} |"
                )
    yield f"\nRank correlation of expected and true loss of luma over blocks: {', '.join(ranks)}."
    if gains:
        yield "\nMoved into the intervals (`--consistent`):\n"
        yield "| JPEG quality | model | inside, % | PSNR-RGB, dB | PSNR-B, dB | PSNR-RGB better in |"
        yield "|---|---|---|---|---|---|"
        yield from gains


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="clean pictures")
    parser.add_argument("--crop", type=int, help="side of the middle that is used [pixels]; all of it if not given")
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--quality", type=int, action="append", help="may be repeated (default: 10, 20, 30, 40)")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--out", type=Path, help="where the table is kept as well")
    options = parser.parse_args()
    options.quality = options.quality or [10, 20, 30, 40]
    lines = []
    for line in table(options):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
