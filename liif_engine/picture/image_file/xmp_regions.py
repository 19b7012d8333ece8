"""Regions that XMP marks on a picture, faces above all: the numbers that they have in the result.

Programs mark them on the picture as it is stored, whatever EXIF says of its orientation, so they turn with its pixels.
Understood are the Metadata Working Group's areas (a middle and sides, as parts of the picture's sides) with the size
that they were marked on, and Microsoft's rectangles (an upper left corner and sides, likewise). IPTC's boundaries are
enlarged where they count pixels; whether they lie in the picture as stored or as seen, no program agrees upon, so they
are not turned. XMP's copies of EXIF's subject, of its density and of its pixels per unit of the sensor follow those in
EXIF.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from liif_engine.picture.image_file.placement import Placement

WORKING_GROUP = "http://www.metadataworkinggroup.com/schemas/regions/"
AREAS = "http://ns.adobe.com/xmp/sType/Area#"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
MICROSOFT = "http://ns.microsoft.com/photo/1.2/t/Region#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
EXIF = "http://ns.adobe.com/exif/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

_AREA, _SIZE, _RECTANGLE, _BOUNDARY = "Area", "AppliedToDimensions", "Rectangle", "RegionBoundary"
_SUBJECT, _SENSOR, _DENSITY = "SubjectArea", "FocalPlaneResolution", "Resolution"
#: What opens a shape, and in which namespace its numbers are.
_SHAPES = {
    (WORKING_GROUP, _AREA): (_AREA, AREAS),
    (WORKING_GROUP, _SIZE): (_SIZE, DIMENSIONS),
    (IPTC, _BOUNDARY): (_BOUNDARY, IPTC),
    (EXIF, "SubjectArea"): (_SUBJECT, RDF),
    (EXIF, "SubjectLocation"): (_SUBJECT, RDF),
}
_PER_UNIT = ("FocalPlaneXResolution", "FocalPlaneYResolution")
_PER_INCH = ("XResolution", "YResolution")
#: IPTC's numbers along the picture's width, and along its height.
_ACROSS, _DOWN = {"rbX", "rbW", "rbRx"}, {"rbY", "rbH"}
_FRACTION = re.compile(r"\s*(\d{1,10})(?:/(\d{1,10}))?\s*")
_NUMBER = re.compile(r"\s*(-?(?:\d{1,9}(?:\.\d{0,20})?|\.\d{1,20}))\s*")

#: Start and end of bytes in a packet, and what takes their place.
Edit = tuple[int, int, bytes]


@dataclass(frozen=True)
class Value:
    """A value and where it stands in the packet, an attribute's with its quotes."""

    text: str
    start: int
    end: int
    quoted: bool

    def becomes(self, text: str) -> Edit:
        """The edit that puts a number in its place."""
        return self.start, self.end, f'"{text}"'.encode() if self.quoted else text.encode()


@dataclass
class Shape:
    """A place or a size; its values with their names, in the order of the packet."""

    kind: str
    namespace: str
    values: list[tuple[str, Value]] = field(default_factory=list)

    def take(self, namespace: str, name: str, value: Value) -> None:
        """A value that stands inside of it; others than its own are left aside."""
        if namespace == self.namespace:
            self.values.append((name, value))

    def numbers(self, *names: str) -> list[tuple[Value, Decimal]] | None:
        """The values of these names; None if one is missing, stands twice or is no number."""
        found = [[value for name, value in self.values if name == wanted] for wanted in names]
        values = [one[0] for one in found if len(one) == 1]
        matches = [_NUMBER.fullmatch(value.text) for value in values]
        if len(values) < len(names) or not all(matches):
            return None
        return [(value, Decimal(match[1])) for value, match in zip(values, matches, strict=True) if match]

    def text(self, name: str) -> str:
        """The first value of a name, or nothing."""
        return next((value.text for other, value in self.values if other == name), "")


def shape_of(namespace: str, name: str) -> Shape | None:
    """The shape that an element opens, None for any other element."""
    found = _SHAPES.get((namespace, name))
    return None if found is None else Shape(*found)


def is_rectangle(namespace: str, name: str) -> bool:
    """Whether a value is a shape by itself."""
    return (namespace, name) == (MICROSOFT, _RECTANGLE)


def rectangle(value: Value) -> Shape:
    """The shape that such a value is."""
    return Shape(_RECTANGLE, MICROSOFT, [(_RECTANGLE, value)])


def apart() -> list[Shape]:
    """The shapes whose values stand apart in a packet: pixels per unit of the sensor, and of paper, across and down."""
    return [Shape(_SENSOR, EXIF), Shape(_DENSITY, TIFF)]


def is_apart(namespace: str, name: str) -> bool:
    """Whether a value is one of those shapes'."""
    return (namespace == EXIF and name in _PER_UNIT) or (namespace == TIFF and name in _PER_INCH)


def edits(shapes: Sequence[Shape], placement: Placement) -> list[Edit]:
    """What puts all shapes of a packet where they lie in the result; one that makes no sense stays as it is."""
    as_stored = placement
    sizes = [shape for shape in shapes if shape.kind == _SIZE]
    if any(_is_as_displayed(size, placement) for size in sizes):
        placement = replace(placement, orientation=1)
    move = {_AREA: _moved_area, _SIZE: _resized, _RECTANGLE: _moved_rectangle, _BOUNDARY: _enlarged_boundary}
    of_exif = {_SUBJECT: _moved_subject, _SENSOR: _resized_sensor, _DENSITY: _turned_density}
    found = [edit for shape in shapes if shape.kind in move for edit in move[shape.kind](shape, placement)]
    return found + [edit for one in shapes if one.kind in of_exif for edit in of_exif[one.kind](one, as_stored)]


