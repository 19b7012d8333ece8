"""One pass over an XMP packet: where things are in it, and what a restoration changes of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from liif_engine.picture.image_file import xmp_regions as regions
from liif_engine.picture.image_file.placement import Placement
from liif_engine.picture.image_file.xmp_regions import Edit, Shape, Value

OURS = "urn:liif-restore:1.0/"
RDF = regions.RDF
TIFF = regions.TIFF
EXIF = regions.EXIF
PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
IPTC_EXT = regions.IPTC
THUMBNAILS = ("http://ns.adobe.com/xap/1.0/", "Thumbnails")

#: Elements and attributes that are looked at, which takes some four seconds; a real packet has a few hundred, one with
#: the longest of histories a few hundred thousand.
MOST_PARTS = 1_000_000

_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>]+)\s*=\s*("[^"]*"|'[^']*')""")
_START_TAG = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=<>]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*/?>""")
_PANORAMA_X = {
    "FullPanoWidthPixels",
    "CroppedAreaImageWidthPixels",
    "CroppedAreaLeftPixels",
    "LargestValidInteriorRectLeft",
    "LargestValidInteriorRectWidth",
}
_PANORAMA_Y = {
    "FullPanoHeightPixels",
    "CroppedAreaImageHeightPixels",
    "CroppedAreaTopPixels",
    "LargestValidInteriorRectTop",
    "LargestValidInteriorRectHeight",
}


class BadPacket(ValueError):  # noqa: N818 - never leaves this package
    """The XMP packet is not well-formed, declares entities, or holds no RDF."""


@dataclass(frozen=True)
class Correction:
    """What a restoration changes of what XMP may say.

    Attributes:
        placement: where what was stored lies in the result.
        upright: whether the pixels are upright now, whatever a tag says.
    """

    placement: Placement
    upright: bool

    def value(self, namespace: str, name: str, old: str) -> str | None:
        """The new value of a property, None if it stays."""
        if namespace == TIFF and name == "Orientation":
            return "1" if self.upright else None
        if (namespace, name) in {(TIFF, "ImageWidth"), (EXIF, "PixelXDimension")}:
            return str(self.placement.after[0])
        if (namespace, name) in {(TIFF, "ImageLength"), (EXIF, "PixelYDimension")}:
            return str(self.placement.after[1])
        if namespace == PANORAMA and name in _PANORAMA_X | _PANORAMA_Y:
            return _scaled(old, self.placement.scales[name in _PANORAMA_Y])
        return None


def _scaled(old: str, scale: Fraction) -> str | None:
    """A number of pixels as it is now; None if it is no number."""
    number = re.fullmatch(r"\s*(-?\d{1,9})(\.\d{0,6})?\s*", old)
    return str(round(Fraction(old) * scale)) if number else None


@dataclass
class _Element:
    """An element that is open; `shape` is the region's part that it stands in, or is."""

    name: str
    start: int
    start_end: int
    shape: Shape | None
    has_children: bool = False


