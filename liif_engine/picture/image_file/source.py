"""From a file to a `Picture`: limits before memory, pixels upright, every failure in words.

What a room need not do: name the file in errors, check pixels and frames against the limits, refuse what is cut, turn
pixels upright, or turn an unforeseen failure of a decoder into words.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import stat
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from liif_engine.errors import InputError, LiifError, MemoryExhaustedError, TooLargeError, TruncatedError
from liif_engine.picture.image_file import hdr
from liif_engine.picture.image_file import xmp as xmp_packet
from liif_engine.picture.image_file.contents import (
    FETCH_AGAIN,
    RAISE_THE_LIMIT,
    Frame,
    Limits,
    Marker,
    Picture,
    Pixels,
    Probe,
)
from liif_engine.picture.image_file.room import Header
from liif_engine.picture.image_file.rooms import format_of, room_of

log = logging.getLogger(__name__)

#: No bytes of a file lead to these, only mistakes in code.
_SLIPS = (NameError, AttributeError, TypeError, AssertionError, ImportError, NotImplementedError)
_REPORT = "Please report it, with the file if you can."
_PIECE_BYTES = 1 << 20
_WHOLE_OR_NOTHING = {"AVIF", "HEIC"}  # whose libraries give nothing of a cut file


def probe(path: str | Path, *, limits: Limits | None = None) -> Probe:
    """What a file's header says, and what it carries; no pixel is decoded.

    Args:
        path: a picture file.
        limits: what is refused as too large.

    Raises:
        InputError: missing, unreadable, no picture, damaged.
        UnsupportedError: restoring it would lose something.
        TooLargeError: larger than a limit.
    """
    limits = limits or Limits()
    with in_words(path):
        format, header = inspect(_bytes_of(Path(path), limits), limits)
    width, height = _displayed(header)
    return Probe(format, width, height, header.layout, header.bits, header.frames, header.metadata)


def read(path: str | Path, *, limits: Limits | None = None, allow_truncated: bool = False) -> Picture:
    """A whole file, its pixels upright.

    Args:
        path: a picture file.
        limits: what is refused as too large.
        allow_truncated: whether to take what is there of a picture whose data ends early.

    Raises:
        TruncatedError: the data ends early.
        InputError, UnsupportedError, TooLargeError: as in `probe`.
    """
    limits = limits or Limits()
    with in_words(path):
        data = _bytes_of(Path(path), limits)
        format, header = inspect(data, limits)
        if header.cut is not None and not allow_truncated:
            raise TruncatedError(header.cut, remedy=FETCH_AGAIN if format in _WHOLE_OR_NOTHING else None)
        frames = decode(data, format, header, allow_truncated=allow_truncated)
    width, height = _displayed(header)
    digest = hashlib.sha256(data).hexdigest()
    return Picture(format, width, height, header.layout, header.bits, frames, header.metadata, digest)


def read_marker(path: str | Path) -> Marker | None:
    """The marker of a result of ours; None for any other file, be it a picture or not.

    Fast for files without it: their bytes are searched, not parsed.

    Raises:
        InputError: the file cannot be read.
    """
    with in_words(path):
        if not _mentions_us(Path(path)):
            return None
        try:
            limits = Limits()
            header = inspect(_bytes_of(Path(path), limits), limits)[1]
        except LiifError:
            return None
        return marker_of(header)


def marker_of(found: Header | Probe | Picture) -> Marker | None:
    """The marker of a result of ours; None for any other picture."""
    packet = found.metadata.xmp
    return None if packet is None else xmp_packet.find_marker(packet)


def inspect(data: bytes, limits: Limits) -> tuple[str, Header]:
    """Format and header of a file within the limits.

    Raises:
        InputError, UnsupportedError, TooLargeError: without a path.
    """
    format = format_of(data)
    room = room_of(format)
    with _decoding(format):
        try:
            header = room.inspect(data, limits)
        except TruncatedError as error:
            error.remedy = FETCH_AGAIN  # what ends before its pixels begin gives nothing, whatever is allowed
            raise
    if header.metadata.icc is not None:
        hdr.refuse_profile(header.metadata.icc)
    if header.frames > limits.max_frames:
        words = f"holds {header.frames:,} frames, more than the limit of {limits.max_frames:,}"
        raise TooLargeError(words, remedy="Make the animation shorter first.")
    pixels = header.width * header.height * header.frames
    if pixels > limits.max_pixels:
        each = f"{header.width:,} x {header.height:,}" + (f" x {header.frames:,} frames" if header.frames > 1 else "")
        words = f"says it has {each} = {pixels:,} pixels, more than the limit of {limits.max_pixels:,}"
        raise TooLargeError(words, remedy=RAISE_THE_LIMIT)
    if header.orientation != 1:
        metadata = replace(header.metadata, turned=True, orientation=header.orientation)
        if header.orientation >= 5 and metadata.density is not None:
            metadata = replace(metadata, density=metadata.density.turned())
        header = replace(header, metadata=metadata)
    return format, header


def decode(data: bytes, format: str, header: Header, *, allow_truncated: bool) -> list[Frame]:
    """The frames of an inspected file, upright.

    Raises:
        InputError, TruncatedError: without a path.
    """
    with _decoding(format):
        frames = room_of(format).decode(data, header, allow_truncated=allow_truncated)
    shape = (header.height, header.width, len(header.layout))
    if len(frames) != header.frames or any(frame.pixels.shape != shape for frame in frames):
        raise InputError(f"the {format} data and its header tell different sizes")
    return [replace(frame, pixels=upright(frame.pixels, header.orientation)) for frame in frames]


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels as displayed. (H, W, C) -> (H, W, C) or, for orientations 5 to 8, (W, H, C); C-contiguous.

    Args:
        pixels: as stored.
        orientation: of EXIF, 1 to 8: where the stored picture's first row and column are seen.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


@contextlib.contextmanager
def in_words(path: str | Path) -> Iterator[None]:
    """Errors of reading a file name it, and those of the system say what is wrong."""
    try:
        yield
    except LiifError as error:
        raise error.at(path) from error.__cause__
    except FileNotFoundError as error:
        raise InputError("there is no such file", path=path, remedy="Check the name.") from error
    except IsADirectoryError as error:
        raise InputError("is a folder", path=path, remedy="Name picture files.") from error
    except PermissionError as error:
        raise InputError("may not be read", path=path, remedy="Check the file's permissions.") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", path=path) from error
    except MemoryError as error:
        raise MemoryExhaustedError("there is not enough memory to read it", path=path) from error


@contextlib.contextmanager
def _decoding(format: str) -> Iterator[None]:
    """What a decoder makes of hostile bytes is the file's fault, and said so; a slip of this program is not."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of metadata that rooms read for themselves
            yield
    except (LiifError, MemoryError):
        raise
    except _SLIPS as error:
        log.exception("the %s room failed", format)
        raise LiifError(f"cannot be read because of a fault in this program ({error!r})", remedy=_REPORT) from error
    except Exception as error:
        log.debug("%s decoder failed", format, exc_info=True)
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"the {format} data is damaged ({detail})") from error


