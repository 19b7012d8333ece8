"""What a lossy file says of its own coarseness: JPEG's quantisation tables, WebP's quantiser, AVIF's and HEIC's chroma.

Headers only, no pixels. Reads what it can and says nothing where a file is broken or of another kind: this is advice,
never a reason to refuse.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from liif_engine.picture.vp8 import mean_quantiser

Table = NDArray[np.int64]

#: Luma and chroma tables of ITU-T T.81, annex K.1, row by row; libjpeg scales these by its quality.
LUMA_TABLE: Table = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMA_TABLE: Table = np.full((8, 8), 99)
CHROMA_TABLE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

#: A JPEG stores a table along diagonals; this is the order of the row-by-row positions.
ZIGZAG = sorted(range(64), key=lambda at: (s := at // 8 + at % 8, at // 8 if s % 2 else at % 8))

#: Start-of-frame markers: 0xC0 to 0xCF without DHT, JPG and DAC.
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
START_OF_SCAN = 0xDA
_PIECE_BYTES = 1 << 12
TABLES = 0xDB

#: The boxes of AVIF and HEIC stand in front of the coded pictures. [bytes]
BOXES_BYTES = 1 << 20
#: Bits of AV1's settings (AV1 in ISOBMFF, 2.3.3), and HEVC's formats of chroma (ISO/IEC 14496-15): 4:2:0 and 4:2:2.
AV1_GRAY, AV1_HALVED, HEVC_HALVED = 0x10, 0x0C, {1, 2}

SUBSAMPLINGS = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
    (4, 2): "4:1:0",
}


@dataclass(frozen=True)
class FileQuality:
    """What a lossy file says of itself.

    Attributes:
        codec: "jpeg" or "webp".
        quality: 1-100 on the encoder's scale: libjpeg's, the nearest if the tables are not its own; or libwebp's, to
            within about 5, since the encoder varies it over the picture.
        exact: the tables are exactly libjpeg's for that quality.
        subsampling: of the chroma: "4:4:4", "4:2:2", "4:2:0", another such name, or "gray".
    """

    codec: str
    quality: int
    exact: bool
    subsampling: str


def read(source: Path | str | bytes) -> FileQuality | None:
    """What a file says of its coarseness.

    Args:
        source: a file, or a file's bytes (its head is enough).

    Returns:
        None where it is no JPEG and no lossy WebP, is broken, or cannot be opened.
    """
    try:
        with _stream(source) as stream:
            head = stream.read(12)
            stream.seek(0)
            if head[:2] == b"\xff\xd8":
                return _read_jpeg(stream)
            if head[:4] == b"RIFF" and head[8:] == b"WEBP":
                return _read_webp(stream)
    except (OSError, ValueError, IndexError, KeyError, struct.error, ZeroDivisionError):
        pass
    return None


def halved_chroma(source: Path | str | bytes) -> str | None:
    """Whether a file's colours have less detail than its luma by the file's own word, which only lossy ones do.

    Args:
        source: a file, or a file's bytes (its head is enough).

    Returns:
        "AVIF" or "HEIC"; None where it is neither, has its colours in full, is gray, broken, or cannot be opened.
    """
    from liif_engine.errors import LiifError  # not needed by those who have another kind of file
    from liif_engine.picture.image_file.contents import Limits
    from liif_engine.picture.image_file.isobmff import read_media

    try:
        with _stream(source) as stream:
            head = stream.read(BOXES_BYTES)
        if head[4:8] == b"ftyp":
            items = read_media(head, Limits()).items.values()
            return next(filter(None, (_halved(*one) for item in items for one in item.properties)), None)
    except (OSError, ValueError, IndexError, LiifError):
        pass
    return None


def _halved(kind: bytes, value: bytes) -> str | None:
    """What the settings of a codec say; each is a property of a picture's item."""
    if kind == b"av1C" and not value[2] & AV1_GRAY and value[2] & AV1_HALVED:
        return "AVIF"
    if kind == b"hvcC" and value[16] & 3 in HEVC_HALVED:
        return "HEIC"
    return None


