"""What ImageJ, tifffile and microscopes say in a TIFF file of its pixels is true of the result, or there is none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from liif_engine.errors import UnsupportedError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import tiff
from liif_engine.picture.image_file.tiff_tags import Directory, Tag, number_tag

from .made import restored
from .tiffs import LIMITS, ORDERS, random_pixels, raw, tags_of

MICRONS = b"ImageJ=1.54f\nunit=micron\nxorigin=2.5\nyorigin=1\nmin=0.0\n\0"


def described(text: bytes, *, order: str = "<", channels: int = 1, **more: Tag) -> bytes:
    pixels = random_pixels(4, 6, channels)
    return raw(pixels, 1 if channels == 1 else 2, order=order, t270=Tag(2, len(text), text), **more)


def density(order: str, x: tuple[int, int], y: tuple[int, int]) -> dict[str, Tag]:
    sides = {f"t{282 + at}": Tag(5, 1, struct.pack(order + "II", *side)) for at, side in enumerate((x, y))}
    return sides | {"t296": number_tag(order, 1)}


def twice(folder: Path, data: bytes, *, name: str = "b.tif", notes: list[str] | None = None) -> bytes:
    (folder / "a.tif").write_bytes(data)
    assert restored(folder / "a.tif", folder / name, format=image_file.format_for(Path(name))) == (notes or [])
    return (folder / name).read_bytes()


def rational(directory: Directory, number: int, order: str = "<") -> tuple[int, ...]:
    return struct.unpack(order + "II", directory.tags[number].data)


@pytest.mark.parametrize("order", ORDERS)
def test_imagejs_pixels_become_smaller_and_its_origin_stays_at_its_place(tmp_path: Path, order: str) -> None:
    data = described(MICRONS, order=order, **density(order, (4_500_000, 1_000_000), (1, 300)))
    tags = tags_of(twice(tmp_path, data))
    assert (rational(tags, 282, order), rational(tags, 283, order)) == ((9, 1), (1, 150))
    assert tags.tags[270].data == MICRONS.replace(b"n=2.5", b"n=5").replace(b"n=1\n", b"n=2\n")


def test_in_another_format_imagejs_words_are_as_true(tmp_path: Path) -> None:
    twice(tmp_path, described(MICRONS, **density("<", (9, 2), (9, 2))), name="b.png")
    with Image.open(tmp_path / "b.png") as image:
        exif = image.getexif()
    assert (exif[282], exif[296]) == (9, 1)
    assert "xorigin=5" in exif[270]


def test_a_picture_of_imagejs_that_lay_on_its_side_is_measured_along_its_new_sides(tmp_path: Path) -> None:
    notes = ["ImageJ's origin was left out: it speaks of the picture as it lay"]
    data = described(MICRONS, t274=number_tag("<", 6), **density("<", (4, 1), (7, 1)))
    tags = tags_of(twice(tmp_path, data, notes=notes))
    assert (rational(tags, 282), rational(tags, 283)) == ((14, 1), (8, 1))
    assert b"origin" not in tags.tags[270].data


def test_a_picture_of_imagejs_that_is_stretched_is_measured_along_each_side(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(described(MICRONS, **density("<", (6, 1), (4, 1))))
    source = image_file.read(tmp_path / "a.tif")
    wider = [source.frames[0].pixels.repeat(2, axis=0).repeat(3, axis=1)]
    image_file.write(tmp_path / "b.tif", source, wider, format="TIFF", quality=90, marker=None, overwrite=False)
    tags = tags_of((tmp_path / "b.tif").read_bytes())
    assert (rational(tags, 282), rational(tags, 283)) == ((18, 1), (8, 1))
    assert tags.tags[270].data == MICRONS.replace(b"n=2.5", b"n=7.5").replace(b"n=1\n", b"n=2\n")


def test_the_density_of_a_scan_stays(tmp_path: Path) -> None:
    tags = tags_of(twice(tmp_path, described(b"a scan\0", **density("<", (300, 1), (300, 1)))))
    assert rational(tags, 282) == (300, 1)


@pytest.mark.parametrize(("channels", "shape"), [(1, "[8, 12]"), (3, "[8, 12, 3]")])
def test_tifffiles_shape_is_the_results(tmp_path: Path, channels: int, shape: str) -> None:
    data = described(b'{"shape": [4, 6], "lamp": "UV"}\0', channels=channels)
    tags = tags_of(twice(tmp_path, data))
    assert tags.tags[270].data == b'{"shape": %s, "lamp": "UV"}\0' % shape.encode()


@pytest.mark.parametrize(
    "text",
    [b"ImageJ=1.54f\nimages=1\n\0", b'{"shape": "[4, 6]\0', b'{"shape":' + b"[" * 100_000, b"ImageJ=\nxorigin=?\n\0"],
    ids=["uncalibrated", "no JSON", "deep", "no number"],
)
def test_other_words_stay_as_they_are(tmp_path: Path, text: bytes) -> None:
    assert tags_of(twice(tmp_path, described(text))).tags[270].data == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"ImageJ=1.54f\nimages=3\nslices=3\n\0", "stack"),
        (b'{"shape": [3, 4, 6], "truncated": true}\0', "stack"),
        (b'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"/>\0', "OME-XML"),
    ],
)
def test_what_speaks_of_more_than_the_pixels_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        tiff.inspect(described(text), LIMITS)


@pytest.mark.parametrize("number", [33560, 33628, 34118, 34412, 34682, 51123])
def test_a_microscopes_record_of_how_large_pixels_are_is_refused(number: int) -> None:
    with pytest.raises(UnsupportedError, match="microscope's own record"):
        tiff.inspect(described(b"a view\0", **{f"t{number}": Tag(7, 8, bytes(8))}), LIMITS)


@pytest.mark.timeout(20)
def test_a_shape_of_very_many_sides_is_nobodys_array_and_takes_no_time(tmp_path: Path) -> None:
    """Their product would have tens of millions of digits."""
    text = b'{"shape": [%s]}\0' % b", ".join([b"9" * 4000] * 6000)
    assert tags_of(twice(tmp_path, described(text))).tags[270].data.startswith(b'{"shape": [8, 12]}')
