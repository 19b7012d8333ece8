"""What `liif evaluate --audit` looks at: the kinds of content on which arithmetic of few bits goes wrong, if it does.

Averages over photographs hide mismatches on rare content (arXiv 2306.06238), so every kind is judged by itself. All but
the photographs are drawn here, the same on every machine with the same Pillow and libjpeg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from liif_engine.lab.degrade import Compression, compress
from liif_engine.lab.evaluate import pictures_in, read

Pixels = NDArray[np.uint8]

WORDS = ("Hamburgefonstiv 0123456789", "the quick brown fox jumps", "WAVY LINES & sharp edges", "iIl1| ,.;: {}[]()")

#: Of each folder of photographs, at most so many, from the first by name on in even steps.
PHOTOGRAPHS = 4


def pictures(folders: Sequence[Path] = (), *, side: int = 128) -> Iterator[tuple[str, Pixels]]:
    """Yields (kind, picture); a kind may come several times.

    Args:
        folders: of photographs, which are cut to `side` pixels at their middle.
        side: of the drawn pictures, a multiple of 8, at least 64.

    Yields:
        The kind's name and (H, W, 3) uint8 pixels.

    Raises:
        InputError: a folder without pictures, or a file that is none.
    """
    scenes = [scene(side)]
    for folder in folders:
        paths = pictures_in(folder)
        photographs = [_middle(read(path), side) for path in paths[:: max(1, len(paths) // PHOTOGRAPHS)][:PHOTOGRAPHS]]
        yield from (("photographs", photograph) for photograph in photographs)
        scenes += photographs[:1]
    for kind, draw in DRAWN.items():
        yield kind, draw(side)
    for one in scenes:
        yield "JPEG of quality 5", _compressed(one, Compression("jpeg", 5))
        yield "JPEG twice", _compressed(one, Compression("jpeg", 20), Compression("jpeg", 50, shift=(3, 5)))
    yield from (("extreme aspect ratios", strip) for strip in _strips(side))


def scene(side: int) -> Pixels:
    """Colours and edges with the statistics of a photograph: noise whose amplitude falls with frequency, and shapes."""
    rng = np.random.default_rng(7)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 1 / side
    planes = [np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) / frequency).real for _ in range(3)]
    natural = np.stack(planes, -1)
    natural += natural.mean(-1, keepdims=True) * 2  # colours of one place are alike
    image = Image.fromarray(_levels(128 + 45 * natural / natural.std()))
    pen = ImageDraw.Draw(image)
    pen.ellipse((side // 8, side // 8, side // 2, side // 2), (210, 160, 90))
    pen.polygon([(side // 2, side - 9), (side - 9, side // 2), (side - 20, side - 9)], (30, 60, 110))
    pen.text((9, side - 24), WORDS[0], (245, 245, 240), ImageFont.load_default(14))
    return np.asarray(image)


def text(side: int) -> Pixels:
    """Letters of many sizes, dark on light and light on dark."""
    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, side // 2, side, side), (24, 26, 30))
    for line, top in enumerate(range(2, side - 10, 14)):
        ink = (0, 0, 0) if top < side // 2 - 12 else (235, 235, 220)
        pen.text((3, top), WORDS[line % len(WORDS)], ink, ImageFont.load_default(8 + line % 5 * 2))
    return np.asarray(image)


def line_art(side: int) -> Pixels:
    """Flat colours between hard outlines, without antialiasing."""
    image = Image.new("RGB", (side, side), (255, 250, 235))
    pen = ImageDraw.Draw(image)
    pen.ellipse((side // 8, side // 8, side * 5 // 8, side * 5 // 8), (255, 214, 60), (0, 0, 0), 3)
    pen.polygon([(side // 2, side // 3), (side - 6, side - 8), (side // 4, side - 14)], (60, 140, 220), (0, 0, 0))
    pen.rectangle((side * 3 // 4, 6, side - 8, side // 3), (220, 60, 60), (0, 0, 0), 2)
    for step in range(0, side // 2, 6):
        pen.line((0, side - step, step, side - 1), (0, 0, 0))
    return np.asarray(image)


def saturated_red(side: int) -> Pixels:
    """Pure red with what is worst beside it: blue and black letters, a soft edge, a dark red."""
    image = Image.new("RGB", (side, side), (255, 0, 0))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, side // 2, side // 2, side), (0, 0, 255))
    pen.rectangle((side // 2, side // 2, side, side), (140, 0, 0))
    pen.text((6, 6), WORDS[1], (0, 0, 255), ImageFont.load_default(14))
    pen.text((6, side // 2 + 6), WORDS[2], (255, 0, 0), ImageFont.load_default(14))
    pixels = np.array(image)
    pixels[side // 4 : side // 2, :, 1] = np.linspace(0, 255, side)  # red to yellow
    return pixels


def smooth_gradients(side: int) -> Pixels:
    """Slow ramps, bright, dark and coloured, where a step of one level is a visible band."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    ramps = np.stack([200 + 55 * x, 200 + 55 * y, 230 + 25 * x * y], -1)  # a bright sky
    half = side // 2
    ramps[half:, :half] = (20 * x + 20 * y)[half:, :half, None]  # nearly black
    ramps[half:, half:] = np.stack([255 * x, 90 + 40 * y, 255 - 255 * x], -1)[half:, half:]
    return _levels(ramps)


