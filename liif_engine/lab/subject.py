"""The picture that is explained: its pixels, what is known of its compression, and the window that is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.errors import InputError, UnsupportedError
from liif_engine.picture import coefficients, damage, image_file, planes
from liif_engine.picture.coefficients import Coefficients, Component
from liif_engine.picture.damage import Damage
from liif_engine.picture.image_file import Limits, Picture
from liif_engine.picture.loss import expected_loss
from liif_engine.picture.tiles import Rect

#: The largest window that is restored for a report [input pixels], and the largest result [pixels]: some 15 s of work.
WINDOW_PIXELS, RESULT_PIXELS = 480_000, 2_000_000

#: A window starts and ends at such multiples, where blocks of luma and of halved chroma both do.
ALIGNMENT = 16

#: Smaller pictures have no room for a patch and its surroundings.
SMALLEST = 8


@dataclass(frozen=True)
class Subject:
    """A picture, or the window of it that is looked at.

    Attributes:
        path, format, sha256: of the file.
        width, height: of the whole picture as displayed.
        pixels: (H, W, 1 or 3) uint8 of the window, upright.
        window: where it lies in the picture.
        damage: what is known of the whole picture's compression.
        stored: the window's JPEG coefficients, read or told from the pixels; None: neither is possible.
        orientation: of EXIF, 1 to 8, where there are coefficients that it turns.
        notes: what the reader should know of how it was looked at.
    """

    path: Path
    format: str
    sha256: str
    width: int
    height: int
    pixels: NDArray[np.uint8]
    window: Rect
    damage: Damage
    stored: Coefficients | None
    orientation: int
    notes: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether the window is the whole picture."""
        return self.window == Rect(0, self.height, 0, self.width)


def read(path: Path, *, scale: float, region: Rect | None = None, limits: Limits | None = None) -> Subject:
    """Reads a picture and chooses the window.

    Args:
        path: a picture file.
        scale: of the result, which limits the window's size.
        region: what must be looked at if it fits, in displayed pixels; None: the most damaged place.
        limits: what is refused as too large.

    Raises:
        LiifError: no readable picture, one in CMYK, or one that is too small; it names the file.
    """
    picture = image_file.read(path, limits=limits or Limits())
    if picture.layout == "CMYK":
        remedy = "Convert it to RGB first."
        raise UnsupportedError("is CMYK, whose inks an explanation of colours does not fit", path=path, remedy=remedy)
    if min(picture.width, picture.height) < SMALLEST:
        size = f"{picture.width}x{picture.height} pixels"
        remedy = f"Name a picture of at least {SMALLEST}x{SMALLEST} pixels."
        raise InputError(f"has {size}, too few to explain", path=path, remedy=remedy)
    pixels, notes = _plain(picture.frames[0].pixels, picture.layout)
    if len(picture.frames) > 1:
        notes.append(f"Only the first of its {len(picture.frames)} frames is looked at.")
    known = damage.estimate(picture.frames[0].pixels, path)
    stored = _stored(path, picture, pixels, known)
    orientation = 1 if stored is None else stored.orientation
    whole = Rect(0, picture.height, 0, picture.width)
    subject = Subject(
        path, picture.format, picture.sha256, picture.width, picture.height, pixels, whole, known, stored, orientation,
        tuple(notes),
    )  # fmt: skip
    return _cut(subject, _window(subject, scale, region))


def _plain(pixels: NDArray[Any], layout: str) -> tuple[NDArray[np.uint8], list[str]]:
    """(H, W, C) of any depth and layout but CMYK to (H, W, 1 or 3) uint8, and what was left out."""
    notes = []
    if planes.has_alpha(layout):
        pixels = planes.spread_visible_colour(pixels)
        notes.append("Its transparency is left out: it is resized, not restored.")
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels.astype(np.float64) / planes.FULL_SCALE[pixels.dtype.name] * 255)
        notes.append("Its 16 bits are shown as 8.")
    return np.ascontiguousarray(pixels.astype(np.uint8)), notes


def _stored(path: Path, picture: Picture, pixels: NDArray[np.uint8], known: Damage) -> Coefficients | None:
    """The file's coefficients, or those its pixels still tell."""
    stored = coefficients.of_picture(path, picture)
    if stored is None and known.file is None and known.grid_phase is not None and known.pixel_quality is not None:
        weights = np.array([0.299, 0.587, 0.114] if pixels.shape[2] == 3 else [1.0], np.float32)
        return coefficients.from_pixels(pixels @ weights, known.grid_phase, known.pixel_quality)
    return stored


