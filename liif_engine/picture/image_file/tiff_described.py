"""What programs of science say of the pixels in a TIFF file's image description, and how a result says it.

ImageJ's calibration is in the density, as pixels in each unit of the subject, so it grows with the picture; its origin
is a place in pixels. tifffile says the array's shape. OME-XML says too much of the original's pixels to be put right.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import replace
from fractions import Fraction
from typing import Any

from liif_engine.errors import UnsupportedError
from liif_engine.picture.image_file.contents import Density, Limits, Metadata, Piece
from liif_engine.picture.image_file.placement import Placement
from liif_engine.picture.image_file.tiff_tags import RATIONAL, Directory, Reader, Tag, serialised

DESCRIPTION = 270
_DESCRIBED, *_SIDES = _KINDS = [f"<TAG {number}>" for number in (DESCRIPTION, 282, 283)]
_IMAGEJ = b"ImageJ="
_OME = b"openmicroscopy.org/Schemas/"
_IMAGES = re.compile(rb"^images=(\d{1,18})\s*$", re.MULTILINE)
_ORIGIN = re.compile(rb"^([xy])origin=([^\n\0]*)", re.MULTILINE)
_MOST = (1 << 32) - 1
_MOST_AXES = 64  # of numpy's arrays; a product of more would be somebody's trap
_HEAD = struct.Struct("<HQ")  # of a tag's piece: type and count, before the value


def refuse_foreign(description: bytes, samples: int) -> None:
    """Refuses what speaks of more than the one page, or of its pixels in ways that no result could follow.

    Args:
        description: of the image.
        samples: of all of the page's pixels.

    Raises:
        UnsupportedError: OME-XML, or a stack that has one page for all of its pictures.
    """
    if _OME in description:
        raise UnsupportedError(
            "carries OME-XML, which describes the original pixels", remedy="Save a flat copy of the picture first."
        )
    images = _IMAGES.search(description) if description.startswith(_IMAGEJ) else None
    shape = _shaped(description).get("shape")
    is_stack = images is not None and int(images[1]) > 1
    if isinstance(shape, list) and len(shape) <= _MOST_AXES and all(isinstance(side, int) for side in shape):
        is_stack = is_stack or math.prod(shape) > samples
    if is_stack:
        words = "holds a stack of pictures on one page"
        raise UnsupportedError(words, remedy="Save each of them as a file of its own first.")


def corrected(metadata: Metadata, placement: Placement, shape: tuple[int, ...]) -> tuple[Metadata, list[str]]:
    """A TIFF file's metadata for a result, and notes.

    Args:
        metadata: of the source.
        placement: from its pixels to the result's.
        shape: of the result, (H, W, C).
    """
    tags = {piece.kind: _tag(piece) for piece in metadata.pieces if piece.kind in _KINDS}
    if _DESCRIBED not in tags:
        return metadata, []
    notes, before = list[str](), dict(tags)
    description = tags[_DESCRIBED].data
    if said := _shaped(description):
        # As tifffile writes it: without an axis of one sample.
        description = json.dumps(said | {"shape": shape[:2] if shape[2] == 1 else shape}).encode() + b"\0"
    if description.startswith(_IMAGEJ) and placement.moves:
        order = ">" if (metadata.exif or b"").startswith(b"MM") else "<"
        metadata, scales = _with_density(metadata, placement), _stored_scales(placement)
        tags |= {kind: _enlarged(tags[kind], scale, order) for kind, scale in scales.items() if kind in tags}
        if placement.orientation == 1:
            description = _ORIGIN.sub(lambda found: _moved_origin(found, placement), description)
        elif _ORIGIN.search(description):
            description = _ORIGIN.sub(b"", description)
            notes.append("ImageJ's origin was left out: it speaks of the picture as it lay")
    tags[_DESCRIBED] = replace(tags[_DESCRIBED], count=len(description), data=description)
    return (metadata if tags == before else _with_tags(metadata, tags)), notes


def _tag(piece: Piece) -> Tag:
    kind, count = _HEAD.unpack_from(piece.data)
    return Tag(kind, count, piece.data[_HEAD.size :])


def _with_tags(metadata: Metadata, tags: dict[str, Tag]) -> Metadata:
    """The metadata with other tags in its pieces and in its EXIF block, which repeats them."""
    pieces = (
        replace(piece, data=_HEAD.pack(tags[piece.kind].kind, tags[piece.kind].count) + tags[piece.kind].data)
        if piece.kind in tags
        else piece
        for piece in metadata.pieces
    )
    reader = Reader(metadata.exif or b"", Limits(max_metadata_bytes=1 << 40))
    directory = reader.directory(reader.first) or Directory()
    directory.tags |= {int(kind[5:-1]): tag for kind, tag in tags.items()}
    return replace(metadata, pieces=tuple(pieces), exif=serialised(directory, (reader.order, False)))


def _with_density(metadata: Metadata, placement: Placement) -> Metadata:
    density = metadata.density
    if density is None:
        return metadata
    x, y = (_scaled(*pair) for pair in zip((density.x, density.y), placement.scales, strict=True))
    return replace(metadata, density=Density(x, y, density.unit))


def _stored_scales(placement: Placement) -> dict[str, Fraction]:
    """Of the tags of the density, which are turned later, with the picture."""
    across, down = placement.scales
    return dict(zip(_SIDES, (down, across) if placement.swaps else (across, down), strict=True))


def _shaped(description: bytes) -> dict[str, Any]:
    """What tifffile says; nothing where another program wrote the description."""
    if not description.startswith(b'{"shape":'):
        return {}
    try:
        return dict(json.loads(description.rstrip(b"\0")))
    except (ValueError, RecursionError):
        return {}


def _moved_origin(found: re.Match[bytes], placement: Placement) -> bytes:
    try:
        place = float(found[2]) * float(placement.scales[found[1] == b"y"])
    except ValueError:
        return found[0]
    return b"%sorigin=%s" % (found[1], f"{place:.12g}".encode())


def _enlarged(tag: Tag, scale: Fraction, order: str) -> Tag:
    if (tag.kind, tag.count) != (RATIONAL, 1):
        return tag
    return replace(tag, data=struct.pack(f"{order}II", *_scaled(struct.unpack(f"{order}II", tag.data), scale)))


def _scaled(value: tuple[int, ...], scale: Fraction) -> tuple[int, int]:
    """A RATIONAL times a scale, as exact as one can be; as it is where it makes no sense or there is no room."""
    numerator, denominator = value
    if numerator and denominator:
        exact = Fraction(numerator, denominator) * scale
        now = exact.limit_denominator(max(1, int(_MOST / max(exact, Fraction(1)))))
        if 0 < now.numerator <= _MOST:
            return now.numerator, now.denominator
    return numerator, denominator
