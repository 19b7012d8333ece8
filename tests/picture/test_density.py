"""Pixels per inch, where a format can say them only in EXIF."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_engine.errors import UnsupportedError
from liif_engine.picture.image_file import read
from liif_engine.picture.image_file.result import write


def saved(folder: Path, name: str, **options: object) -> Path:
    path = folder / name
    Image.fromarray(np.full((6, 8, 3), 99, np.uint8)).save(path, **options)
    return path


def written(source: Path, name: str, format: str) -> Path:
    picture = read(source)
    pixels = [frame.pixels for frame in picture.frames]
    write(source.parent / name, picture, pixels, format=format, quality=90, marker=None, overwrite=False)
    return source.parent / name


def exif_of(path: Path) -> Image.Exif:
    with Image.open(path) as image:
        return image.getexif()


@pytest.mark.parametrize(("name", "dots"), [("a.jpg", (300, 200)), ("a.png", (300, 200)), ("a.tif", (300.5, 72))])
def test_it_goes_into_exif(tmp_path: Path, name: str, dots: tuple[float, float]) -> None:
    exif = exif_of(written(saved(tmp_path, name, dpi=dots), "b.webp", "WEBP"))
    assert (exif[282], exif[283], exif[296]) == (pytest.approx(dots[0], abs=0.02), pytest.approx(dots[1], abs=0.02), 2)


def test_exif_that_says_it_stays_as_it_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[282], exif[283], exif[271] = 144.0, 144.0, "Maker"
    kept = exif_of(written(saved(tmp_path, "a.jpg", dpi=(72, 72), exif=exif), "b.webp", "WEBP"))
    assert (kept[282], kept[271]) == (144, "Maker")


def test_exif_that_does_not_say_it_has_no_room(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    with pytest.raises(UnsupportedError, match="pixels per inch"):
        written(saved(tmp_path, "a.jpg", dpi=(72, 72), exif=exif), "b.webp", "WEBP")


def test_square_pixels_need_no_place_and_others_do(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jpg")
    data = bytearray(path.read_bytes())
    assert data[6:11] == b"JFIF\0"
    written(path, "b.gif", "GIF")
    data[13:18] = b"\0\0\x02\0\x01"  # no unit, 2 to 1
    path.write_bytes(data)
    with pytest.raises(UnsupportedError, match="not square"):
        written(path, "b.webp", "WEBP")


def unsquare(folder: Path, format: str) -> Path:
    """A file that says that its pixels are twice as high as wide, and nothing else of their density."""
    if format == "TIFF":
        return saved(folder, "of.tif", tiffinfo={282: 2.0, 283: 1.0, 296: 1})
    path = saved(folder, f"of.{format.lower()}", **({"dpi": (1, 1)} if format != "GIF" else {}))
    data = bytearray(path.read_bytes())
    if format == "JPEG":
        data[13:18] = b"\0\0\x02\0\x01"
    elif format == "GIF":
        data[12] = 32 - 15  # sixty-fourths of a pixel's height
    else:
        at = data.index(b"pHYs")
        chunk = b"pHYs" + struct.pack(">IIB", 2, 1, 0)
        data[at : at + 17] = chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("after", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("before", ["JPEG", "PNG", "GIF", "TIFF"])
def test_pixels_that_are_not_square_stay_so_or_are_refused(tmp_path: Path, before: str, after: str) -> None:
    source = unsquare(tmp_path, before)
    density = read(source).metadata.density
    assert density is not None
    assert (density.unit, density.aspect()) == ("aspect", Fraction(1, 2))
    if after in {"BMP", "WEBP"}:
        with pytest.raises(UnsupportedError, match="pixels that are not square"):
            written(source, "result", after)
        return
    kept = read(written(source, "result", after)).metadata.density
    assert kept is not None
    assert (kept.unit, kept.aspect()) == ("aspect", Fraction(1, 2))


@pytest.mark.parametrize(("name", "format"), [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.tif", "TIFF")])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_picture_that_lay_on_its_side_has_the_other_density_across(
    tmp_path: Path, name: str, format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[274], exif[282], exif[283], exif[296] = orientation, 204.0, 98.0, 2
    source = saved(tmp_path, name, exif=exif, **({} if format == "TIFF" else {"dpi": (204, 98)}))
    across, down = (204, 98) if orientation == 3 else (98, 204)
    for after in (format, "PNG", "JPEG", "TIFF"):
        result = written(source, f"b.{after.lower()}", after)
        per_inch = read(result).metadata.density.per_inch()  # type: ignore[union-attr]
        assert per_inch == pytest.approx((across, down), abs=0.02)
        kept = exif_of(result)
        if format != "TIFF" or after == "TIFF":  # whose density is no part of an EXIF block
            assert (kept[282], kept[283]) == (pytest.approx(across, abs=0.02), pytest.approx(down, abs=0.02))
        result.unlink()


def test_proportions_that_gif_cannot_say_are_refused_and_those_of_jpeg_are_near(tmp_path: Path) -> None:
    source = unsquare(tmp_path, "PNG")
    data = source.read_bytes().replace(struct.pack(">II", 2, 1), struct.pack(">II", 1_000_003, 200_000))
    at = data.index(b"pHYs")
    source.write_bytes(data[: at + 13] + struct.pack(">I", zlib.crc32(data[at : at + 13])) + data[at + 17 :])
    with pytest.raises(UnsupportedError, match="pixels that are not square"):
        written(source, "b.gif", "GIF")
    kept = read(written(source, "b.jpg", "JPEG")).metadata.density
    assert kept is not None
    assert float(kept.aspect() or 0) == pytest.approx(200_000 / 1_000_003, rel=1e-4)
