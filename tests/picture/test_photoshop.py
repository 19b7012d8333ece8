"""Photoshop's resources: what counts pixels is put right or left out, every other byte stays."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from liif_engine.picture import image_file
from liif_engine.picture.image_file import photoshop
from liif_engine.picture.image_file.placement import Placement

from .jpegs import EXIF, PHOTOSHOP, segments, twice
from .made import SHORT, exif, gradient, jpeg, png, resource, restored

__all__ = ["twice"]  # a fixture


def test_stale_resources_only() -> None:
    kept = resource(1005, b"resolution") + resource(1028, b"odd")
    assert photoshop.without_stale_resources(kept) == kept
    assert photoshop.without_stale_resources(resource(1033, b"bgr") + kept) == kept
    broken = kept + b"8BIM\x04\x0c\0\0\xff\xff\xff\xff"
    assert photoshop.without_stale_resources(broken) == broken


#: A resource's content: versions, the grid, then how many guides, and of each its place in 1/32 pixels and its kind.
GUIDES = struct.pack(">IIII", 1, 576, 576, 2)


def slices(version: int, count: int) -> bytes:
    """Photoshop's slices: the picture's bounds, its name and a list, or a descriptor."""
    if version == 6:
        return struct.pack(">6I4sI", 6, 0, 0, 16, 24, 2, "ab".encode("utf-16-be"), count) + b"..."
    return struct.pack(">II", version, 16) + b"\0\0\0\7sliceIDlong" * count


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
@pytest.mark.parametrize(
    ("orientation", "moved"),
    [(1, [(6 * 32 + 2, 0), (10 * 32, 1)]), (6, [(6 * 32 + 2, 1), (22 * 32, 0)])],
)
def test_photoshop_s_guides_lie_where_they_are_seen(
    tmp_path: Path, kind: str, orientation: int, moved: list[tuple[int, int]]
) -> None:
    pixels, block = gradient(16, 24), exif({0x0112: (SHORT, orientation)})
    iptc = resource(1028, b"iptc", b"name")
    old = iptc + resource(1032, GUIDES + struct.pack(">ibib", 3 * 32 + 1, 0, 5 * 32, 1)) + resource(1005, bytes(16))
    path, result = tmp_path / f"source.{kind}", tmp_path / f"result.{kind}"
    if kind == "jpg":
        path.write_bytes(jpeg(pixels, (0xE1, EXIF + block), (0xED, PHOTOSHOP + old)))
    elif kind == "png":
        digits = b"\n8bim\n%8d\n%s\n" % (len(old), old.hex().encode())
        path.write_bytes(png(pixels, (b"eXIf", block), (b"tEXt", b"Raw profile type 8bim\0" + digits)))
    else:
        Image.fromarray(pixels).save(path, tiffinfo={274: orientation, 34377: old})
    assert restored(path, result) == []
    (one, one_kind), (other, other_kind) = moved
    guides = GUIDES + struct.pack(">ibib", one, one_kind, other, other_kind)
    wanted = iptc + resource(1032, guides) + resource(1005, bytes(16))
    assert image_file.read(result).metadata.photoshop == wanted


@pytest.mark.parametrize(("orientation", "turned"), [(1, False), (3, False), (6, True), (7, True)])
def test_photoshop_s_resolution_is_turned_with_the_picture(twice: Any, orientation: int, turned: bool) -> None:
    across, down = struct.pack(">IHH", 300 << 16, 1, 1), struct.pack(">IHH", 200 << 16, 1, 2)
    block = exif({0x0112: (SHORT, orientation)})
    data = jpeg(gradient(16, 24), (0xE1, EXIF + block), (0xED, PHOTOSHOP + resource(1005, across + down)))
    _, result, _ = twice(data)
    [resources] = [payload for marker, payload in segments(result) if marker == 0xED]
    assert resources == PHOTOSHOP + resource(1005, down + across if turned else across + down)


@pytest.mark.parametrize(("version", "count", "noted"), [(6, 1, False), (6, 2, True), (8, 1, False), (8, 3, True)])
def test_photoshop_s_slices_are_left_out_and_several_are_noted(
    twice: Any, version: int, count: int, noted: bool
) -> None:
    resources = resource(1050, slices(version, count))
    _, result, notes = twice(jpeg(gradient(16, 24), (0xED, PHOTOSHOP + resources)))
    assert notes == ["Photoshop's slices were left out: they divide the old pixels"] * noted
    assert [payload for marker, payload in segments(result) if marker == 0xED] == []


def test_guides_that_are_broken_and_those_of_a_picture_of_the_same_size_stay() -> None:
    same, larger = Placement(1, (24, 16), (24, 16)), Placement(1, (24, 16), (48, 32))
    kept = resource(1032, GUIDES + b"\0\0\0\7\1") + resource(1050, slices(6, 2))
    assert photoshop.corrected(kept, same) == (kept, [])
    for broken in (GUIDES[:7], GUIDES, GUIDES + b"\x7f\xff\xff\xff\0" * 2):
        assert photoshop.corrected(resource(1032, broken), larger) == (resource(1032, broken), [])
