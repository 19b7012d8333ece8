"""The run's log as one picture: the loss and the validation mean over the steps. Drawn with Pillow alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]

SIZE = (960, 640)
LEFT, RIGHT, TOP, GAP, BOTTOM = 70, 24, 34, 46, 40  # [px] round the two charts
INK, FAINT, PALE, MARK = "#222222", "#dddddd", "#a9c4de", "#1f5f99"

#: Weight of the newest loss in the smooth line.
SMOOTHING = 0.05


def read_log(log: Path) -> tuple[list[Point], list[Point]]:
    """The (step, loss) and (step, validation mean in dB) points of a JSON-lines log; a torn last line is left out."""
    losses: list[Point] = []
    means: list[Point] = []
    for line in log.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "loss" in entry:
            losses.append((entry["step"], entry["loss"]))
        if "validation" in entry:
            means.append((entry["step"], entry["validation"]["mean"]))
    return losses, means


def smooth(points: Sequence[Point]) -> list[Point]:
    """An exponential moving average over the points' second values."""
    result: list[Point] = []
    for x, y in points:
        before = result[-1][1] if result else y
        result.append((x, before + SMOOTHING * (y - before)))
    return result


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values inside [low, high], about `wanted` of them, in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def draw_plot(log: Path, file: Path) -> None:
    """Draws the log's two charts, one above the other, into a PNG.

    Args:
        log: the run's JSON-lines log.
        file: the picture to write.
    """
    losses, means = read_log(log)
    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    half = (SIZE[1] - TOP - GAP - BOTTOM) // 2
    last = max((x for x, _ in losses + means), default=1.0) or 1.0
    upper = (LEFT, TOP, SIZE[0] - RIGHT, TOP + half)
    lower = (LEFT, TOP + half + GAP, SIZE[0] - RIGHT, TOP + 2 * half + GAP)
    place = _chart(pen, upper, "L1 loss, each entry and smoothed", losses, last, "{:.4f}")
    if len(losses) > 1:
        pen.line([place(point) for point in losses], PALE)
        pen.line([place(point) for point in smooth(losses)], MARK, width=2)
    place = _chart(pen, lower, "validation, mean PSNR of all columns [dB]", means, last, "{:.2f}")
    if len(means) > 1:
        pen.line([place(point) for point in means], MARK, width=2)
    for point in means:
        x, y = place(point)
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), MARK)
    image.save(file)


def _chart(
    pen: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    title: str,
    points: Sequence[Point],
    last: float,
    label: str,
) -> Callable[[Point], Point]:
    """Draws the axes; returns what turns a point into pixels."""
    font = ImageFont.load_default(13)
    left, top, right, bottom = box
    values = [y for _, y in points] or [0.0, 1.0]
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def place(point: Point) -> Point:
        x = left + point[0] / last * (right - left)
        return x, bottom - (point[1] - low) / (high - low) * (bottom - top)

    pen.text((left, top - 20), title, INK, font)
    for value in ticks(low, high):
        _, y = place((0, value))
        pen.line((left, y, right, y), FAINT)
        pen.text((left - 8, y), label.format(value), INK, font, anchor="rm")
    for value in ticks(0, last, 8):
        x, _ = place((value, 0))
        pen.line((x, bottom, x, bottom + 4), INK)
        pen.text((x, bottom + 6), f"{value:g}", INK, font, anchor="ma")
    pen.line((left, top, left, bottom, right, bottom), INK)
    return place