@contextmanager
def _stream(source: Path | str | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    else:
        with Path(source).open("rb") as file:
            yield file


def scaled_table(table: Table, quality: int) -> Table:
    """A table of annex K as libjpeg scales it for a quality of 1-100 (``jpeg_quality_scaling``), baseline."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return cast(Table, ((table * percent + 50) // 100).clip(1, 255))


def quality_of_tables(luma: NDArray[Any], chroma: NDArray[Any] | None = None) -> tuple[int, bool]:
    """The libjpeg quality of a JPEG's tables.

    Args:
        luma, chroma: (8, 8), rows of vertical frequency.

    Returns:
        The quality, 1-100, and whether it is exact. Otherwise it is that of the nearest luma table, by the mean
        absolute logarithm of the ratios: twice as coarse is as far as half as coarse.
    """
    standard_luma, standard_chroma = _standard_tables()
    same = (standard_luma == luma).all((1, 2))
    if chroma is not None:
        same &= (standard_chroma == chroma).all((1, 2))
    if same.any():
        return int(np.flatnonzero(same)[-1]) + 1, True
    logarithm = np.log(np.maximum(luma, 1))
    far = np.abs(np.log(standard_luma) - logarithm).mean((1, 2))
    return int(np.argmin(far)) + 1, False


@cache
def _standard_tables() -> tuple[NDArray[Any], NDArray[Any]]:
    """libjpeg's luma and chroma tables of the qualities 1 to 100, (100, 8, 8) each."""
    luma, chroma = ([scaled_table(table, quality) for quality in range(1, 101)] for table in (LUMA_TABLE, CHROMA_TABLE))
    return np.stack(luma), np.stack(chroma)


def _read_jpeg(stream: BinaryIO) -> FileQuality | None:
    """Walks the segments up to the first scan; tables may stand before or after the frame header."""
    stream.seek(2)
    tables: dict[int, Table] = {}
    frame = b""
    while True:
        marker = stream.read(2)
        while marker[1:] == b"\xff" and (piece := stream.read(_PIECE_BYTES)):  # fill bytes
            after = piece.lstrip(b"\xff")
            marker = b"\xff" + (after[:1] or b"\xff")
            stream.seek(min(0, 1 - len(after)), io.SEEK_CUR)
        (length,) = struct.unpack(">H", stream.read(2))
        if marker[0] != 0xFF:
            return None
        if marker[1] == START_OF_SCAN:
            break
        if marker[1] == TABLES:
            tables |= dict(_tables(stream.read(length - 2)))
        elif marker[1] in FRAME_MARKERS:
            frame = stream.read(length - 2)
        else:
            stream.seek(length - 2, io.SEEK_CUR)
    components = [frame[6 + 3 * number : 9 + 3 * number] for number in range(frame[5])]
    used = [tables[component[2]] for component in components]
    quality, exact = quality_of_tables(used[0], used[1] if len(used) > 1 else None)
    return FileQuality("jpeg", quality, exact, _subsampling([component[1] for component in components]))


def _tables(payload: bytes) -> Iterator[tuple[int, Table]]:
    """The numbered tables of a DQT segment (T.81, B.2.4.1)."""
    while payload:
        wide, number = divmod(payload[0], 16)
        size = 128 if wide else 64
        values = np.frombuffer(payload[1 : 1 + size], ">u2" if wide else "u1")
        table = np.zeros(64, np.int64)
        table[ZIGZAG] = values
        yield number, table.reshape(8, 8)
        payload = payload[1 + size :]


def _subsampling(factors: list[int]) -> str:
    """The usual name of the components' sampling factors, each horizontal x 16 + vertical."""
    if len(factors) < 3:
        return "gray"
    wide, high = (factors[0] >> 4) / (factors[1] >> 4), (factors[0] & 15) / (factors[1] & 15)
    return SUBSAMPLINGS.get((int(wide), int(high)), f"{wide:g}x{high:g}")


def _read_webp(stream: BinaryIO) -> FileQuality | None:
    """Finds the first lossy picture among a WebP's chunks, inside an animation's first frame too."""
    stream.seek(12)
    while True:
        name, size = struct.unpack("<4sI", stream.read(8))
        if name == b"VP8 ":
            return FileQuality("webp", _webp_quality(mean_quantiser(stream.read(min(size, 4096)))), False, "4:2:0")
        if name == b"VP8L":
            return None
        stream.seek(16 if name == b"ANMF" else size + size % 2, io.SEEK_CUR)


def _webp_quality(quantiser: float) -> int:
    """The inverse of libwebp's way from a quality to a quantiser of 0-127 (``QualityToCompression``)."""
    linear = (1 - quantiser / 127) ** 3
    return round(min(max(100 * (1.5 * linear if linear < 0.5 else (linear + 1) / 2), 1), 100))
