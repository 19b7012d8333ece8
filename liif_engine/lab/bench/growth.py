"""Whether time grows with the pixels and memory does not: figures over sizes, and their plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from liif_engine.lab.bench.turns import Case

Point = tuple[float, float]

#: Colours that are told apart in gray and by the colour-blind as well.
COLOURS = ((0, 90, 160), (215, 95, 0), (0, 130, 95), (120, 60, 140))
INK, FAINT = (40, 40, 40), (222, 222, 222)
WIDTH, HEIGHT, LEFT, TOP, GAP, BOTTOM = 1080, 420, 64, 40, 92, 52


def exponent(cases: Sequence[Case], name: str) -> float:
    """The slope of log(seconds) over log(megapixels) by least squares; 1 is linear growth."""
    there = [case for case in cases if name in case.runs]
    points = [(math.log(case.median(name, "megapixels")), math.log(case.median(name, case.clock))) for case in there]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    slope: float = above / sum((x - mean_x) ** 2 for x, _ in points)
    return slope


def plot(cases: Sequence[Case], names: Sequence[str], file: Path) -> None:
    """Two charts with a logarithmic axis of megapixels: seconds, logarithmic too, and megabytes beyond the arrays."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    half = (WIDTH - LEFT - GAP - 24) // 2
    seconds = {n: [(c.median(n, "megapixels"), c.median(n, c.clock)) for c in cases if n in c.runs] for n in names}
    memory = {n: [(c.median(n, "megapixels"), work_bytes(c, n) / 1e6) for c in cases if n in c.runs] for n in names}
    _chart(
        pen,
        (LEFT, TOP, LEFT + half, HEIGHT - BOTTOM),
        cases[0].clock.replace("cpu_", "CPU "),
        seconds,
        logarithmic=True,
    )
    right = LEFT + half + GAP
    _chart(pen, (right, TOP, right + half, HEIGHT - BOTTOM), "peak MB beyond the result", memory, logarithmic=False)
    image.save(file, optimize=True)


def work_bytes(case: Case, name: str) -> float:
    """Peak memory without the result itself."""
    return max(case.median(name, "peak_bytes") - 3e6 * case.median(name, "megapixels"), 0)


def _chart(
    pen: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    title: str,
    series: dict[str, list[Point]],
    *,
    logarithmic: bool,
) -> None:
    font = ImageFont.load_default(13)
    left, top, right, bottom = box
    points = [point for line in series.values() for point in line]
    x_place = _axis([x for x, _ in points], left, right, logarithmic=True)
    values = [y for _, y in points] if logarithmic else [0.0, 1.15 * max(y for _, y in points)]
    y_place = _axis(values, bottom, top, logarithmic=logarithmic)
    pen.text((left, top - 24), title, INK, font)
    for value in _marks(values, logarithmic=logarithmic):
        pen.line((left, y_place(value), right, y_place(value)), FAINT)
        pen.text((left - 6, y_place(value)), f"{value:g}", INK, font, anchor="rm")
    for value in _marks([x for x, _ in points], logarithmic=True):
        pen.line((x_place(value), bottom, x_place(value), bottom + 4), INK)
        pen.text((x_place(value), bottom + 7), f"{value:g}", INK, font, anchor="ma")
    pen.text((right, bottom + 26), "megapixels of the result", INK, font, anchor="ra")
    pen.line((left, top, left, bottom, right, bottom), INK)
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(x_place(x), y_place(y)) for x, y in line]
        pen.line(places, colour, 2)
        for x, y in places:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
        pen.text((left + 12, top + 4 + 17 * number), name, colour, font)


def _axis(values: Sequence[float], start: int, end: int, *, logarithmic: bool) -> Callable[[float], float]:
    scale: Callable[[float], float] = math.log if logarithmic else float
    low, high = scale(min(values)), scale(max(values))
    margin = 0.05 * (high - low) if logarithmic else 0.0
    low, high = low - margin, high + margin or 1.0

    def place(value: float) -> float:
        return start + (scale(value) - low) / ((high - low) or 1) * (end - start)

    return place


def _marks(values: Sequence[float], *, logarithmic: bool) -> list[float]:
    low, high = min(values), max(values)
    if logarithmic:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        return [value for value in found if low <= value <= high]
    step = 10.0 ** math.floor(math.log10(high / 2 or 1))
    step *= 2 if high / step > 8 else 1
    return [step * n for n in range(int(high / step) + 1)]
