"""What a result lost of its source: as this package reads both files, and as Pillow does, which knows nothing of it."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import ExifTags, Image, ImageOps

from liif_engine.errors import LiifError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Limits, Metadata, Picture, photoshop, xmp
from liif_engine.picture.image_file.placement import Placement

#: Tags that a restoration corrects, and those of the stale thumbnail's directory.
_CORRECTED = {0x0100, 0x0101, 0x0112, 0xA002, 0xA003, 0x9214, 0xA214, 0xA20E, 0xA20F, 0x8769, 0x8825, 0xA005}
#: TIFF's orientation, PNG's canvas and Photoshop's guides in a text, whose new values the tests of their rooms check.
_CORRECTED_PIECES = {"<TAG 274>", "caNv", "vpAg", "oFFs", "sCAL", "<PHOTOSHOP>"}
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_CORRECTED_XMP = ("Orientation", "ImageWidth", "ImageLength", "PixelXDimension", "PixelYDimension", "Thumbnails")
#: Where regions and panoramas lie in the picture.
_CORRECTED_XMP += ("Area#}x", "Area#}y", "Area#}w", "Area#}h", "Dimensions#}w", "Dimensions#}h", "Region#}Rectangle")
_CORRECTED_XMP += (
    "Pixels",
    "RectLeft",
    "RectTop",
    "RectWidth",
    "RectHeight",
    "FocalPlaneXResolution",
    "FocalPlaneYResolution",
)
_CORRECTED_XMP += ("}rbX", "}rbY", "}rbW", "}rbH", "}rbRx")


def losses(source: Path, result: Path, *, allow_truncated: bool = False) -> list[str]:
    """What of `source` is not in `result`, in words; of one format, the result twice as large by `Copying`."""
    before = image_file.read(source, allow_truncated=allow_truncated)
    try:
        after = image_file.read(result, limits=Limits(max_pixels=1 << 40))
    except LiifError as error:
        return [f"it cannot be read: {error}"]
    wanted = before.metadata
    if wanted.photoshop is not None:
        moved = Placement(wanted.orientation, (before.width, before.height), (after.width, after.height))
        wanted = replace(wanted, photoshop=photoshop.corrected(wanted.photoshop, moved)[0] or None)
    found = [*_pixel_losses(before, after), *_field_losses(wanted, after.metadata)]
    if image_file.read_marker(result) is None and after.format not in {"BMP"} and not _unreadable(before.metadata.xmp):
        found.append("it has no marker")
    return [*found, *_witness_losses(source, result)]


def differs_from_pillow(path: Path) -> str | None:
    """How our pixels differ from Pillow's, None if they do not or Pillow cannot tell (16 bits, files it refuses)."""
    picture = image_file.read(path)
    if picture.bits == 16 or picture.layout == "CMYK":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(path.read_bytes()))
            frames = getattr(image, "n_frames", 1)
            image.load()
        except Exception:
            return None
        if image.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"} or frames > 1:
            return None
        for name in ("xmp", "XML:com.adobe.xmp"):  # where Pillow, unlike viewers, looks for an orientation too
            image.info.pop(name, None)
        if "transparency" in image.info and image.mode in {"L", "RGB", "1"}:
            image = image.convert("RGBA")
        theirs = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"), int)
    ours = _as_rgba(picture.frames[0].pixels.astype(int), np.dtype(np.uint8))
    if ours.shape != theirs.shape:
        return f"{ours.shape} instead of {theirs.shape}"
    visible = (ours[..., 3:] > 0) | (theirs[..., 3:] > 0)
    worst = int((np.abs(ours - theirs) * visible).max(initial=0))
    return f"by up to {worst} of 255" if worst > 1 else None  # rounding of few bits and of premultiplied colours


def _as_rgba(pixels: Any, dtype: Any) -> Any:
    """Any layout but CMYK as RGBA, in the range of `dtype`."""
    colour = pixels[..., :1].repeat(3, axis=2) if pixels.shape[2] <= 2 else pixels[..., :3]
    alpha = pixels[..., -1:] if pixels.shape[2] in {2, 4} else np.full_like(pixels[..., :1], np.iinfo(dtype).max)
    return np.concatenate([colour, alpha], axis=2)


