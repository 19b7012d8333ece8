"""The JPEG container: finding the segments of a file. ITU-T T.81 annex B."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from liif_engine.errors import InputError
from liif_engine.picture.image_file.contents import Limits, too_many_pieces

SOI, EOI, SOS, COM, APP0 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0
#: Start-of-frame markers: 0xC0 to 0xCF without DHT, JPG and DAC; and that of JPEG-LS.
SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
MOST_PAYLOAD = 65533  # [bytes] the length field counts itself

EXIF_PREFIX = b"Exif\0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_XMP_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
ICC_PREFIX = b"ICC_PROFILE\0"
PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"

#: A marker's first byte, after as many more of it as a writer likes.
_FILLED = re.compile(rb"\xff+")
_ENTROPY_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


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
    while (found := _FILLED.search(data, position)) is not None:
        position = found.end()
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
            raise too_many_pieces(f"holds more than {limits.max_pieces} segments")
        position += max(2, length)
        if marker == SOS:
            after = _ENTROPY_END.search(data, position)
            end = len(data) if after is None else after.start()
            scan.scans += 1
            scan.entropy_bytes += end - position
            scan.entropy_end = end
            position = end
    return scan
