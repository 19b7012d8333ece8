"""How a TIFF file stores its pixels: what the tags say, and whether the file can hold what they claim. TIFF 6.0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from liif_engine.errors import InputError, TruncatedError, UnsupportedError
from liif_engine.picture.image_file.contents import FETCH_AGAIN, Pixels
from liif_engine.picture.image_file.shortage import require_pixels, shortage
from liif_engine.picture.image_file.tiff_tags import Directory, Form, Reader, Tag

NONE, LZW, DEFLATE = 1, 5, 8
#: Compressions by number, and how much one byte can become where that has a bound.
_GROWTH = {1: 1, 2: None, 3: None, 4: None, 5: 2731, 6: None, 7: None, 8: 1032, 32773: 64, 32946: 1032}
_GROWTH |= {34925: None, 50000: None, 50001: None}
LOSSY = {6, 7, 50001}
BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 1, 2, 3, 5, 6
_NAMES = {4: "a transparency mask", 8: "Lab", 9: "Lab", 10: "Lab", 32803: "a camera's raw data", 32844: "HDR (LogLuv)"}
_NAMES |= {32845: "HDR (LogLuv)", 34892: "a camera's raw data"}
_MOST_SAMPLES = 5
#: What a decoder has to know of the old pixels.
_PIXEL_TAGS = {256, 257, 258, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 338, 339, 347} | {
    *range(512, 522),
    *range(529, 533),
}


@dataclass(frozen=True)
class Storage:
    """How the pixels are stored."""

    file: Directory  # the pixels' tags without offsets
    form: Form
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tiled: bool
    height: int
    rows: int  # of a strip
    bits: int
    photometric: int
    samples: int
    planar: bool
    alpha: int | None  # 1 associated, 2 straight
    colours: Pixels | None  # (N, 3) uint8
    uncompressed: bool


def storage_of(reader: Reader, directory: Directory, width: int, height: int) -> Storage:
    """How the pixels are stored.

    Raises:
        InputError, UnsupportedError.
    """
    tags = directory.tags

    def one(number: int, default: int) -> int:
        value = reader.integer(tags.get(number))
        return default if value is None else value

    compression, samples, photometric = one(259, NONE), one(277, 1), one(262, -1)
    if compression not in _GROWTH:
        raise UnsupportedError(f"is compressed by a method (number {compression}) that is not supported")
    if not 1 <= samples <= _MOST_SAMPLES:
        raise UnsupportedError(f"has {samples} samples per pixel")
    depths = set((reader.integers(tags.get(258)) or (1,))[:samples])
    if len(depths) != 1 or depths - {1, 2, 4, 8, 16}:
        raise UnsupportedError(f"has {' and '.join(map(str, sorted(depths)))} bits per sample")
    bits = depths.pop()
    if set(reader.integers(tags.get(339))) - {1, 4}:
        raise UnsupportedError("has signed or floating-point samples")
    base = {0: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}.get(photometric)
    if base is None:
        raise UnsupportedError(f"is stored in colours that are not supported: {_NAMES.get(photometric, photometric)}")
    if photometric == CMYK and (one(332, 1) != 1 or one(334, 4) != 4):
        raise UnsupportedError("is stored in inks other than CMYK")
    if samples < base or (bits < 8 and samples > 1) or (photometric in {PALETTE, YCBCR} and bits > 8):
        raise UnsupportedError(f"has {samples} samples of {bits} bits per pixel, which do not fit its kind of colours")
    alpha = _alpha(reader, tags.get(338), samples - base, photometric)
    tiled = 322 in tags
    offsets = reader.integers(tags.get(324 if tiled else 273)) or reader.integers(tags.get(513))
    counts = reader.integers(tags.get(325 if tiled else 279)) or reader.integers(tags.get(514))
    rows = min(one(278, height) or height, height)
    planes = samples if one(284, 1) == 2 else 1
    if planes > 1 and (compression in LOSSY or photometric == YCBCR):
        raise UnsupportedError("stores each colour's JPEG or YCbCr samples apart (in planes), which is not supported")
    if tiled:
        tile_width, tile_height = one(322, 0), one(323, 0)
        if not 0 < tile_width <= 1 << 16 or not 0 < tile_height <= 1 << 16 or tile_width % 16 or tile_height % 16:
            raise InputError(f"the TIFF header says tiles of {tile_width} x {tile_height} pixels")
        expected = -(-width // tile_width) * -(-height // tile_height) * planes
    else:
        expected = -(-height // rows) * planes
    if not counts and expected == 1 and offsets:
        counts = (len(reader.data) - offsets[0],)
    if len(offsets) < expected or len(counts) < expected:
        raise InputError(f"lists {min(len(offsets), len(counts))} of the {expected} parts of its pixels")
    if compression == NONE and not tiled:  # some writers claim more bytes than the rows have
        row = (width * bits * (1 if planes > 1 else samples) + 7) // 8
        counts = tuple(min(count, row * rows) for count in counts)
    file = Directory({number: tag for number, tag in tags.items() if number in _PIXEL_TAGS})
    return Storage(
        file=file,
        form=(reader.order, reader.big),
        offsets=offsets[:expected],
        counts=counts[:expected],
        tiled=tiled,
        height=height,
        rows=rows,
        bits=bits,
        photometric=photometric,
        samples=samples,
        planar=planes > 1,
        alpha=alpha,
        colours=_colour_map(reader, directory, bits) if photometric == PALETTE else None,
        uncompressed=compression == NONE,
    )


def _alpha(reader: Reader, tag: Tag | None, extra: int, photometric: int) -> int | None:
    """What the one extra sample means, None if there is none.

    Raises:
        UnsupportedError: it is no alpha, or there are several.
    """
    if not extra:
        return None
    meaning = reader.integers(tag)[:extra] or (2,)  # without a word it is meant as alpha by most writers
    if extra > 1 or meaning[0] not in {1, 2} or photometric in {CMYK, YCBCR}:
        raise UnsupportedError("has extra channels (spot colours, masks or alpha beside CMYK)")
    return meaning[0]


def _colour_map(reader: Reader, directory: Directory, bits: int) -> Pixels:
    """(2 ** bits, 3) uint8."""
    values = reader.integers(directory.tags.get(320))
    count = 1 << bits
    if len(values) < 3 * count:
        raise InputError("is a palette picture without a proper palette")
    colours = np.array(values[: 3 * count], np.int64).reshape(3, count).T
    # Some writers put 8-bit values where 16 are meant.
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)


def other_pages(reader: Reader, first: Directory) -> list[str]:
    """Notes on reduced copies of the picture, on later pages or below the first.

    Raises:
        UnsupportedError: there are other pictures.
    """
    if (reader.integer(first.tags.get(254)) or 0) & 1:
        raise UnsupportedError("begins with a reduced copy, as cameras' raw files do", remedy="Convert it first.")
    seen, offset, notes = {reader.first}, first.next, set[str]()
    below = reader.integers(first.tags.get(330))
    for sub in below[:100]:
        directory = reader.directory(sub)
        if directory is None or not (reader.integer(directory.tags.get(254)) or 0) & 1:
            raise UnsupportedError("holds other pictures below the first (SubIFDs)", remedy="Save a flat copy first.")
        notes.add("smaller copies of the picture were left out: they show the old pixels")
    while offset and offset not in seen:
        seen.add(offset)
        directory = reader.directory(offset)
        if directory is None:
            break
        if not (reader.integer(directory.tags.get(254)) or 0) & 1:
            raise UnsupportedError("holds several pages", remedy="Save each page as a file of its own first.")
        notes.add("smaller copies of the picture were left out: they show the old pixels")
        offset = directory.next
    return sorted(notes)


def why_cut(data: bytes, plan: Storage, width: int, compression: int) -> str | None:
    """Why the file counts as truncated, or None."""
    require_pixels("TIFF", sum(plan.counts))
    beyond = sum(offset + count > len(data) for offset, count in zip(plan.offsets, plan.counts, strict=True))
    if beyond:
        return f"the TIFF data ends early: {beyond} of the {len(plan.offsets)} parts of its pixels lie behind its end"
    growth = _GROWTH[compression]
    if growth is None or plan.photometric == YCBCR:
        return None
    needed = (width * plan.bits * plan.samples + 7) // 8 * plan.height
    return shortage("TIFF", sum(plan.counts), sum(plan.counts) * growth, needed)


def whole_rows(data: bytes, plan: Storage, width: int) -> int:
    """How many rows of a cut file are there, from the top.

    Raises:
        TruncatedError: none, or they are not stored from the top.
    """
    whole = 0
    for offset, count in zip(plan.offsets, plan.counts, strict=True):
        if offset + count > len(data):
            break
        whole += 1
    rows = min(whole * plan.rows, plan.height)
    if plan.uncompressed and whole < len(plan.offsets):
        row_bytes = (width * plan.bits * plan.samples + 7) // 8
        rows += max(0, len(data) - plan.offsets[whole]) // row_bytes
    if plan.tiled or plan.planar or plan.form[1] or not 0 < rows <= plan.height:
        raise TruncatedError("too little of the TIFF data is there", remedy=FETCH_AGAIN)
    return rows
