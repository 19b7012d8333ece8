"""Six kinds of picture that tools lose something of, before and after a restoration, field by field and to look at.

    python bench/six_kinds.py PICTURE FOLDER [--model web] [--scale 2]

From one photograph are made, in FOLDER: a 16-bit PNG with alpha and a profile, a CMYK JPEG, an animated GIF, a palette
PNG with transparency, an Adobe RGB JPEG in all eight orientations, and a 16-bit TIFF. Each is restored; what exiftool
sees of both is printed, and how far the result's colours, brought back to the original's size, lie from the original's.
`sheet.png` shows all of them, before and after, in sRGB and on a checkerboard. Needs exiftool and tifffile.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms, ImageOps

from liif_engine import Engine, restore_file
from liif_engine.picture import image_file
from liif_engine.target import Target

SIDE = 96  # [pixels] of each original
SHOWN = (
    "Orientation Image* ICC_Profile:ProfileDescription BitDepth BitsPerSample ColorType ColorSpaceData Frame* Duration"
)
SHOWN += " AnimationIterations Transparency Artist Comment XResolution Photometric* Make DigitalSourceType"


def adobe_rgb() -> bytes:
    """A profile of Adobe RGB (1998): its primaries adapted to D50, and its gamma of 563/256."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    name = b"compatible with Adobe RGB (1998)"
    gamma = b"curv" + bytes(4) + struct.pack(">IH", 1, 563) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(79),
        b"cprt": b"text" + bytes(4) + b"public domain\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9505, 1, 1.0891),
        b"rXYZ": b"XYZ " + bytes(4) + fixed(0.60974, 0.31111, 0.01947),
        b"gXYZ": b"XYZ " + bytes(4) + fixed(0.20528, 0.62567, 0.06087),
        b"bXYZ": b"XYZ " + bytes(4) + fixed(0.14919, 0.06322, 0.74457),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma),
    }
    place, table, body = 132 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    rest = struct.pack(">I", len(tags)) + table + body
    head = struct.pack(">I4sI4s4s4s", 128 + len(rest), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + rest


def make(photo: Image.Image, folder: Path) -> list[Path]:
    """The originals."""
    rgb = np.asarray(photo)
    round_mask = np.hypot(*(np.mgrid[0:SIDE, 0:SIDE] - SIDE / 2 + 0.5)) < SIDE / 2 - 4
    fine = rgb.astype(np.uint16) * 257 - (rgb.astype(np.uint16) * 37 % 256)  # low bytes that matter
    made: dict[str, bytes] = {}
    profile = adobe_rgb()
    with_alpha = np.dstack([fine, round_mask.astype(np.uint16) * 65535])
    png = imagecodecs.png_encode(with_alpha)
    made["16bit_alpha_icc.png"] = png[:33] + _chunk(b"iCCP", b"Adobe RGB\0\0" + zlib.compress(profile)) + png[33:]
    made["cmyk.jpg"] = _saved(photo.convert("CMYK"), "JPEG", quality=60, dpi=(300, 300), comment=b"four inks")
    frames = [photo.rotate(90 * turn).quantize(128) for turn in range(4)]
    made["animated.gif"] = _saved(
        frames[0],
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[100, 250, 50, 400],
        loop=3,
        comment=b"turning",
    )
    hidden = photo.quantize(255)
    indexes = np.where(round_mask, np.asarray(hidden), 255).astype(np.uint8)
    palette = Image.fromarray(indexes, "P")
    palette.putpalette([*(hidden.getpalette() or [])[: 255 * 3], 255, 0, 255])
    made["palette_transparent.png"] = _saved(palette, "PNG", transparency=255, dpi=(72, 72))
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[0x0112], tags[0x010F] = orientation, "Maker"
        turned = ImageOps.exif_transpose(_tagged(photo, {1: 1, 6: 8, 8: 6}.get(orientation, orientation)))
        made[f"adobe_rgb_{orientation}.jpg"] = _saved(turned, "JPEG", quality=60, icc_profile=profile, exif=tags)
    file = io.BytesIO()
    tifffile.imwrite(file, fine, photometric="rgb", compression="deflate", metadata=None, description="16 bits")
    made["16bit.tif"] = file.getvalue()
    paths = []
    for name, data in made.items():
        (folder / name).write_bytes(data)
        paths.append(folder / name)
    return paths


def _tagged(photo: Image.Image, orientation: int) -> Image.Image:
    copy = photo.copy()
    copy.getexif()[0x0112] = orientation
    return copy


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def fields(path: Path) -> dict[str, Any]:
    """What exiftool sees, of the fields worth a look."""
    names = [f"-{name}" for name in SHOWN.split()]
    done = subprocess.run(["exiftool", "-j", "-G1", *names, path], capture_output=True, text=True, check=True)
    return {key: value for key, value in json.loads(done.stdout)[0].items() if key != "SourceFile"}


def colours(path: Path, frame: int = 0) -> Image.Image:
    """A file's picture in sRGB on a checkerboard, as a viewer with colour management shows it."""
    picture = image_file.read(path)
    pixels = picture.frames[frame].pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if picture.layout == "CMYK":
        return Image.fromarray(255 - pixels, "CMYK").convert("RGB")
    image = Image.fromarray(pixels[..., 0] if picture.layout == "L" else pixels)
    alpha = image.getchannel("A") if "A" in picture.layout else None
    image = image.convert("RGB")
    if picture.metadata.icc is not None:
        source = ImageCms.ImageCmsProfile(io.BytesIO(picture.metadata.icc))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
        image = converted if converted is not None else image
    if alpha is not None:
        y, x = np.indices((image.height, image.width)) * 96 // image.width // 8
        board = Image.fromarray((((x + y) % 2) * 60 + 160).astype(np.uint8)).convert("RGB")
        image = Image.composite(image, board, alpha)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="web")
    parser.add_argument("--scale", type=float, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    photo = ImageOps.fit(Image.open(options.picture).convert("RGB"), (SIDE, SIDE))
    engine = Engine(options.model)
    rows = []
    for path in make(photo, options.folder):
        outcome = restore_file(engine, path, target=Target(scale=options.scale), overwrite=True)
        result = outcome.plan.destination
        before, after = fields(path), fields(result)
        shown, restored = colours(path), colours(result)
        small = np.asarray(restored.resize(shown.size, Image.Resampling.BOX), float)
        apart = np.abs(small - np.asarray(shown)).mean()
        print(f"\n{path.name} -> {result.name}; mean colour difference {apart:.1f} of 255")
        for note in outcome.notes:
            print(f"  note: {note}")
        for key in sorted(before | after):
            old, new = before.get(key, "-"), after.get(key, "-")
            print(f"  {key:38} {old!s:40.40} {'' if old == new else new!s:.60}")
        rows.append((shown, restored))
    side = round(SIDE * options.scale)
    sheet = Image.new("RGB", (len(rows) * (side + 8), 2 * (side + 8)), "white")
    for index, (shown, restored) in enumerate(rows):
        sheet.paste(shown.resize((side, side), Image.Resampling.NEAREST), (index * (side + 8), 0))
        sheet.paste(restored, (index * (side + 8), side + 8))
    sheet.save(options.folder / "sheet.png")


if __name__ == "__main__":
    main()
