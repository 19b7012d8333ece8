"""XMP edited in place: our marker goes in and stale sizes are corrected; every other byte of the packet stays.

Parsing a packet to a tree and writing it again would lose prefixes, order, padding and sometimes meaning. Here expat
only finds where things are, and the bytes around them are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from liif_engine.picture.image_file import xmp_regions as regions
from liif_engine.picture.image_file.contents import Marker
from liif_engine.picture.image_file.placement import Placement
from liif_engine.picture.image_file.xmp_regions import Edit, Shape, Value

OURS = "urn:liif-restore:1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
PANORAMA = "http://ns.google.com/photos/1.0/panorama/"
#: Stands in a packet with regions that are not turned.
UNTURNED_REGIONS = b"Iptc4xmpExt:ImageRegion"
THUMBNAILS = ("http://ns.adobe.com/xap/1.0/", "Thumbnails")
IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"

#: The whole packet, in a JPEG file without extended XMP.
MOST_IN_JPEG = 65533 - len(b"http://ns.adobe.com/xap/1.0/\0")

#: What the marker adds to a packet at most, model names of up to 200 letters included.
ROOM_FOR_MARKER = 1500  # [bytes]

#: What a marker's Consistent says; an older one has none.
_CONSISTENT = {"yes": True, "no": False}

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


def edited(packet: bytes | None, *, correction: Correction | None = None, marker: Marker | None = None) -> bytes | None:
    """The packet with stale sizes corrected and our marker merged in; an older marker of ours is replaced.

    Args:
        packet: an XMP packet, or None to begin a new one if there is a marker.
        correction: what to correct.
        marker: what to merge in.

    Returns:
        The new packet, or None if there is neither a packet nor a marker.

    Raises:
        BadPacket: the packet cannot be parsed; it is best kept as it is.
    """
    if packet is None:
        return None if marker is None else _new_packet(marker)
    text, encoding = _as_utf8(packet)
    scan = _Scan(text, correction, replace_marker=marker is not None)
    edits = list(scan.edits)
    if marker is not None:
        source_type = not scan.has_source_type
        edits.append((scan.rdf_end, scan.rdf_end, _description(marker, scan.about, source_type).encode()))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text if encoding == "utf-8" else text.decode().encode(encoding)


def find_marker(packet: bytes) -> Marker | None:
    """Our marker in a packet, None if there is none or it is not whole."""
    if not mentions(packet, OURS.encode()):
        return None  # known at once, also of a long packet
    try:
        values = _Scan(_as_utf8(packet)[0], None, replace_marker=True).ours
        return Marker(
            software=values["Software"],
            version=values["Version"],
            model=values["Model"],
            scale_x=float(values["ScaleX"]),
            scale_y=float(values["ScaleY"]),
            source_sha256=values["SourceSHA256"],
            quality=int(quality) if (quality := values.get("Quality", "")).isdecimal() else None,
            consistent=_CONSISTENT.get(values.get("Consistent", "")),
            precision=values.get("Precision", ""),
        )
    except (BadPacket, KeyError, ValueError):
        return None


def mentions(packet: bytes | None, *words: bytes) -> bool:
    """Whether any of the words stands in the packet, in whatever encoding."""
    return packet is not None and any(word in packet.replace(b"\0", b"") for word in words)


def _new_packet(marker: Marker) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
        f'{_description(marker, "", True)}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def _description(marker: Marker, about: str, source_type: bool) -> str:
    """One rdf:Description with the marker; it declares its own prefixes, so it fits into any packet."""
    values = {
        "Software": marker.software,
        "Version": marker.version,
        "Model": marker.model,
        "ScaleX": repr(float(marker.scale_x)),
        "ScaleY": repr(float(marker.scale_y)),
        "SourceSHA256": marker.source_sha256,
    }
    if marker.quality is not None:
        values["Quality"] = str(marker.quality)
    if marker.consistent is not None:
        values["Consistent"] = "yes" if marker.consistent else "no"
    if marker.precision:
        values["Precision"] = marker.precision
    ours = "".join(f"<liif:{name}>{escape(value)}</liif:{name}>" for name, value in values.items())
    extra = ""
    if source_type:
        extra = f'<ext:DigitalSourceType xmlns:ext="{IPTC_EXT}">{SOURCE_TYPE}</ext:DigitalSourceType>'
    return (
        f'<rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(about)} xmlns:liif="{OURS}">'
        f"{ours}{extra}</rdf:Description>"
    )


def _as_utf8(packet: bytes) -> tuple[bytes, str]:
    """The packet in UTF-8 and the encoding it came in; XMP allows UTF-16 and UTF-32 too."""
    # Two spellings of "<?": the first characters of a packet, but for a byte-order mark.
    head = packet[:4]
    encoding = "utf-8"
    if head[:2] in {b"\xff\xfe", b"<\0"}:
        encoding = "utf-16-le"
    elif head[:2] in {b"\xfe\xff", b"\0<"}:
        encoding = "utf-16-be"
    try:
        return (packet, encoding) if encoding == "utf-8" else (packet.decode(encoding).encode(), encoding)
    except UnicodeDecodeError as error:
        raise BadPacket(str(error)) from error


@dataclass
class _Element:
    """An element that is open; `shape` is the region's part that it stands in, or is."""

    name: str
    start: int
    start_end: int
    shape: Shape | None
    has_children: bool = False


class _Scan:
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
        self._shapes: list[Shape] = []
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
        if new is None and self._open[-1].shape is None and not regions.is_rectangle(namespace, name):
            return
        if not places:
            tag = self._open[-1]
            places.update((match[1], match) for match in _ATTRIBUTE.finditer(self.text, tag.start, tag.start_end))
        place = places.get(qualified.encode())
        if place is None:
            return
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
        if is_plain:
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

    def _mark(self, namespace: str, name: str, value: Value) -> None:
        """Notes a value that says where a region lies."""
        shape = self._open[-1].shape
        if regions.is_rectangle(namespace, name):
            self._shapes.append(regions.rectangle(value))
        elif shape is not None:
            shape.take(namespace, name, value)

    def _replace(self, start: int, end: int, new: bytes) -> None:
        """Records an edit that swallows those inside it."""
        self.edits = [edit for edit in self.edits if not (start <= edit[0] and edit[1] <= end)]
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
