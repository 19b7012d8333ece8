"""From restored pixels to a file: early refusals, metadata corrected, the file decoded again before it counts.

What a room need not do: check `Capacity`, correct sizes and orientation in EXIF and XMP, replace thumbnails, put in the
marker, or note what another format's own pieces lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from liif_engine.errors import LiifError, OutputError, UsageError, printable
from liif_engine.picture.atomic import write_atomically
from liif_engine.picture.image_file import density, jpeg_extended_xmp, photoshop, png_canvas, tiff_described
from liif_engine.picture.image_file import exif as exif_block
from liif_engine.picture.image_file import xmp as xmp_packet
from liif_engine.picture.image_file.contents import Frame, Limits, Marker, Metadata, Picture, Pixels
from liif_engine.picture.image_file.fitting import FIELDS, check_result
from liif_engine.picture.image_file.placement import Placement
from liif_engine.picture.image_file.preview import thumbnail_of
from liif_engine.picture.image_file.room import Order
from liif_engine.picture.image_file.rooms import carries_marker, room_of
from liif_engine.picture.image_file.source import decode, inspect
from liif_engine.words import counted

#: What a further frame of an animation takes, as a share of it: it is decoded again, and the file is held.
FRAME_COPIES = 1.5

#: A note names so many kinds of pieces.
MOST_NAMED = 10

#: A result may be larger than what is read from strangers: its size was checked before the work.
_OUR_OWN = Limits(
    max_pixels=1 << 50, max_frames=1 << 31, max_file_bytes=1 << 50, max_metadata_bytes=1 << 40, max_pieces=1 << 40
)
#: Pieces whose content a field of `Metadata` repeats, and PNG's sRGB values, which are what no profile means anyway.
_TRANSLATED = frozenset({"COM", "tEXt", "zTXt", "iTXt", "pHYs", "iCCP", "sRGB", "gAMA", "cHRM"})
_PLACES = frozenset(
    {"<EXIF>", "<XMP>", "<ICC>", "<PHOTOSHOP>", "<JFIF>", "<LOOP>", "<BACKGROUND>", "<FORM>", "<COLOUR>", "<CICP>"}
)


def writing_bytes(format: str, *, width: int, height: int, layout: str, bits: int, frames: int = 1) -> int:
    """Bytes of memory that `write` takes beyond the frames that it is given, at most but for odd pictures.

    Args:
        format: of the result.
        width, height, layout, bits: of each frame.
        frames: how many there are; of an animation one at a time is coded, and all are decoded again.
    """
    per_pixel, per_sample = room_of(format).CAPACITY.coding
    samples = width * height * len(layout) * bits // 8
    return int(width * height * bits // 8 * per_pixel + samples * per_sample + (frames - 1) * samples * FRAME_COPIES)


def write(
    path: str | Path,
    source: Picture,
    frames: Sequence[Pixels],
    *,
    format: str,
    quality: int,
    marker: Marker | None,
    overwrite: bool,
    resume: bool = False,
    mode: int = 0o666,
) -> list[str]:
    """Writes a result with everything its source carried.

    The file is written under a temporary name in the same folder, read back and decoded; it takes its name only if it
    holds what it should, so readers see the old file or the complete new one.

    Args:
        path: of the result.
        source: where metadata and timing come from.
        frames: the restored pixels of each of its frames, (H, W, C) of one shape, in its layout and depth.
        format: of the result.
        quality: of a lossy result, 1 to 100.
        marker: what the result says of its making, where the format can say it.
        overwrite: whether an existing file may be replaced.
        resume: whether an existing file of the same bytes is the result, as in `write_atomically`.
        mode: of a new file, likewise.

    Returns:
        What the user should know: what could not be carried.

    Raises:
        OutputExistsError, OutputError: nothing was written.
        UnsupportedError, TooLargeError: as in `check_result`.
    """
    check_quality(quality)
    height, width = frames[0].shape[:2]
    dtype = np.dtype(np.uint16 if source.bits == 16 else np.uint8)
    if len(frames) != len(source.frames) or any(
        pixels.shape != (height, width, len(source.layout)) or pixels.dtype != dtype for pixels in frames
    ):
        raise UsageError(
            f"the frames of the result are not {len(source.frames)} of {source.layout} {dtype}, all of one size"
        )
    check_result(source, format=format, width=width, height=height)
    results = [
        replace(frame, pixels=np.ascontiguousarray(pixels)) for frame, pixels in zip(source.frames, frames, strict=True)
    ]
    metadata, notes = _corrected(source, results, format, marker)
    order = Order(results, source.layout, metadata, quality)
    data, more_notes = room_of(format).encode(order)
    with write_atomically(path, overwrite=overwrite, resume=resume, mode=mode) as temporary:
        temporary.write_bytes(data)
        del data
        _verify(temporary, order, format, marker)
    # Each once: a file may have a thousand pieces of which the same is true.
    return list(dict.fromkeys(printable(note) for note in [*source.metadata.notes, *notes, *more_notes]))


def check_quality(quality: Any) -> None:
    """Refuses, before any work, what is no quality.

    Raises:
        UsageError: it is not a whole number from 1 to 100.
    """
    if isinstance(quality, bool) or not isinstance(quality, Integral) or not 1 <= int(quality) <= 100:
        raise UsageError(f"a quality is a whole number from 1 to 100, not {quality!r}")


def _corrected(source: Picture, results: list[Frame], format: str, marker: Marker | None) -> tuple[Metadata, list[str]]:
    """The metadata with what the restoration made stale put right, and notes."""
    metadata, notes = source.metadata, list[str]()
    height, width = results[0].pixels.shape[:2]
    orientation = _turned_from(metadata)
    placement = Placement(orientation, (source.width, source.height), (width, height))
    if metadata.home == "TIFF":
        metadata, notes = tiff_described.corrected(metadata, placement, results[0].pixels.shape)
    metadata = replace(metadata, exif=density.put_into_exif(metadata, room_of(format).CAPACITY))
    if metadata.exif is not None:
        exif, more = exif_block.corrected(
            metadata.exif,
            width=width,
            height=height,
            upright=metadata.turned,
            make_thumbnail=thumbnail_of(results[0], source.layout),
            before=(source.width, source.height),
        )
        metadata = replace(metadata, exif=exif)
        notes += more
    words = xmp_packet.UNTURNED_REGIONS
    if orientation != 1 and (xmp_packet.mentions(metadata.xmp, words) or jpeg_extended_xmp.mentions(metadata, words)):
        notes.append("IPTC's regions in XMP were left as they were, but the picture was turned upright")
    correction = xmp_packet.Correction(placement, metadata.turned)
    if metadata.photoshop is not None:
        resources, more = photoshop.corrected(metadata.photoshop, placement)
        metadata = replace(metadata, photoshop=resources or None)
        notes += more
    if metadata.home == format == "PNG":
        metadata, more = png_canvas.enlarged(metadata, placement)
        notes += more
    if metadata.home == format == "JPEG":
        metadata, more = jpeg_extended_xmp.corrected(metadata, correction)
        notes += more
    carried = marker if carries_marker(format) else None
    try:
        metadata = replace(metadata, xmp=xmp_packet.edited(metadata.xmp, correction=correction, marker=carried))
    except xmp_packet.BadPacket as error:
        notes.append(f"the XMP packet is damaged ({error}); it was kept as it is, without a note of the restoration")
    if metadata.home != format:
        kinds = sorted({piece.kind for piece in metadata.pieces if piece.kind[:5] != "<TAG "} - _TRANSLATED - _PLACES)
        if "<AFTER>" in kinds:
            kinds.remove("<AFTER>")
            notes.append(f"what follows the end of the {metadata.home} data was left out")
        if any(piece.kind == "<BACKGROUND>" and any(piece.data) for piece in metadata.pieces):
            notes.append("the background colour, which viewers ignore, was left out")
        if kinds:
            notes.append(f"{format} has no place for {metadata.home}'s own {_listed(kinds)}")
    return metadata, notes


def _listed(kinds: list[str]) -> str:
    """Names of pieces in words; a file may have thousands, which nobody reads and no header of HTTP holds."""
    more = len(kinds) - MOST_NAMED
    return ", ".join(kinds[:MOST_NAMED]) + (f" and {counted(more, 'other')}" if more > 0 else "")


def _turned_from(metadata: Metadata) -> int:
    """The orientation that what speaks of stored pixels has to follow.

    AVIF and HEIC turn by other means than EXIF's tag, and programs that mark regions in them go by the tag.
    """
    return exif_block.orientation(metadata.exif) if metadata.home in {"AVIF", "HEIC"} else metadata.orientation


def _verify(path: Path, order: Order, format: str, marker: Marker | None) -> None:
    """Reads a result as a stranger would.

    Raises:
        OutputError: it does not hold what it should.
    """
    wanted = order.metadata
    try:
        data = path.read_bytes()
        found, header = inspect(data, _OUR_OWN)
        frames = decode(data, found, header, allow_truncated=True)  # cut is ruled out below; no second decode for it
    except (LiifError, OSError) as error:
        raise _broken(path, f"it cannot be read back: {error}") from error
    if found != format or header.cut is not None or len(frames) != len(order.frames):
        raise _broken(path, "it is not the file that was meant")
    for frame, meant in zip(frames, order.frames, strict=True):
        if frame.pixels.shape[:2] != meant.pixels.shape[:2]:
            raise _broken(path, f"its size is {frame.pixels.shape[1]} x {frame.pixels.shape[0]}")
        if (
            header.metadata.lossless
            and format != "GIF"  # which reduces colours to a palette, and says so
            and not np.array_equal(frame.pixels, _laid_out(meant.pixels, header.layout))
        ):
            raise _broken(path, "its pixels are not what was written")
    carries = room_of(format).CAPACITY.carries
    for field in ("exif", "icc", "xmp"):
        if field == "exif" and format == "TIFF" and wanted.home != "TIFF":
            continue  # taken apart into TIFF's own directories, so not the same bytes
        if field in carries and getattr(wanted, field) != getattr(header.metadata, field):
            raise _broken(path, f"its {FIELDS[field]} is not what was written")
    if marker is not None and wanted.xmp is not None and xmp_packet.find_marker(wanted.xmp) not in {None, marker}:
        raise _broken(path, "its marker is not what was written")


def _laid_out(pixels: Pixels, layout: str) -> Pixels:
    """Gray as colours where a format has nothing else; other pixels as they are."""
    if pixels.shape[2] > 2 or pixels.shape[2] == len(layout):
        return pixels
    return pixels[..., [0, 0, 0, 1][: len(layout)]]


def _broken(path: Path, why: str) -> OutputError:
    return OutputError(
        f"the result was not kept: {why}",
        path=path,
        remedy="This is a fault of the program or of the disk; please report it.",
    )
