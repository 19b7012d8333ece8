"""The quantised DCT coefficients a JPEG file stores: all that it knows of its picture, 64 numbers a block.

A level q of step s says that the coefficient before compression lay between (q - 1/2) s and (q + 1/2) s. Of pixels that
were a JPEG once (a PNG made of one) the levels of the luma can be told again, if its grid and its steps were found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.errors import UnsupportedError
from liif_engine.picture.image_file import Picture
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.quantisation import LUMA_TABLE, scaled_table

Plane = NDArray[np.float32]

#: How a JPEG file may code colour, of those whose coefficients are understood here.
CODINGS = {"JCS_GRAYSCALE": "gray", "JCS_YCbCr": "YCbCr", "JCS_RGB": "RGB"}


@dataclass(frozen=True)
class Component:
    """One plane of a JPEG: luma, a chroma, or a colour.

    Attributes:
        levels: (rows, columns, 8, 8) int16, quantised coefficients; the last two axes are vertical and horizontal
            frequency.
        steps: (8, 8) int64, the quantisation table.
        down, across: picture pixels that one sample covers, vertically and horizontally; 2 and 2 for 4:2:0 chroma.
    """

    levels: NDArray[np.int16]
    steps: NDArray[np.int64]
    down: int = 1
    across: int = 1

    @property
    def values(self) -> Plane:
        """(rows, columns, 8, 8) dequantised coefficients, the middles of their intervals."""
        return (self.levels * self.steps).astype(np.float32)


@dataclass(frozen=True)
class Coefficients:
    """What a JPEG stores of a picture.

    Attributes:
        height, width: of the picture as stored, in pixels.
        coding: "gray", "YCbCr" or "RGB", what the components are.
        components: one of gray, three of the others; of estimated ones luma alone.
        phase: (y, x) of the first block in the pixels; (0, 0) in a file.
        orientation: of EXIF, 1 to 8: how the stored picture is turned to be seen.
        estimated: told from pixels, not read from a file.
    """

    height: int
    width: int
    coding: str
    components: tuple[Component, ...]
    phase: tuple[int, int] = (0, 0)
    orientation: int = 1
    estimated: bool = False

    @property
    def luma(self) -> Component:
        """The first component: luma, gray, or red in an RGB-coded file."""
        return self.components[0]


def basis() -> Plane:
    """(8, 8) the orthonormal DCT-II, a frequency per row, as JPEG scales it (T.81, A.3.3)."""
    k = np.arange(8)
    rows = np.sqrt(2 / 8) * np.cos(np.pi * (2 * k + 1) * k[:, None] / 16)
    rows[0] /= np.sqrt(2)
    result: Plane = rows.astype(np.float32)
    return result


def dct(blocks: Plane) -> Plane:
    """(..., 8, 8) samples, level-shifted by 128, to coefficients."""
    rows = basis()
    result: Plane = np.matmul(np.matmul(rows, blocks), rows.T)
    return result


def inverse_dct(coefficients: Plane) -> Plane:
    """(..., 8, 8) coefficients to samples less 128."""
    rows = basis()
    result: Plane = np.matmul(np.matmul(rows.T, coefficients), rows)
    return result


def as_blocks(plane: Plane) -> Plane:
    """The whole 8x8 blocks of a plane, (H, W) -> (H // 8, W // 8, 8, 8)."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    return plane[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2)


def as_plane(blocks: Plane) -> Plane:
    """The inverse of `as_blocks`, (rows, columns, 8, 8) -> (8 rows, 8 columns)."""
    rows, columns = blocks.shape[:2]
    return blocks.swapaxes(1, 2).reshape(8 * rows, 8 * columns)


def read(path: Path | str, *, orientation: int = 1) -> Coefficients | None:
    """The coefficients of a JPEG file.

    Args:
        path: a file that is known to open as a picture.
        orientation: of its EXIF, 1 to 8.

    Returns:
        None where it is no JPEG, or one whose coefficients say nothing simple: CMYK, arithmetic coding, or subsampling
        by a fraction.

    Raises:
        UnsupportedError: the library for it is not installed.
    """
    with Path(path).open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return None
    try:
        import jpeglib  # not needed by those who have no JPEG
    except ImportError as error:
        message = "the library that reads a JPEG's coefficients, jpeglib, is not installed"
        raise UnsupportedError(message, path=path, remedy="Run `pip install jpeglib`.") from error
    try:
        with _in_unicode(Path(path)) as name:
            stored: Any = jpeglib.read_dct(name)
    except (OSError, ValueError, RuntimeError):
        return None
    coding = CODINGS.get(str(stored.jpeg_color_space))
    planes = [stored.Y] if coding == "gray" else [stored.Y, stored.Cb, stored.Cr]
    factors = np.asarray(stored.samp_factor)[: len(planes)]  # (vertical, horizontal) of each component
    most = factors.max(axis=0)
    if coding is None or any(plane is None for plane in planes) or (most % factors).any():
        return None
    if coding == "RGB" and (factors != most).any():
        return None
    tables = np.asarray(stored.qt, np.int64)
    components = tuple(
        Component(np.asarray(plane, np.int16), tables[number], int(most[0] // down), int(most[1] // across))
        for plane, number, (down, across) in zip(planes, stored.quant_tbl_no, factors, strict=False)
    )
    return Coefficients(int(stored.height), int(stored.width), coding, components, orientation=orientation)


@contextmanager
def _in_unicode(path: Path) -> Iterator[str]:
    """A name of the file that jpeglib takes: it knows UTF-8 alone, and Linux any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with TemporaryDirectory(prefix="liif-") as folder:
            link = Path(folder, "picture.jpg")
            link.symlink_to(path.absolute())
            yield str(link)
    else:
        yield str(path)


def of_picture(path: Path | str, picture: Picture) -> Coefficients | None:
    """The coefficients of a file whose pixels were read, turned as those were; None as in `read`."""
    orientation = exif_block.orientation(picture.metadata.exif) if picture.metadata.turned else 1
    stored = read(path, orientation=orientation)
    if stored is None:
        return None
    size = (stored.width, stored.height) if orientation < 5 else (stored.height, stored.width)
    return stored if size == (picture.width, picture.height) else None


def from_pixels(luma: Plane, phase: tuple[int, int], quality: int) -> Coefficients:
    """The luma levels that pixels still keep to, where `damage.estimate` found a grid and a quality.

    Args:
        luma: (H, W), 0-255.
        phase: (y, x) of the first whole block.
        quality: libjpeg's, 1-100.
    """
    steps = scaled_table(LUMA_TABLE, quality)
    values = dct(as_blocks(luma[phase[0] :, phase[1] :] - np.float32(128)))
    component = Component(np.rint(values / steps).astype(np.int16), steps)
    height, width = luma.shape
    return Coefficients(height, width, "YCbCr", (component,), phase, estimated=True)
