"""XMP edited in place: our marker goes in and stale sizes are corrected; every other byte of the packet stays.

Parsing a packet to a tree and writing it again would lose prefixes, order, padding and sometimes meaning. Here expat
only finds where things are, and the bytes around them are kept.
"""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from liif_engine.picture.image_file.contents import Marker
from liif_engine.picture.image_file.xmp_regions import Edit
from liif_engine.picture.image_file.xmp_scan import IPTC_EXT, OURS, RDF, BadPacket, Correction, Scan

__all__ = [
    "IPTC_EXT",
    "MOST_IN_JPEG",
    "OURS",
    "RDF",
    "ROOM_FOR_MARKER",
    "SOURCE_TYPE",
    "UNTURNED_REGIONS",
    "BadPacket",
    "Correction",
    "edited",
    "find_marker",
    "mentions",
]

#: Stands in a packet with regions that are not turned.
UNTURNED_REGIONS = b"Iptc4xmpExt:ImageRegion"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"

#: The whole packet, in a JPEG file without extended XMP.
MOST_IN_JPEG = 65533 - len(b"http://ns.adobe.com/xap/1.0/\0")

#: What the marker adds to a packet at most, model names of up to 200 letters included.
ROOM_FOR_MARKER = 1500  # [bytes]

#: In a value of a marker: a file's name has fewer. What is longer is nobody's result, and would fill the log.
_MOST_LETTERS = 1000

#: What a marker's Consistent says; an older one has none.
_CONSISTENT = {"yes": True, "no": False}


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
    scan = Scan(text, correction, replace_marker=marker is not None)
    edits = list(scan.edits)
    if marker is not None:
        source_type = not scan.has_source_type
        edits.append((scan.rdf_end, scan.rdf_end, _description(marker, scan.about, source_type).encode()))
    text = _with(text, edits)
    return text if encoding == "utf-8" else text.decode().encode(encoding)


def _with(text: bytes, edits: list[Edit]) -> bytes:
    """The text with other bytes in places that do not overlap."""
    parts, at = [], 0
    for start, end, new in sorted(edits):
        parts += [text[at:start], new]
        at = end
    return b"".join([*parts, text[at:]])


def find_marker(packet: bytes) -> Marker | None:
    """Our marker in a packet, None if there is none or it is not whole."""
    if not mentions(packet, OURS.encode()):
        return None  # known at once, also of a long packet
    try:
        values = Scan(_as_utf8(packet)[0], None, replace_marker=True).ours
        if max(map(len, values.values()), default=0) > _MOST_LETTERS:
            return None
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
