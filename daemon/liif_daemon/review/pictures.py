"""Originals and results as a browser can show them: checked against the ledger, in formats that cannot be script."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from liif_daemon.ledger import Job
from liif_daemon.store import Store
from liif_engine.errors import InputError, TooLargeError
from liif_engine.picture import damage, quantisation
from liif_engine.picture.image_file.contents import Limits, Pixels
from liif_engine.picture.image_file.room import Header
from liif_engine.picture.image_file.source import decode, inspect

Side = Literal["before", "after"]

#: What browsers show as it is. Anything else becomes a PNG.
SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "AVIF": "image/avif"}

#: Larger ones are not shown: a browser needs four bytes for each pixel.
LIMITS = Limits(max_pixels=150_000_000, max_file_bytes=256 << 20)

#: Larger ones are not made into a PNG or a thumbnail. [pixels]
MAX_CONVERTED = 64_000_000

#: Longer side of a thumbnail, twice that of its place on the page. [pixels]
THUMBNAIL = 160

#: Thumbnails and converted pictures that are kept in memory. [bytes]
CACHE_BYTES = 128 << 20


@dataclass(frozen=True)
class Shown:
    """Bytes for a browser, and their media type."""

    data: bytes
    media_type: str


class Absent(InputError):  # noqa: N818 - not a failure: the user may have moved the file
    """There is no such picture any more."""

    remedy = ""


class Pictures:
    """The pictures of the ledger's rows, found by their content.

    Args:
        store: of the originals.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._cache: OrderedDict[tuple[str, str], Shown] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, job: Job, side: Side) -> bytes:
        """A whole file, with the content that the ledger speaks of.

        Raises:
            Absent: it is gone, or something else is there now.
            TooLargeError: larger than what is shown.
        """
        if side == "before":
            content, places = job.source_sha256, [self.store.path_of(job.source_sha256), job.path]
        elif job.result_sha256 is None or job.state != "done":
            raise Absent("there is no result")
        else:
            content, places = job.result_sha256, [job.path if job.in_place else job.destination or job.path]
        found = [data for data in map(_regular_file, places) if data is not None]
        for data in found:
            if sha256(data).hexdigest() == content:
                return data
        if side == "after":
            raise Absent("the file was changed since it was restored" if found else "the file is no longer there")
        try:
            self.store.check()
        except OSError as error:
            raise Absent(f"the original is out of reach ({error.strerror})") from error
        raise Absent("the original is no longer kept" if job.kept else "the file has changed since, or is gone")

    def check(self, job: Job, side: Side) -> None:
        """Returns if a picture can be shown.

        Raises:
            LiifError: why not, in words.
        """
        format, header = inspect(self.read(job, side), LIMITS)
        if not _is_shown(format, header):
            _check_convertible(header)

    def whole(self, job: Job, side: Side) -> Shown:
        """A picture in its full size.

        Raises:
            LiifError: in words.
        """
        data = self.read(job, side)
        format, header = inspect(data, LIMITS)
        if _is_shown(format, header):
            return Shown(data, SHOWN[format])
        return self._cached((sha256(data).hexdigest(), side), lambda: _png(data, format, header))

    def thumbnail(self, job: Job) -> Shown:
        """A small picture of the original, or of the result where the original is gone.

        Raises:
            LiifError: in words.
        """

        def make() -> Shown:
            try:
                data = self.read(job, "before")
            except Absent:
                data = self.read(job, "after")
            return _thumbnail(data, *inspect(data, LIMITS))

        return self._cached((job.source_sha256, "thumbnail"), make)

    def file_quality(self, job: Job) -> quantisation.FileQuality | None:
        """What the original says of its own compression; only its head is read, and only of one in the store."""
        return quantisation.read(self.store.path_of(job.source_sha256))

    def damage(self, job: Job) -> damage.Damage:
        """What compression did to the original, by its file and its pixels.

        Raises:
            LiifError: in words.
        """
        data = self.read(job, "before")
        frame = decode(data, *inspect(data, LIMITS), allow_truncated=True)[0]
        return damage.estimate(frame.pixels, data)

    def _cached(self, key: tuple[str, str], make: Callable[[], Shown]) -> Shown:
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        shown = make()
        with self._lock:
            self._cache[key] = shown
            while sum(len(one.data) for one in self._cache.values()) > CACHE_BYTES and len(self._cache) > 1:
                self._cache.popitem(last=False)
        return shown


def _regular_file(path: Path) -> bytes | None:
    """A regular file's bytes; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > LIMITS.max_file_bytes:
            raise TooLargeError("the file is too large to be shown here", path=path, remedy="")
        try:
            return file.read()
        except OSError:
            return None


def _png(data: bytes, format: str, header: Header) -> Shown:
    """The first frame as an 8-bit PNG; its colours stay in the file's own space, CMYK becomes sRGB."""
    picture = _as_image(_first_frame(data, format, header), header)
    profile = None if header.layout == "CMYK" else header.metadata.icc
    return _saved(picture, "PNG", "image/png", compress_level=1, icc_profile=profile)


def _thumbnail(data: bytes, format: str, header: Header) -> Shown:
    picture = _as_image(_first_frame(data, format, header), header)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), reducing_gap=2)
    if picture.mode in {"RGB", "L"}:
        return _saved(picture, "JPEG", "image/jpeg", quality=82)
    return _saved(picture, "PNG", "image/png")


def _is_shown(format: str, header: Header) -> bool:
    """Whether browsers show it as it is."""
    # Not every browser follows EXIF's orientation outside of JPEG; an AVIF says its own in another way, which all do.
    is_upright = header.orientation == 1 or format in {"JPEG", "AVIF"}
    return format in SHOWN and header.bits == 8 and header.layout != "CMYK" and is_upright


def _check_convertible(header: Header) -> None:
    if header.width * header.height * header.frames > MAX_CONVERTED:
        raise TooLargeError("the picture is too large to be shown here", remedy="")


def _first_frame(data: bytes, format: str, header: Header) -> Pixels:
    _check_convertible(header)
    return decode(data, format, header, allow_truncated=True)[0].pixels


def _as_image(pixels: Pixels, header: Header) -> Image.Image:
    """(H, W, C) uint8 or uint16, as `Frame` has them, in 8 bits; CMYK as sRGB."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if header.layout != "CMYK":
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if header.layout == "L" else pixels))
    ink = Image.fromarray(255 - pixels, "CMYK")
    if header.metadata.icc is None:
        return ink.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(header.metadata.icc))
        seen = ImageCms.profileToProfile(ink, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (OSError, ImageCms.PyCMSError):
        return ink.convert("RGB")
    return seen or ink.convert("RGB")


def _saved(picture: Image.Image, format: str, media_type: str, **options: object) -> Shown:
    out = io.BytesIO()
    picture.save(out, format, **{key: value for key, value in options.items() if value is not None})
    return Shown(out.getvalue(), media_type)
