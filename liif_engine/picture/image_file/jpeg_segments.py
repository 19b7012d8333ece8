"""The JPEG container: finding segments and what they say, and putting them before new pixels. ITU-T T.81 annex B."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from liif_engine.errors import InputError, TooLargeError, UnsupportedError
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file import xmp as xmp_packet
from liif_engine.picture.image_file.contents import Density, Limits, Metadata, Piece, Text

SOI, EOI, SOS, COM, APP0 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0
#: Start-of-frame markers: 0xC0 to 0xCF without DHT, JPG and DAC.
SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MOST_PAYLOAD = 65533  # [bytes] the length field counts itself

EXIF_PREFIX = b"Exif\0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
ICC_PREFIX = b"ICC_PROFILE\0"
PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"

#: Segments whose loss nobody should meet unasked and which a restored picture cannot carry truthfully.
_REFUSED = {
    (0xEB, b"JP"): "Content Credentials or other JUMBF data, signed for or bound to the original pixels",
    (0xE2, b"urn:iso:std:iso:ts:21496"): "a gain map (HDR), made for the original pixels",
    (0xE8, b"SPIFF\0"): "a SPIFF header",
}
#: What XMP says when other pictures follow that belong pixel by pixel to the main one.
_REFUSED_XMP = {
    b"http://ns.adobe.com/hdr-gain-map/": "a gain map (HDR), made for the original pixels",
    b"http://ns.google.com/photos/1.0/depthmap/": "a depth map, made for the original pixels",
    b"http://ns.google.com/photos/1.0/image/": "a second picture inside XMP",
    b"HDRGainMap": "a gain map (HDR), made for the original pixels",
}
_ENTROPY_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_STALE_RESOURCES = {1033, 1036}  # Photoshop's thumbnails


@dataclass(frozen=True)
class Segment:
    """A marker and its payload; `start` is where the payload begins in the file."""

    marker: int
    payload: bytes
    start: int


@dataclass
class Scan:
    """A file taken apart.

    Attributes:
        segments: all with a payload, in order.
        scans: how many scans of entropy-coded data there are.
        entropy_bytes: how long they are together.
        entropy_end: where the last of them ends in the file.
        end: where the file's data ends, after the end marker; None if there is no such marker.
    """

    segments: list[Segment] = field(default_factory=list)
    scans: int = 0
    entropy_bytes: int = 0
    entropy_end: int = 0
    end: int | None = None

    def named(self, marker: int, prefix: bytes) -> list[bytes]:
        """Payloads after their prefix."""
        matching = (s.payload for s in self.segments if s.marker == marker and s.payload.startswith(prefix))
        return [payload[len(prefix) :] for payload in matching]


def take_apart(data: bytes, limits: Limits) -> Scan:
    """Finds the segments of a file; stops quietly where it ends early.

    Raises:
        InputError: not a JPEG file.
        TooLargeError: more segments than the limit.
    """
    if data[:2] != b"\xff\xd8":
        raise InputError("is not a JPEG file")
    scan = Scan()
    position = 2
    while (position := data.find(b"\xff", position)) >= 0:
        while position < len(data) and data[position] == 0xFF:  # fill bytes
            position += 1
        marker = data[position] if position < len(data) else 0
        position += 1
        if marker == EOI:
            scan.end = position
            break
        if marker == 0 or marker == 1 or 0xD0 <= marker <= 0xD8:
            continue
        if position + 2 > len(data):
            break
        length = int.from_bytes(data[position : position + 2])
        if position + length > len(data):
            break
        scan.segments.append(Segment(marker, data[position + 2 : position + max(2, length)], position + 2))
        if len(scan.segments) > limits.max_pieces:
            raise TooLargeError(f"holds more than {limits.max_pieces} segments")
        position += max(2, length)
        if marker == SOS:
            after = _ENTROPY_END.search(data, position)
            end = len(data) if after is None else after.start()
            scan.scans += 1
            scan.entropy_bytes += end - position
            scan.entropy_end = end
            position = end
    return scan


def read_metadata(data: bytes, scan: Scan, limits: Limits) -> tuple[Metadata, list[str]]:
    """What the segments say, and notes on what a result cannot hold.

    Raises:
        UnsupportedError: something is tied to the original pixels and can neither be kept nor dropped.
        TooLargeError: more bytes of metadata than the limit.
    """
    _refuse_bound_segments(scan)
    size = sum(len(s.payload) for s in scan.segments if s.marker >= APP0)
    if size > limits.max_metadata_bytes:
        raise TooLargeError(f"holds {size:,} bytes of metadata, more than the limit of {limits.max_metadata_bytes:,}")
    notes: list[str] = []
    exif, icc = _exif(scan), _icc(scan)
    packets = scan.named(0xE1, XMP_PREFIX)
    photoshop = b"".join(scan.named(0xED, PHOTOSHOP_PREFIX)) or None
    pieces = list(_pieces(scan, icc is not None))
    if scan.end is not None and (rest := data[scan.end :]).strip(b"\0\xff\r\n "):
        if _has_previews_only(scan):
            notes.append("the camera's preview pictures after the main one were removed: they show the old pixels")
        else:
            pieces.append(Piece("<AFTER>", rest, late=True))
    jfif = scan.named(APP0, b"JFIF\0")
    return Metadata(
        home="JPEG",
        exif=exif,
        icc=icc,
        xmp=packets[0] if packets else None,
        photoshop=None if photoshop is None else without_stale_resources(photoshop),
        density=_density(jfif[0]) if jfif else None,
        comments=tuple(s.payload for s in scan.segments if s.marker == COM),
        pieces=tuple(pieces),
    ), notes


def _refuse_bound_segments(scan: Scan) -> None:
    for segment in scan.segments:
        for (marker, prefix), reason in _REFUSED.items():
            if segment.marker == marker and segment.payload.startswith(prefix):
                raise UnsupportedError(f"carries {reason}", remedy="Remove that from a copy of the file first.")
    packets = scan.named(0xE1, XMP_PREFIX)
    for words, reason in _REFUSED_XMP.items():
        if any(xmp_packet.mentions(packet, words) for packet in packets):
            raise UnsupportedError(f"carries {reason}", remedy="Remove that from a copy of the file first.")
    if len(packets) > 1:
        raise UnsupportedError("carries two XMP packets", remedy="Remove one of them from a copy of the file first.")
    if scan.named(0xE2, b"MPF\0") and not _has_previews_only(scan):
        raise UnsupportedError(
            "holds several pictures (MPF: a stereo pair, burst, depth or gain map)",
            remedy="Save the one you want as a plain JPEG or PNG first.",
        )


def _has_previews_only(scan: Scan) -> bool:
    """Whether a multi-picture index (CIPA DC-007) lists nothing but smaller copies of the main picture."""
    indexes = scan.named(0xE2, b"MPF\0")
    if len(indexes) != 1:
        return False
    data = indexes[0]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        if order is None:
            return False
        (offset,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, offset)
        for index in range(count):
            tag, _, length, value = struct.unpack_from(order + "HHII", data, offset + 2 + 12 * index)
            if tag == 0xB002:
                kinds = [struct.unpack_from(order + "I", data, value + 16 * i)[0] for i in range(min(length // 16, 64))]
                return len(kinds) > 1 and all((kind >> 16) & 0xFF == 1 for kind in kinds[1:])
    except struct.error:
        return False
    return False


def _exif(scan: Scan) -> bytes | None:
    """The EXIF block; one longer than a segment is split over several, as some writers do.

    Raises:
        UnsupportedError: two blocks that are not parts of one.
    """
    blocks = scan.named(0xE1, EXIF_PREFIX)
    if len(blocks) > 1 and any(len(block) < exif_block.MOST_IN_JPEG - 64 for block in blocks[:-1]):
        raise UnsupportedError("carries two EXIF blocks", remedy="Remove one of them from a copy of the file first.")
    return b"".join(blocks) or None


def _icc(scan: Scan) -> bytes | None:
    """The profile put together from its numbered parts, or None if there is none or a part is missing."""
    parts: dict[int, bytes] = {}
    for chunk in scan.named(0xE2, ICC_PREFIX):
        if len(chunk) < 2 or parts.get(chunk[0], chunk) != chunk:  # the same part twice does no harm
            return None
        parts[chunk[0]] = chunk
    if not parts or any(chunk[1] != len(parts) for chunk in parts.values()):
        return None
    if sorted(parts) != list(range(1, len(parts) + 1)):
        return None
    return b"".join(parts[number][2:] for number in sorted(parts))


def _pieces(scan: Scan, icc_is_whole: bool) -> Iterator[Piece]:
    """Every segment that is no part of the pixels, in order; fields of `Metadata` leave a placeholder."""
    placed = set()
    for segment in scan.segments:
        marker, payload = segment.marker, segment.payload
        if marker == APP0 and payload.startswith((b"JFIF\0", b"JFXX\0")):
            place, data = ("<JFIF>", payload[:12]) if payload.startswith(b"JFIF\0") else ("", b"")
        elif marker == 0xE1 and payload.startswith(EXIF_PREFIX):
            place, data = "<EXIF>", b""
        elif marker == 0xE1 and payload.startswith(XMP_PREFIX):
            place, data = "<XMP>", b""
        elif marker == 0xE2 and payload.startswith(ICC_PREFIX) and icc_is_whole:
            place, data = "<ICC>", b""
        elif marker == 0xED and payload.startswith(PHOTOSHOP_PREFIX):
            place, data = "<PHOTOSHOP>", b""
        elif (marker == 0xE2 and payload.startswith(b"MPF\0")) or (marker == 0xEE and payload.startswith(b"Adobe")):
            continue  # an index of what is gone; how the old pixels were coded
        elif APP0 <= marker <= 0xEF or marker == COM:
            yield Piece("COM" if marker == COM else f"APP{marker - APP0}", payload)
            continue
        else:
            continue
        if place and place not in placed:
            placed.add(place)
            yield Piece(place, data)


def _density(jfif: bytes) -> Density | None:
    """Of a JFIF segment after its prefix: version, unit, x, y."""
    if len(jfif) < 7:
        return None
    unit, x, y = struct.unpack(">BHH", jfif[2:7])
    return Density((x, 1), (y, 1), {0: "aspect", 1: "inch", 2: "cm"}.get(unit, "aspect"))


def without_stale_resources(resources: bytes) -> bytes:
    """Photoshop resources without the thumbnails of the old pixels; as they are if there is none or they are broken."""
    kept, position, dropped = [], 0, False
    while position + 12 <= len(resources):
        if resources[position : position + 4] not in {b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR"}:
            return resources
        number = int.from_bytes(resources[position + 4 : position + 6])
        name = resources[position + 6] + 1
        size_at = position + 6 + name + name % 2
        size = int.from_bytes(resources[size_at : size_at + 4])
        end = size_at + 4 + size + size % 2
        if end > len(resources) + 1:
            return resources
        if number in _STALE_RESOURCES:
            dropped = True
        else:
            kept.append(resources[position:end])
        position = end
    return b"".join(kept) + resources[position:] if dropped else resources


def assemble(encoded: bytes, metadata: Metadata, limits: Limits) -> bytes:
    """A freshly encoded file with a picture's segments in place of the encoder's own.

    Args:
        encoded: what an encoder wrote.
        metadata: what goes in, already corrected.
        limits: for reading `encoded`.

    Returns:
        The file.

    Raises:
        UnsupportedError: EXIF or XMP is longer than JPEG can hold.
    """
    pieces = metadata.pieces if metadata.home == "JPEG" else _foreign_pieces(metadata)
    head: list[bytes] = []
    for piece in _with_places(pieces, metadata):
        if not piece.late:
            head += _segments_of(piece, metadata)
    scan = take_apart(encoded, limits)
    adobe = [_segment(0xEE, s.payload) for s in scan.segments if s.marker == 0xEE and s.payload.startswith(b"Adobe")]
    first = next(s for s in scan.segments if s.marker < APP0)
    tail = b"".join(piece.data for piece in pieces if piece.late)
    return b"".join([b"\xff\xd8", *head, *adobe, memoryview(encoded)[first.start - 4 :], tail])


def _with_places(pieces: tuple[Piece, ...], metadata: Metadata) -> list[Piece]:
    """The pieces, and before them a place for each field that has none; JFIF stays first, as its standard wants."""
    there = {piece.kind for piece in pieces}
    wanted = {
        "<EXIF>": metadata.exif,
        "<XMP>": metadata.xmp,
        "<ICC>": metadata.icc,
        "<PHOTOSHOP>": metadata.photoshop,
    }
    missing = [Piece(place) for place, value in wanted.items() if value is not None and place not in there]
    jfif = [piece for piece in pieces if piece.kind == "<JFIF>"]
    if not jfif and metadata.coding != "RGB" and metadata.home != "JPEG":
        jfif = [Piece("<JFIF>")]
    others = [piece for piece in pieces if piece.kind != "<JFIF>"]
    after_exif = next((i + 1 for i, piece in enumerate(others) if piece.kind == "<EXIF>"), 0)
    return [*jfif, *others[:after_exif], *missing, *others[after_exif:]]


def _segments_of(piece: Piece, metadata: Metadata) -> list[bytes]:
    if piece.kind == "<JFIF>":
        return [_segment(APP0, _jfif(piece.data, metadata.density))]
    if piece.kind == "<EXIF>":
        return _exif_segments(metadata.exif)
    if piece.kind == "<XMP>":
        if metadata.xmp is not None and len(metadata.xmp) > xmp_packet.MOST_IN_JPEG:
            raise UnsupportedError(f"carries {len(metadata.xmp):,} bytes of XMP, more than a JPEG file holds")
        return [] if metadata.xmp is None else [_segment(0xE1, XMP_PREFIX + metadata.xmp)]
    if piece.kind == "<ICC>":
        return list(_icc_segments(metadata.icc or b""))
    if piece.kind == "<PHOTOSHOP>":
        most = _MOST_PAYLOAD - len(PHOTOSHOP_PREFIX)
        resources = metadata.photoshop or b""
        parts = [resources[start : start + most] for start in range(0, len(resources), most)]
        return [_segment(0xED, PHOTOSHOP_PREFIX + part) for part in parts]
    return [_segment(COM if piece.kind == "COM" else APP0 + int(piece.kind[3:]), piece.data)]


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _jfif(old: bytes, density: Density | None) -> bytes:
    """The old segment without its thumbnail, or a new one; version 1.1."""
    if len(old) == 12:
        return old + b"\0\0"
    unit, x, y = 0, 1, 1
    per_inch = density.per_inch() if density else None
    if per_inch is not None and all(0.5 <= value < 65535.5 for value in per_inch):
        unit, x, y = 1, round(per_inch[0]), round(per_inch[1])
    return b"JFIF\0" + struct.pack(">BBBHHBB", 1, 1, unit, x, y, 0, 0)


def _exif_segments(exif: bytes | None) -> list[bytes]:
    if exif is None:
        return []
    most = exif_block.MOST_IN_JPEG
    return [_segment(0xE1, EXIF_PREFIX + exif[start : start + most]) for start in range(0, len(exif), most)]


def _icc_segments(profile: bytes) -> Iterator[bytes]:
    most = _MOST_PAYLOAD - len(ICC_PREFIX) - 2
    parts = [profile[start : start + most] for start in range(0, len(profile), most)]
    if len(parts) > 255:
        raise UnsupportedError(f"carries an ICC profile of {len(profile):,} bytes, more than a JPEG file holds")
    for number, part in enumerate(parts, 1):
        yield _segment(0xE2, ICC_PREFIX + bytes([number, len(parts)]) + part)


def _foreign_pieces(metadata: Metadata) -> tuple[Piece, ...]:
    """Comments and texts of another format as JPEG comments."""
    pieces = [Piece("COM", comment[:_MOST_PAYLOAD]) for comment in metadata.comments]
    for text in metadata.texts:
        titled = text.text if text.title == "Comment" else f"{text.title}: {text.text}"
        pieces.append(Piece("COM", titled.encode()[:_MOST_PAYLOAD]))
    return tuple(pieces)


def split_comments(metadata: Metadata) -> Metadata:
    """The same with each comment as a titled text, for formats that know only those."""
    texts = tuple(Text("Comment", comment.decode("utf-8", "replace")) for comment in metadata.comments)
    return replace(metadata, texts=(*metadata.texts, *texts), comments=())