def _bytes_of(path: Path, limits: Limits) -> bytes:
    """The whole file; its size is looked at before and while it is read, since files grow."""
    size, most = _size_of(path), limits.max_file_bytes
    with path.open("rb") as file:
        data = b"" if size > most else file.read(size + 1)
        if len(data) > size:
            data += file.read(most + 1 - len(data))
    if max(len(data), size) > most:
        raise TooLargeError(f"is larger than the limit of {most:,} bytes", remedy="Save it smaller first.")
    return data


def _size_of(path: Path) -> int:
    """Of a plain file; merely opening a pipe could wait for ever.

    Raises:
        InputError: a device, pipe or socket.
    """
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise InputError("is a device, pipe or socket, not a file", remedy="Name picture files.")
    return status.st_size


def _mentions_us(path: Path) -> bool:
    """Whether the marker's name stands anywhere in the file, in any encoding of XMP."""
    words = [xmp_packet.OURS.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    overlap = max(map(len, words)) - 1
    _size_of(path)
    with path.open("rb") as file:
        tail = b""
        while piece := file.read(_PIECE_BYTES):
            window = tail + piece
            if any(word in window for word in words):
                return True
            tail = window[-overlap:]
    return False


def _displayed(header: Header) -> tuple[int, int]:
    """(width, height) after the orientation."""
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