def _pixel_losses(before: Picture, after: Picture) -> Iterator[str]:
    for field in ("format", "bits"):
        if getattr(before, field) != getattr(after, field):
            yield f"{field} {getattr(after, field)} instead of {getattr(before, field)}"
            return
    if (before.layout == "CMYK") != (after.layout == "CMYK"):
        yield f"layout {after.layout} instead of {before.layout}"
        return
    if (after.width, after.height) != (2 * before.width, 2 * before.height):
        yield f"size {after.width} x {after.height}"
        return
    if len(before.frames) != len(after.frames):
        yield f"{len(after.frames)} frames instead of {len(before.frames)}"
        return
    lossless = before.metadata.lossless and after.metadata.lossless
    for index, (old, new) in enumerate(zip(before.frames, after.frames, strict=True)):
        if old.hidden != new.hidden or old.duration[0] * new.duration[1] != new.duration[0] * old.duration[1]:
            yield f"frame {index} lasts {new.duration} instead of {old.duration}"
        was, now = old.pixels.astype(int), new.pixels[::2, ::2].astype(int)
        if before.layout != "CMYK":
            was, now = _as_rgba(was, old.pixels.dtype), _as_rgba(now, old.pixels.dtype)
        difference = np.abs(now - was)
        if before.layout != "CMYK":  # under transparent pixels nothing is seen
            difference[..., :-1] *= (was[..., 3:] > 0) | (now[..., 3:] > 0)
        worst, mean = difference.max(), difference.mean() * 255 / np.iinfo(old.pixels.dtype).max
        if worst and lossless:
            yield f"frame {index} differs by up to {worst}"
        elif mean > 6:
            yield f"frame {index} differs by {mean:.1f} of 255 on average"


def _field_losses(before: Metadata, after: Metadata) -> Iterator[str]:
    for field in ("icc", "iptc", "photoshop", "density", "comments", "loop", "progressive", "lossless", "coding"):
        old, new = getattr(before, field), getattr(after, field)
        gained = old is None if field == "icc" else new is True if field == "lossless" else False
        if old != new and not gained:
            yield f"{field}: {str(new)[:60]} instead of {str(old)[:60]}"
    if Counter(before.texts) - Counter(after.texts):
        yield f"texts: {Counter(before.texts) - Counter(after.texts)}"
    missing = Counter(before.pieces) - Counter(after.pieces)
    if missing := [piece for piece in missing if piece.kind not in _CORRECTED_PIECES]:
        yield f"pieces: {[(piece.kind, piece.data[:20]) for piece in missing]}"
    if (before.exif is None) != (after.exif is None):
        yield "EXIF"
    elif before.exif and after.exif and (lost := _tags(before.exif) - _tags(after.exif)):
        yield f"EXIF tags {sorted(lost)[:5]}"
    if before.xmp is not None and not _unreadable(before.xmp) and (lost := _said(before.xmp) - _said(after.xmp)):
        yield f"XMP {list(lost)[:5]}"


def _tags(block: bytes) -> set[tuple[str, int, str]]:
    """(directory, tag, value) of every tag Pillow finds, but for those a restoration corrects."""
    found = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tags = Image.Exif()
            tags.load(block)
            directories = {"main": dict(tags)}
            for name, number in {"exif": ExifTags.IFD.Exif, "gps": ExifTags.IFD.GPSInfo}.items():
                directories[name] = dict(tags.get_ifd(number))
        except Exception:  # a block that Pillow cannot read; its bytes are compared in test_exif
            return set()
    for name, directory in directories.items():
        found |= {(name, tag, repr(value)) for tag, value in directory.items() if tag not in _CORRECTED}
    return found


def _unreadable(packet: bytes | None) -> bool:
    try:
        xmp.edited(packet, correction=xmp.Correction(Placement(1, (1, 1), (1, 1)), True))
    except xmp.BadPacket:
        return True
    return False


def _said(packet: bytes | None) -> Counter[tuple[str, str]]:
    """(name, value) of every element and attribute of a packet, but for those a restoration corrects."""
    said: Counter[tuple[str, str]] = Counter()
    for element in ElementTree.fromstring(packet or b"<nothing/>").iter():
        said[element.tag, (element.text or "").strip()] += 1
        said.update(element.items())
    return Counter(
        {item: n for item, n in said.items() if not item[0].endswith(_CORRECTED_XMP) and _RDF not in item[0]}
    )


def _witness_losses(source: Path, result: Path) -> Iterator[str]:
    """What Pillow found in the source and does not find in the result."""
    before, after = _seen(source), _seen(result)
    if before is None:
        return
    if after is None:
        yield "Pillow cannot open it"
        return
    for name, value in before.items():
        if after.get(name) != value:
            yield f"Pillow sees {name} {str(after.get(name))[:60]} instead of {str(value)[:60]}"


def _seen(path: Path) -> dict[str, Any] | None:
    """What Pillow says a file holds beside its pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                keys = (
                    "icc_profile",
                    "comment",
                    "dpi",
                    "loop",
                    "gamma",
                    "chromaticity",
                    "srgb",
                    "aspect",
                    "progressive",
                )
                seen = {key: image.info[key] for key in keys if key in image.info}
                seen["frames"] = getattr(image, "n_frames", 1)
                texts = getattr(image, "text", {})
                seen |= {f"text {key}": str(text) for key, text in texts.items() if key != "XML:com.adobe.xmp"}
        except Exception:
            return None
    return seen
