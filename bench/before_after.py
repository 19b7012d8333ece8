"""README's picture: a photograph damaged as a website does it, before and after, at 100%.

    python bench/before_after.py GROUND_TRUTH... --out docs/before_after.png

README's: cid22-training_58650be22c78 at 120,180 and cid22-training_3550e8531f52 at 60,130, with quality 40.

Each picture is reduced to half its size and saved as a small JPEG file; that file is restored at x2. The same crop is
shown three times: the damaged file enlarged by bicubic interpolation, the restored file, and the ground truth.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from liif_engine import Engine, restore_file
from liif_engine.target import Target

GAP, CAPTION = 8, 24  # [pixels]


def panels(truth: Path, engine: Engine, quality: int, side: int, at: tuple[int, int] | None) -> list[Image.Image]:
    """The crop as damaged, restored and true."""
    with Image.open(truth) as file:
        original = file.convert("RGB")
    original = original.crop((0, 0, original.width // 2 * 2, original.height // 2 * 2))
    half = (original.width // 2, original.height // 2)
    with tempfile.TemporaryDirectory() as folder:
        damaged, restored = Path(folder, "damaged.jpg"), Path(folder, "restored.png")
        original.resize(half, Image.Resampling.BICUBIC).save(damaged, quality=quality)
        restore_file(engine, damaged, restored, target=Target(scale=2))
        with Image.open(damaged) as before, Image.open(restored) as after:
            enlarged = before.resize(original.size, Image.Resampling.BICUBIC)
            x, y = at or ((original.width - side) // 2, (original.height - side) // 2)
            box = (x, y, x + side, y + side)
            return [enlarged.crop(box), after.convert("RGB").crop(box), original.crop(box)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path, nargs="+", help="clean photographs")
    parser.add_argument("--at", action="append", default=[], help="X,Y of the crop, once per picture")
    parser.add_argument("--side", type=int, default=280, help="of the crop in pixels")
    parser.add_argument("--jpeg-quality", type=int, default=25)
    parser.add_argument("--model", default="web")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    engine = Engine(arguments.model)
    side, rows = arguments.side, len(arguments.truth)
    sheet = Image.new("RGB", (3 * side + 2 * GAP, rows * (side + GAP) - GAP + CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    titles = (f"JPEG, quality {arguments.jpeg_quality}, bicubic x2", "restored x2", "ground truth")
    for column, title in enumerate(titles):
        draw.text((column * (side + GAP) + 4, 3), title, fill="black", font=font)
    for row, truth in enumerate(arguments.truth):
        at = tuple(int(n) for n in arguments.at[row].split(",")) if row < len(arguments.at) else None
        for column, panel in enumerate(panels(truth, engine, arguments.jpeg_quality, side, at)):  # type: ignore[arg-type]
            sheet.paste(panel, (column * (side + GAP), CAPTION + row * (side + GAP)))
    sheet.save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