class Scan:
    """One pass of expat over a packet; collects edits and what else `edited` needs."""

    def __init__(self, text: bytes, correction: Correction | None, *, replace_marker: bool) -> None:
        # NULs after the packet are padding of TIFF; a byte-order mark is no matter to expat.
        self.text = text
        self.correction = correction
        self.replace_marker = replace_marker
        self.edits: list[Edit] = []
        self.ours: dict[str, str] = {}
        self.about = ""
        self.has_source_type = False
        self.rdf_end = -1
        self._open: list[_Element] = []
        self._apart = regions.apart()
        self._shapes: list[Shape] = [*self._apart]
        self._parts_left = MOST_PARTS
        self._characters: list[str] = []
        parser = self._parser = expat.ParserCreate("utf-8", " ")
        parser.namespace_prefixes = True
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters.append
        parser.StartDoctypeDeclHandler = _refuse_entities
        try:
            parser.Parse(text.rstrip(b"\0"), True)
        except expat.ExpatError as error:
            raise BadPacket(str(error)) from error
        if self.rdf_end < 0:
            raise BadPacket("no rdf:RDF in it")
        if correction is not None:
            self.edits += regions.edits(self._shapes, correction.placement)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        match = _START_TAG.match(self.text, start)
        if match is None:
            raise BadPacket("a tag that cannot be read")
        self._characters.clear()
        shape = regions.shape_of(*_parts(name)[:2])
        if shape is not None:
            self._shapes.append(shape)
        elif self._open:
            shape = self._open[-1].shape
        if self._open:
            self._open[-1].has_children = True
        self._open.append(_Element(name, start, match.end(), shape))
        if len(self._open) > 200:
            raise BadPacket("nested too deep")
        self._parts_left -= 1 + len(attributes)
        if self._parts_left < 0:
            raise BadPacket(f"more than {MOST_PARTS:,} elements")
        places: dict[bytes, re.Match[bytes]] = {}
        for attribute, value in attributes.items():
            self._attribute(attribute, value, places)

    def _attribute(self, full_name: str, value: str, places: dict[bytes, re.Match[bytes]]) -> None:
        """An attribute of the element that opens; `places` is filled with those of all when one is needed."""
        namespace, name, qualified = _parts(full_name)
        if (namespace, name) == (RDF, "about") and not self.about:
            self.about = value
        new = self._look(namespace, name, value)
        is_of_region = self._is_of_region(namespace, name)
        if new is None and not is_of_region:
            return
        if not places:
            tag = self._open[-1]
            places.update((match[1], match) for match in _ATTRIBUTE.finditer(self.text, tag.start, tag.start_end))
        place = places.get(qualified.encode())
        if place is None:
            return
        if is_of_region:
            self._mark(namespace, name, Value(value, place.start(2), place.end(2), quoted=True))
        if new:
            self.edits.append((place.start(2), place.end(2), quoteattr(new).encode()))
        elif new is not None:
            self.edits.append((place.start(), place.end(), b""))

    def _end(self, _: str) -> None:
        one = self._open[-1]
        start, start_end, index = one.start, one.start_end, self._parser.CurrentByteIndex
        is_one_tag = self.text[start_end - 2 : start_end] == b"/>"
        closing = start_end if is_one_tag else self.text.find(b">", index) + 1
        namespace, local, _ = _parts(one.name)
        if (namespace, local) == (RDF, "RDF"):
            if is_one_tag:
                raise BadPacket("an empty rdf:RDF")
            self.rdf_end = index
        value = "".join(self._characters).strip()
        self._characters.clear()
        is_plain = not one.has_children and not is_one_tag
        if is_plain and self._is_of_region(namespace, local):
            self._mark(namespace, local, Value(value, start_end, index, quoted=False))
        self._open.pop()
        if (namespace, local) == THUMBNAILS and self.correction is not None:
            self._replace(start, closing, b"")
            return
        new = self._look(namespace, local, value)
        if new == "":
            self._replace(start, closing, b"")
        elif new is not None and is_plain:
            self._replace(start_end, index, escape(new).encode())

    def _is_of_region(self, namespace: str, name: str) -> bool:
        """Whether a value of the innermost element says where a region lies."""
        if regions.is_rectangle(namespace, name) or regions.is_apart(namespace, name):
            return True
        return self._open[-1].shape is not None

    def _mark(self, namespace: str, name: str, value: Value) -> None:
        """Notes a value that says where a region lies."""
        if regions.is_rectangle(namespace, name):
            self._shapes.append(regions.rectangle(value))
        elif regions.is_apart(namespace, name):
            for shape in self._apart:
                shape.take(namespace, name, value)
        elif (around := self._open[-1].shape) is not None:
            around.take(namespace, name, value)

    def _replace(self, start: int, end: int, new: bytes) -> None:
        """Records an edit that swallows those inside it."""
        while self.edits and self.edits[-1][0] >= start:  # the last ones, since elements close in order
            self.edits.pop()
        self.edits.append((start, end, new))

    def _look(self, namespace: str, name: str, value: str) -> str | None:
        """The new value, "" to remove the property, None to leave it."""
        if namespace == OURS and name:
            self.ours[name] = value
            return "" if self.replace_marker else None
        if (namespace, name) == (IPTC_EXT, "DigitalSourceType"):
            self.has_source_type = True
        return None if self.correction is None else self.correction.value(namespace, name, value)


def _parts(full_name: str) -> tuple[str, str, str]:
    """(namespace, local name, name as written) of expat's "namespace name prefix"."""
    parts = full_name.split(" ")
    if len(parts) == 1:
        return "", parts[0], parts[0]
    if len(parts) == 2:
        return parts[0], parts[1], parts[1]
    return parts[0], parts[1], f"{parts[2]}:{parts[1]}"


def _refuse_entities(*_: object) -> None:
    raise BadPacket("it declares a document type")
