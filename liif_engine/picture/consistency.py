"""Whether a picture could have become a given JPEG: its coefficients against the file's quantisation intervals.

A picture that leaves an interval cannot be the one that was compressed. The set of pictures inside all intervals is
convex and holds the original, so going to its nearest point never leads away from the original (in each plane that was
compressed; rounding and clipping to 8 bits aside).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture.coefficients import Coefficients, Component, as_blocks, as_plane, dct, inverse_dct

Pixels = NDArray[Any]
Plane = NDArray[np.float32]

#: RGB to full-range BT.601 Y, Cb - 128, Cr - 128, as JFIF has it.
TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)
FROM_YCBCR = np.linalg.inv(TO_YCBCR).astype(np.float32)

#: Grey levels by which rounding pixels to 8 bits moves a coefficient: a uniform error of half a level in each pixel
#: gives a spread of 0.29, and this is some 2.6 times that for luma made of three rounded colours.
ROUNDING = 0.5

#: Rounds of projection and clipping to 0-255: each undoes a little of the other.
ROUNDS = 3


@dataclass(frozen=True)
class Agreement:
    """A picture against a JPEG's intervals, one array a component.

    Attributes:
        inside: (rows, columns, 8, 8) bool of each component: the coefficient lies in its interval.
        beyond: (rows, columns, 8, 8) float32 of each: how far it lies outside, signed, in grey levels; else 0.
        within: (rows, columns, 8, 8) float32 of each: its distance to the interval's middle as far as the interval
            goes, signed: what the picture adds that the file allows.
    """

    inside: tuple[NDArray[np.bool_], ...]
    beyond: tuple[Plane, ...]
    within: tuple[Plane, ...]

    @property
    def share(self) -> float:
        """The part of all coefficients that lie inside, 0-1; of no coefficients, 1."""
        count = sum(part.size for part in self.inside)
        return sum(int(part.sum()) for part in self.inside) / count if count else 1.0

    @property
    def luma_by_block(self) -> NDArray[np.float64]:
        """(rows, columns) the part of each luma block's 64 coefficients that lie inside."""
        shares: NDArray[np.float64] = self.inside[0].mean((2, 3))
        return shares

    @property
    def luma_beyond(self) -> Plane:
        """(8 rows, 8 columns) what contradicts the file, as pixels: grey levels of luma, signed."""
        return as_plane(inverse_dct(self.beyond[0]))


def agreement(stored: Coefficients, pixels: Pixels) -> Agreement:
    """Compares a picture with a JPEG's intervals, as its encoder would: YCbCr, chroma averaged, DCT, the file's steps.

    Only blocks that lie whole in the picture count: what an encoder puts beyond the border is its own affair.

    Args:
        stored: the JPEG.
        pixels: (H, W, 3) or (H, W, 1), 0-255, as displayed, in the size of the JPEG.

    Raises:
        ValueError: of another size.
    """
    inside, beyond, within = [], [], []
    for component, plane in zip(stored.components, _planes(stored, pixels), strict=True):
        levels, values = _whole_blocks(component, _averaged(plane, component, stored.phase))
        off = values - levels * component.steps.astype(np.float32)
        half = component.steps.astype(np.float32) / 2
        near = off.clip(-half, half)
        inside.append(np.abs(off) <= half + ROUNDING)
        beyond.append(off - near)
        within.append(near)
    return Agreement(tuple(inside), tuple(beyond), tuple(within))


def project(stored: Coefficients, pixels: Pixels) -> Pixels:
    """The nearest picture inside a JPEG's intervals, but for rounding to 8 bits.

    Args:
        stored: the JPEG.
        pixels: (H, W, 3) or (H, W, 1) uint8, as displayed, in the size of the JPEG.

    Returns:
        As `pixels`. Blocks that the picture's border cuts stay as they are.

    Raises:
        ValueError: of another size.
    """
    current = pixels.astype(np.float32)
    for _ in range(ROUNDS):
        planes = _planes(stored, current)
        for component, plane in zip(stored.components, planes, strict=True):
            _project_plane(component, plane, stored.phase)
        current = _to_pixels(stored, planes, current).clip(0, 255)
    return np.rint(current).astype(pixels.dtype)


def stored_view(pixels: Pixels, orientation: int) -> Pixels:
    """A displayed picture as it lies in a file of that EXIF orientation: the inverse of turning it upright; a view."""
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels


def displayed_view(pixels: Pixels, orientation: int) -> Pixels:
    """What lies in a file as it is displayed; a view."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in {3, 4, 7, 8} else pixels


def _planes(stored: Coefficients, pixels: Pixels) -> list[Plane]:
    """The components' planes at full size, level-shifted to lie around 0, (H, W) each."""
    turned = stored_view(pixels, stored.orientation).astype(np.float32)
    if turned.shape[:2] != (stored.height, stored.width):
        raise ValueError(f"the JPEG has {stored.width}x{stored.height} pixels, the picture {turned.shape[1::-1]}")
    if turned.shape[2] == 1 and stored.coding != "gray":
        turned = turned.repeat(3, axis=2)
    if stored.coding == "RGB" or turned.shape[2] == 1:
        return [turned[..., channel] - 128 for channel in range(turned.shape[2])]
    planes = turned @ TO_YCBCR.T
    planes[..., 0] -= 128
    return [planes[..., channel] for channel in range(len(stored.components))]


def _to_pixels(stored: Coefficients, planes: list[Plane], before: Pixels) -> Pixels:
    """Planes to displayed pixels; a chroma that was not compared stays as it was before."""
    if stored.coding == "RGB" or (stored.coding == "gray" and before.shape[2] == 1):
        stack = np.stack(planes, axis=-1) + 128
        return displayed_view(stack, stored.orientation)
    turned = stored_view(before, stored.orientation)
    turned = turned.repeat(3, axis=2) if turned.shape[2] == 1 else turned
    ycbcr = turned.astype(np.float32) @ TO_YCBCR.T
    for channel, plane in enumerate(planes):
        ycbcr[..., channel] = plane + (128 if channel == 0 else 0)
    return displayed_view(ycbcr @ FROM_YCBCR.T, stored.orientation)


def _averaged(plane: Plane, component: Component, phase: tuple[int, int]) -> Plane:
    """A plane reduced to a component's samples by averaging, as libjpeg does; whole samples only, from the phase on."""
    plane = plane[phase[0] :, phase[1] :]
    down, across = component.down, component.across
    rows, columns = plane.shape[0] // down, plane.shape[1] // across
    cut = plane[: rows * down, : columns * across]
    averaged: Plane = cut.reshape(rows, down, columns, across).mean((1, 3))
    return averaged


def _whole_blocks(component: Component, samples: Plane) -> tuple[NDArray[np.int16], Plane]:
    """Levels and the samples' coefficients, both (rows, columns, 8, 8)."""
    values = dct(as_blocks(samples))
    return component.levels[: values.shape[0], : values.shape[1]], values


def _project_plane(component: Component, plane: Plane, phase: tuple[int, int]) -> None:
    """Moves a plane, in place, to the nearest one whose averages lie inside."""
    levels, values = _whole_blocks(component, _averaged(plane, component, phase))
    middle = levels * component.steps.astype(np.float32)
    half = component.steps.astype(np.float32) / 2
    change = as_plane(inverse_dct(values.clip(middle - half, middle + half) - values))
    spread = change.repeat(component.down, axis=0).repeat(component.across, axis=1)
    rows, columns = spread.shape
    plane[phase[0] : phase[0] + rows, phase[1] : phase[1] + columns] += spread