def _window(subject: Subject, scale: float, region: Rect | None) -> Rect:
    """The whole picture if it is small enough, else a piece around the region or the most damaged block; as stored."""
    most = max(min(WINDOW_PIXELS, RESULT_PIXELS / scale**2), (8 * ALIGNMENT) ** 2)
    whole = _as_stored(subject.window, subject)
    if whole.area <= most:
        return whole
    side = math.sqrt(most)
    height = min(whole.height, max(side, most / whole.width))
    width = min(whole.width, most / height)
    if region is None:
        y, x = _centre(subject, whole)
    else:
        region = _as_stored(region, subject)
        y, x = (region.top + region.bottom) / 2, (region.left + region.right) / 2
    return Rect(*_aligned(y, height, whole.height), *_aligned(x, width, whole.width))


def _aligned(centre: float, length: float, whole: int) -> tuple[int, int]:
    """A stretch around a centre that starts at a multiple of `ALIGNMENT`."""
    length = min(int(length) // ALIGNMENT * ALIGNMENT, whole)
    start = min(max(centre - length / 2, 0), whole - length)
    start = int(start) // ALIGNMENT * ALIGNMENT
    return start, start + length


def _centre(subject: Subject, whole: Rect) -> tuple[float, float]:
    """(y, x) where most is expected to have been lost, averaged over some 80 pixels; the middle if nothing is known."""
    if subject.stored is None:
        return whole.height / 2, whole.width / 2
    loss = np.square(expected_loss(subject.stored.luma))
    reach = 5
    padded = np.cumsum(np.cumsum(np.pad(loss, reach, mode="edge"), 0), 1)
    sums = padded[2 * reach :, 2 * reach :] - padded[: -2 * reach, 2 * reach :]
    sums = sums - padded[2 * reach :, : -2 * reach] + padded[: -2 * reach, : -2 * reach]
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    return 8.0 * (row + 0.5) + subject.stored.phase[0], 8.0 * (column + 0.5) + subject.stored.phase[1]


def _cut(subject: Subject, stored_window: Rect) -> Subject:
    """The part of a subject in a window of the stored picture."""
    window = _as_displayed(stored_window, subject)
    if window == subject.window:
        return subject
    place = f"{window.left},{window.top},{window.width},{window.height}"
    note = f"The picture is large, so a window of it was looked at: {place} (x, y, width, height)."
    stored = None if subject.stored is None else _cut_stored(subject.stored, stored_window)
    pixels = np.ascontiguousarray(subject.pixels[window.top : window.bottom, window.left : window.right])
    return replace(subject, pixels=pixels, window=window, stored=stored, notes=(*subject.notes, note))


def _as_stored(place: Rect, subject: Subject) -> Rect:
    """A place of the displayed picture in the picture as its file has it, which EXIF may turn."""
    mirrored = _mirrored(place, subject)
    return _transposed(mirrored) if subject.orientation >= 5 else mirrored


def _as_displayed(place: Rect, subject: Subject) -> Rect:
    """The inverse of `_as_stored`."""
    return _mirrored(_transposed(place) if subject.orientation >= 5 else place, subject)


def _mirrored(place: Rect, subject: Subject) -> Rect:
    top, bottom, left, right = place.top, place.bottom, place.left, place.right
    if subject.orientation in {3, 4, 7, 8}:
        top, bottom = subject.height - bottom, subject.height - top
    if subject.orientation in {2, 3, 6, 7}:
        left, right = subject.width - right, subject.width - left
    return Rect(top, bottom, left, right)


def _transposed(place: Rect) -> Rect:
    return Rect(place.left, place.right, place.top, place.bottom)


def _cut_stored(stored: Coefficients, window: Rect) -> Coefficients:
    """The coefficients of a window that starts at a multiple of 16; of coarser chroma, luma alone."""
    pieces = []
    for component in stored.components:
        down, across = 8 * component.down, 8 * component.across
        if window.top % down or window.left % across:
            break
        rows = slice(window.top // down, -(-window.bottom // down))
        columns = slice(window.left // across, -(-window.right // across))
        pieces.append(Component(component.levels[rows, columns], component.steps, component.down, component.across))
    return replace(stored, height=window.height, width=window.width, components=tuple(pieces))
