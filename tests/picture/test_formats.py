"""docs/formats.md says what the rooms say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from liif_engine.errors import UnsupportedError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import rooms
from liif_engine.picture.image_file.room import Capacity

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
FIELDS = {
    "EXIF": "exif",
    "XMP, and in it the note of the restoration": "xmp",
    "ICC profile": "icc",
    "Photoshop resources (IPTC among them)": "photoshop",
    "IPTC outside of them": "iptc",
    "pixels per inch": "density",
    "comments": "comments",
    "titled texts": "texts",
}
#: A place of its own; "in EXIF" is none.
PLACES = {"yes", "as comments"}


def table() -> dict[str, dict[str, str]]:
    """Row and format to cell, of the page's first table."""
    text = PAGE.read_text("utf-8")
    lines = text[text.index("\n|") :].strip().split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    formats = cells[0][1:]
    return {row[0]: dict(zip(formats, row[1:], strict=True)) for row in cells[2:]}


def test_the_table_has_every_format_and_suffix() -> None:
    assert set(table()["suffixes"]) == set(image_file.FORMATS)
    for format, suffixes in table()["suffixes"].items():
        for suffix in suffixes.split():
            assert image_file.format_for(Path(f"a{suffix}")) == format


@pytest.mark.parametrize("format", image_file.FORMATS)
def test_the_table_is_what_the_room_says(format: str) -> None:
    try:
        capacity: Capacity = rooms.room_of(format).CAPACITY
    except UnsupportedError as error:
        pytest.skip(str(error))
    said = {row: cells[format] for row, cells in table().items()}
    assert said["longest side"] == f"{capacity.longest_side:,}"
    assert said["bits per sample"] == ", ".join(map(str, sorted(capacity.bits)))
    assert (said["gray"] != "-") == ("L" in capacity.layouts)
    assert (said["alpha"] != "-") == ("RGBA" in capacity.layouts)
    assert (said["CMYK"] != "-") == ("CMYK" in capacity.layouts)
    assert (said["animation"] != "-") == capacity.animated
    assert (said["pixels that are not square"] == "yes") == (capacity.aspects is not None)
    assert {field for row, field in FIELDS.items() if said[row] in PLACES} == set(capacity.carries)
