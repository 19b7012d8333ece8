"""What a damaged JPEG file carries, before and after, field by field, as two independent readers see it.

    python bench/carried.py [--scale 2] [--keep FOLDER]

The file is made here: a small photograph-like picture at quality 15 with an EXIF rotation, GPS, an ICC profile, XMP, an
IPTC caption, a comment and 300 dpi. Pillow reads both files, and exiftool where it is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from liif_engine import Engine, restore_file
from liif_engine.target import Target

PIXEL_SIZE = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/jpeg">'
    b"<dc:creator><rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def damaged(path: Path) -> None:
    """Writes the file."""
    y, x = np.mgrid[0:96, 0:144]
    pixels = np.stack([128 + 90 * np.sin(x / 9), 128 + 90 * np.sin(y / 7 + x / 30), 60 + x], -1).clip(0, 255)
    image = Image.fromarray(pixels.astype(np.uint8))
    thumbnail = io.BytesIO()
    Image.new("RGB", (36, 24), "red").save(thumbnail, "JPEG")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Ada Optics", "One"
    exif[ExifTags.Base.ImageDescription] = "a harbour"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = "2004:05:06 07:08:09"
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = 144, 96
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "N", (53.0, 33.0, 3.6)
    gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "E", (9.0, 59.0, 42.0)
    record = b"\x1c\x02\x78" + struct.pack(">H", 14) + b"Harbour, 2004."
    resources = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0" * (len(record) % 2)
    file = io.BytesIO()
    image.save(
        file,
        "JPEG",
        quality=15,
        dpi=(300, 300),
        exif=exif,
        xmp=XMP,
        comment="found in an attic",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    whole = file.getvalue()
    app13 = b"\xff\xed" + struct.pack(">H", 2 + 14 + len(resources)) + b"Photoshop 3.0\0" + resources
    path.write_bytes(whole[:2] + app13 + whole[2:])


def as_pillow_sees(path: Path) -> dict[str, Any]:
    """Fields and values."""
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        details, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
        xmp = image.info.get("xmp", b"")
        return {
            "pixels": f"{image.width}x{image.height} {image.mode}",
            "EXIF orientation": exif.get(ExifTags.Base.Orientation),
            "EXIF make, model": f"{exif.get(ExifTags.Base.Make)}, {exif.get(ExifTags.Base.Model)}",
            "EXIF description": exif.get(ExifTags.Base.ImageDescription),
            "EXIF taken": details.get(ExifTags.Base.DateTimeOriginal),
            "EXIF pixel size": "x".join(str(details.get(tag)) for tag in PIXEL_SIZE),
            "GPS": tuple(
                float(n) for n in (*gps.get(ExifTags.GPS.GPSLatitude, ()), *gps.get(ExifTags.GPS.GPSLongitude, ()))
            ),
            "ICC profile, sha256": hashlib.sha256(image.info.get("icc_profile", b"")).hexdigest()[:16],
            "XMP creator": "Ada" if b"<rdf:li>Ada</rdf:li>" in xmp else None,
            "XMP marker": "liif-restore" in xmp.decode("utf-8", "replace"),
            "XMP digital source type": "algorithmicallyEnhanced" if b"algorithmicallyEnhanced" in xmp else None,
            "IPTC caption": _caption(image),
            "comment": image.info.get("comment", b"").decode(),
            "resolution": image.info.get("dpi"),
        }


def _caption(image: Image.Image) -> str | None:
    from PIL import IptcImagePlugin

    found = IptcImagePlugin.getiptcinfo(image) or {}
    value = found.get((2, 120))
    return value.decode() if isinstance(value, bytes) else None


def as_exiftool_sees(path: Path) -> dict[str, Any]:
    """All tags, with their groups, or nothing where there is no exiftool."""
    if shutil.which("exiftool") is None:
        return {}
    out = subprocess.run(["exiftool", "-j", "-G1", str(path)], check=True, capture_output=True, text=True).stdout
    tags = json.loads(out)[0]
    return {k: v for k, v in tags.items() if not k.startswith(("System:", "SourceFile", "ExifTool:", "ICC"))}


def show(title: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """A table in Markdown."""
    print(f"\n{title}\n\n| field | before | after |\n|---|---|---|")
    for key in dict.fromkeys([*before, *after]):
        print(f"| {key} | {before.get(key, '-')} | {after.get(key, '-')} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--keep", type=Path, help="a folder for both files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.keep or Path(folder)
        old, new = place / "old.jpg", place / "new.jpg"
        damaged(old)
        restore_file(Engine("web"), old, new, target=Target(scale=arguments.scale), overwrite=True)
        show("Pillow", as_pillow_sees(old), as_pillow_sees(new))
        show("exiftool", as_exiftool_sees(old), as_exiftool_sees(new))


if __name__ == "__main__":
    main()
