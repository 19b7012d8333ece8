"""Pixels per inch inside of EXIF, for formats that have no other place for it."""

from __future__ import annotations

import struct

from liif_engine.errors import LiifError
from liif_engine.picture.image_file.contents import Density, Limits, Metadata
from liif_engine.picture.image_file.room import Capacity
from liif_engine.picture.image_file.tiff_tags import RATIONAL, Directory, Reader, Tag, number_tag, serialised

_X, _Y, _UNIT = 282, 283, 296
_UNITS = {"inch": 2, "cm": 3}


def has_place(metadata: Metadata, capacity: Capacity) -> bool:
    """Whether a format can say the density, if it says anything at all."""
    density = metadata.density
    if density is None:
        return True
    if density.unit == "aspect":
        aspect = density.aspect() or 1
        narrowest, widest = capacity.aspects or (1, 1)  # square pixels, which every format means
        return narrowest <= aspect <= widest
    if "density" in capacity.carries:
        return True
    if "exif" not in capacity.carries or density.per_inch() is None:
        return False
    return metadata.exif is None or _says_density(metadata.exif)


def put_into_exif(metadata: Metadata, capacity: Capacity) -> bytes | None:
    """The EXIF block of a result: the source's own, or a new one if only that can say the density."""
    density = metadata.density
    if metadata.exif is not None or density is None or "density" in capacity.carries:
        return metadata.exif
    return _block(density) if "exif" in capacity.carries and density.per_inch() is not None else None


def _says_density(exif: bytes) -> bool:
    try:
        reader = Reader(exif, Limits())
        directory = reader.directory(reader.first)
    except LiifError:
        return False
    return directory is not None and {_X, _Y} <= directory.tags.keys()


def _block(density: Density) -> bytes:
    x, y = density.x, density.y
    if density.unit not in _UNITS:
        x, y = ((round(value * 1000), 1000) for value in density.per_inch() or (0, 0))
    sides = {number: Tag(RATIONAL, 1, struct.pack("<II", *side)) for number, side in ((_X, x), (_Y, y))}
    return serialised(Directory(sides | {_UNIT: number_tag("<", _UNITS.get(density.unit, 2))}), ("<", False))