def night_noise(side: int) -> Pixels:
    """A dark picture full of a sensor's noise, with a few lamps."""
    rng = np.random.default_rng(11)
    dark = 10 + rng.standard_normal((side, side, 3)) * 8 + rng.standard_normal((side, side, 1)) * 6
    y, x = np.mgrid[0:side, 0:side]
    for row, column in rng.integers(8, side - 8, (5, 2)):
        dark += 260 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 12)[..., None] * [1, 0.9, 0.6]
    return _levels(dark)


def one_pixel_lines(side: int) -> Pixels:
    """Lines one pixel wide in all directions, and a chequer of single pixels: the highest frequencies there are."""
    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    half = side // 2
    for step in range(0, half, 2):
        pen.line((step, 0, step, half - 1), (0, 0, 0))
        pen.line((half, step, side - 1, step), (0, 60, 160))
    for angle in np.linspace(0, np.pi, 24, endpoint=False):
        reach = 0.45 * half * np.array([np.cos(angle), np.sin(angle)])
        middle = np.array([half / 2, 1.5 * half])
        pen.line([*(middle - reach), *(middle + reach)], (0, 0, 0))
    pixels = np.array(image)
    y, x = np.mgrid[half:side, half:side]
    pixels[half:, half:] = 255 * ((x + y) % 2)[..., None]
    return pixels


def dithering(side: int) -> Pixels:
    """One bit a channel by error diffusion, as old web graphics have it: black and white, and eight colours."""
    gray = Image.fromarray(scene(side)).convert("1").convert("RGB")
    colours = [Image.fromarray(plane).convert("1").convert("L") for plane in np.moveaxis(smooth_gradients(side), -1, 0)]
    halves = np.asarray(gray)[: side // 2], np.asarray(Image.merge("RGB", colours))[side // 2 :]
    return np.concatenate(halves)


DRAWN: dict[str, Callable[[int], Pixels]] = {
    "natural texture": scene,
    "text": text,
    "line art": line_art,
    "saturated red": saturated_red,
    "smooth gradients": smooth_gradients,
    "night noise": night_noise,
    "dithering": dithering,
    "lines of one pixel": one_pixel_lines,
}


def _strips(side: int) -> Iterator[Pixels]:
    """Very wide, very high, and one pixel thick."""
    wide = np.concatenate([scene(side), text(side), line_art(side)], axis=1)
    yield wide[side // 2 : side // 2 + 6]
    yield np.ascontiguousarray(wide[side // 2 : side // 2 + 3].transpose(1, 0, 2))
    yield wide[side // 3 : side // 3 + 1]


def _compressed(pixels: Pixels, *passes: Compression) -> Pixels:
    image = Image.fromarray(pixels)
    for step in passes:
        image = compress(image, step)
    return np.asarray(image)


def _middle(pixels: Pixels, side: int) -> Pixels:
    """At most side x side pixels, in colour."""
    top, left = (max(n - side, 0) // 2 for n in pixels.shape[:2])
    middle = pixels[top : top + side, left : left + side]
    return middle.repeat(3, axis=2) if middle.shape[2] == 1 else middle


def _levels(values: NDArray[np.float64]) -> Pixels:
    return np.rint(values).clip(0, 255).astype(np.uint8)