def _is_as_displayed(size: Shape, placement: Placement) -> bool:
    """Whether regions were marked on a picture that lay upright already: the sides that they name tell."""
    found, (width, height) = size.numbers("w", "h"), placement.before
    if found is None or not placement.swaps or width == height:
        return False
    (_, marked_width), (_, marked_height) = found
    return marked_width != marked_height and (marked_width < marked_height) == (width < height)


def _resized(size: Shape, placement: Placement) -> list[Edit]:
    found = size.numbers("w", "h")
    if found is None:
        return []
    values, sides = [value for value, _ in found], [number for _, number in found]
    if placement.swaps:
        sides.reverse()
    return [
        value.becomes(str(round(Fraction(side) * scale)))
        for value, side, scale in zip(values, sides, placement.scales, strict=True)
    ]


def _moved_area(area: Shape, placement: Placement) -> list[Edit]:
    """A point, a circle by its diameter, or a rectangle; where pixels are meant, enlarged too."""
    middle, sides = area.numbers("x", "y"), area.numbers("w", "h")
    in_pixels = area.text("unit") == "pixel"
    if middle is None or (placement.orientation == 1 and not in_pixels):
        return []
    whole = [Decimal(side) for side in placement.before] if in_pixels else [Decimal(1)] * 2
    moved = [*placement.upright(middle[0][1], middle[1][1], whole[0], whole[1])]
    values = [value for value, _ in middle]
    if sides is not None:
        lengths = [number for _, number in sides]
        moved += lengths[::-1] if placement.swaps else lengths
        values += [value for value, _ in sides]
    written = [_written(one) for one in moved]
    if in_pixels:
        written = [_enlarged(one, placement.scales[index % 2]) for index, one in enumerate(moved)]
    return [value.becomes(text) for value, text in zip(values, written, strict=True)]


def _moved_rectangle(rectangle: Shape, placement: Placement) -> list[Edit]:
    """``x, y, width, height`` in one text."""
    value = rectangle.values[0][1]
    matches = [_NUMBER.fullmatch(part) for part in value.text.split(",")]
    if placement.orientation == 1 or len(matches) != 4 or not all(matches):
        return []
    x, y, width, height = (Decimal(match[1]) for match in matches if match)
    x, y = placement.upright(x + width / 2, y + height / 2, Decimal(1), Decimal(1))
    width, height = (height, width) if placement.swaps else (width, height)
    return [value.becomes(", ".join(map(_written, (x - width / 2, y - height / 2, width, height))))]


def _enlarged_boundary(boundary: Shape, placement: Placement) -> list[Edit]:
    if placement.orientation != 1 or boundary.text("rbUnit") != "pixel":
        return []
    scale_of = dict.fromkeys(_ACROSS, placement.scales[0]) | dict.fromkeys(_DOWN, placement.scales[1])
    return [
        value.becomes(_enlarged(Decimal(match[1]), scale_of[name]))
        for name, value in boundary.values
        if name in scale_of and (match := _NUMBER.fullmatch(value.text)) is not None
    ]


def _moved_subject(subject: Shape, placement: Placement) -> list[Edit]:
    """A point, a circle by its diameter, or a box by its sides around its middle; pixels."""
    values = [value for name, value in subject.values if name == "li"]
    if (
        not placement.moves
        or not 2 <= len(values) <= 4
        or not all(re.fullmatch(r"\d{1,9}", one.text) for one in values)
    ):
        return []
    x, y, *extent = (int(value.text) for value in values)
    sides = placement.extent(extent[0], extent[-1])[: len(extent)] if extent else ()
    return [value.becomes(str(new)) for value, new in zip(values, (*placement.point(x, y), *sides), strict=True)]


def _resized_sensor(shape: Shape, placement: Placement) -> list[Edit]:
    """More pixels lie on the same sensor."""
    found, fractions = _pair(shape, _PER_UNIT)
    if not (placement.moves and found):
        return []
    if placement.swaps:
        fractions.reverse()
    scaled = [one * scale for one, scale in zip(fractions, placement.scales, strict=True)]
    near = [one.limit_denominator(1_000_000) for one in scaled]
    return [value.becomes(f"{one.numerator}/{one.denominator}") for value, one in zip(found, near, strict=True)]


def _turned_density(shape: Shape, placement: Placement) -> list[Edit]:
    """The paper grows with the picture, and is turned with it."""
    found, _ = _pair(shape, _PER_INCH)
    if not (placement.swaps and found):
        return []
    return [value.becomes(other.text.strip()) for value, other in zip(found, found[::-1], strict=True)]


def _pair(shape: Shape, names: tuple[str, str]) -> tuple[list[Value], list[Fraction]]:
    """The fractions of two names, and where they stand; nothing if one is missing, stands twice or is none."""
    values = [[value for name, value in shape.values if name == wanted] for wanted in names]
    found = [one[0] for one in values if len(one) == 1]
    fractions = [fraction for value in found if (fraction := _fraction(value.text))]
    return (found, fractions) if len(fractions) == len(names) else ([], [])


def _fraction(text: str) -> Fraction | None:
    """A positive fraction as XMP writes EXIF's, or None."""
    match = _FRACTION.fullmatch(text)
    if match is None or not int(match[1]) or not int(match[2] or 1):
        return None
    return Fraction(int(match[1]), int(match[2] or 1))


def _enlarged(number: Decimal, scale: Fraction) -> str:
    return str(round(Fraction(number) * scale))


def _written(number: Decimal) -> str:
    return format(number.normalize(), "f")
