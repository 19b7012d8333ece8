"""What the segments of a JPEG file say beside its pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from liif_engine.errors import UnsupportedError
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file import xmp as xmp_packet
from liif_engine.picture.image_file.contents import Density, Limits, Metadata, Piece, too_much_metadata
from liif_engine.picture.image_file.jpeg_segments import (
    APP0,
    COM,
    EXIF_PREFIX,
    EXTENDED_XMP_PREFIX,
    ICC_PREFIX,
    PHOTOSHOP_PREFIX,
    XMP_PREFIX,
    Scan,
)
from liif_engine.picture.image_file.photoshop import without_stale_resources

#: Segments whose loss nobody should meet unasked and which a restored picture cannot carry truthfully.
_REFUSED = {
    (0xEB, b"JP"): "Content Credentials or other JUMBF data, signed for or bound to the original pixels",
    (0xE2, b"urn:iso:std:iso:ts:21496"): "a gain map (HDR), made for the original pixels",
    (0xEB, b"HDR_RI"): "the ratios of a JPEG-HDR picture, made for the original pixels",
    (0xE8, b"SPIFF\0"): "a SPIFF header",
}
#: Before the text of each further segment of XMP: the checksum of the whole, its length, the text's place in it.
_EXTENDED_HEAD = 32 + 4 + 4  # [bytes]
#: Bytes that mean nothing behind a picture.
_FILLING = b"\0\xff\r\n "
#: What Samsung calls the depth map that it puts behind a picture, beside other things that are kept.
_DEPTH_BEHIND = b"DualShot_DepthMap"
#: What XMP says when other pictures follow that belong pixel by pixel to the main one.
_REFUSED_XMP = {
    b"http://ns.adobe.com/hdr-gain-map/": "a gain map (HDR), made for the original pixels",
    b"http://ns.google.com/photos/1.0/depthmap/": "a depth map, made for the original pixels",
    b"http://ns.google.com/photos/dd/1.0/depthmap/": "a depth map, made for the original pixels",
    b"http://ns.google.com/photos/1.0/image/": "a second picture inside XMP",
    b"HDRGainMap": "a gain map (HDR), made for the original pixels",
}


def read_metadata(data: bytes, scan: Scan, limits: Limits) -> tuple[Metadata, list[str]]:
    """What the segments say, and notes on what a result cannot hold.

    Raises:
        UnsupportedError: something is tied to the original pixels and can neither be kept nor dropped.
        TooLargeError: more bytes of metadata than the limit.
    """
    _refuse_bound_segments(scan)
    size = sum(len(s.payload) for s in scan.segments if s.marker >= APP0)
    if size > limits.max_metadata_bytes:
        raise too_much_metadata(
            f"holds {size:,} bytes of metadata, more than the limit of {limits.max_metadata_bytes:,}"
        )
    notes: list[str] = []
    exif, icc = _exif(scan), _icc(scan)
    packets = scan.named(0xE1, XMP_PREFIX)
    photoshop = b"".join(scan.named(0xED, PHOTOSHOP_PREFIX)) or None
    pieces = list(_pieces(scan, icc is not None))
    if behind := _behind(data, scan, notes):
        pieces.append(Piece("<AFTER>", behind, late=True))
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
        bound_to_home=tuple(_bound(scan, icc)),
    ), notes


def _behind(data: bytes, scan: Scan, notes: list[str]) -> bytes:
    """What follows the end mark and is kept, such as the film that a phone took with the picture.

    Raises:
        UnsupportedError: it belongs to the old pixels.
    """
    rest = b"" if scan.end is None else data[scan.end :]
    if scan.end is not None and rest.strip(_FILLING) and (end := _previews_end(scan)) is not None:
        notes.append("the camera's preview pictures after the main one were removed: they show the old pixels")
        rest = data[end:] if end > scan.end else b""
    if _DEPTH_BEHIND in rest:
        reason = "a depth map, made for the original pixels"
        raise UnsupportedError(f"carries {reason}", remedy="Remove that from a copy of the file first.")
    return rest if rest.strip(_FILLING) else b""


def _bound(scan: Scan, icc: bytes | None) -> Iterator[str]:
    """What no other format is given, since it could not be put together."""
    if scan.named(0xE1, EXTENDED_XMP_PREFIX):
        yield "XMP that goes on in further segments"
    if icc is None and scan.named(0xE2, ICC_PREFIX):
        yield "an ICC profile that cannot be read"


def _refuse_bound_segments(scan: Scan) -> None:
    for segment in scan.segments:
        for (marker, prefix), reason in _REFUSED.items():
            if segment.marker == marker and segment.payload.startswith(prefix):
                raise UnsupportedError(f"carries {reason}", remedy="Remove that from a copy of the file first.")
    packets = scan.named(0xE1, XMP_PREFIX)
    further = b"".join(segment[_EXTENDED_HEAD:] for segment in scan.named(0xE1, EXTENDED_XMP_PREFIX))
    for words, reason in _REFUSED_XMP.items():
        if any(xmp_packet.mentions(packet, words) for packet in [*packets, further]):
            raise UnsupportedError(f"carries {reason}", remedy="Remove that from a copy of the file first.")
    if len(packets) > 1:
        raise UnsupportedError("carries two XMP packets", remedy="Remove one of them from a copy of the file first.")
    if scan.named(0xE2, b"MPF\0") and _previews_end(scan) is None:
        raise UnsupportedError(
            "holds several pictures (MPF: a stereo pair, burst, depth or gain map)",
            remedy="Save the one you want as a plain JPEG or PNG first.",
        )


def _previews_end(scan: Scan) -> int | None:
    """Where in the file the last picture of a multi-picture index (CIPA DC-007) ends.

    None if there is no index, or it lists anything but smaller copies of the main picture.
    """
    indexes = [s for s in scan.segments if s.marker == 0xE2 and s.payload.startswith(b"MPF\0")]
    if len(indexes) != 1:
        return None
    data, start = indexes[0].payload[4:], indexes[0].start + 4
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        if order is None:
            return None
        (offset,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, offset)
        for index in range(count):
            tag, _, length, value = struct.unpack_from(order + "HHII", data, offset + 2 + 12 * index)
            if tag == 0xB002:
                entries = [
                    struct.unpack_from(order + "III", data, value + 16 * i) for i in range(min(length // 16, 64))
                ]
                if len(entries) > 1 and all((kind >> 16) & 0xFF == 1 for kind, _, _ in entries[1:]):
                    return int(start + max(size + place for _, size, place in entries[1:]))
    except struct.error:
        return None
    return None


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
