"""Peak memory of writing a picture file, which includes reading it back, and of reading one: bytes a pixel.

The rooms' `CAPACITY.coding` come from this. Linux only, whose kernel tells a process's peak and can forget it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from liif_engine import memory
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Marker, Metadata, Picture
from liif_engine.picture.image_file.contents import Frame

#: What is written: format, layout, bits, how the source was stored.
KINDS = (
    *(("JPEG", layout, 8, how) for layout in ("L", "RGB", "CMYK") for how in ("", "progressive")),
    *(("PNG", layout, bits, "") for layout in ("L", "RGB", "RGBA") for bits in (8, 16)),
    ("PNG", "RGB", 8, "progressive"),
    *(("WEBP", layout, 8, how) for layout in ("L", "RGB", "RGBA") for how in ("", "lossless")),
    *(("TIFF", layout, bits, how) for layout in ("RGB", "CMYK") for bits in (8, 16) for how in ("none", "LZW")),
    *((name, layout, 8, "") for name in ("BMP", "GIF", "AVIF", "HEIC") for layout in ("L", "RGB", "RGBA")),
)
MARKER = Marker("liif-restore", "0", "none", 1.0, 1.0, "0" * 64)


def photograph(side: int, layout: str, bits: int) -> np.ndarray:
    """(side, side, C): slow waves and a little noise, which pack about as well as a photograph does."""
    full, draw = (1 << bits) - 1, np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side]
    pixels = np.empty((side, side, len(layout)), np.uint16 if bits == 16 else np.uint8)
    for channel in range(len(layout)):
        waves = np.sin(x / 50 + channel) + np.cos(y / 70)
        pixels[..., channel] = (full * (0.5 + 0.2 * waves + draw.normal(0, 0.01, (side, side)))).clip(0, full)
    return pixels


class Peak:
    """Counts what is taken from here on: ``Peak().bytes()`` by how much at the most."""

    def __init__(self) -> None:
        memory.give_back()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is taken now
        self._before = self._status("VmRSS")

    def bytes(self) -> int:
        return self._status("VmHWM") - self._before

    def _status(self, name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(dict(line.split(":", 1) for line in lines)[name].split()[0]) * 1024


def measure(format: str, layout: str, bits: int, how: str, side: int) -> str:
    """A row of the table."""
    metadata = Metadata(format, lossless=how == "lossless", coding=how, progressive=how == "progressive")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"picture.{format.lower()}")
        for size in (64, side):  # the first loads the libraries
            pixels = photograph(size, layout, bits)
            source = Picture(format, size, size, layout, bits, [Frame(pixels[:1, :1])], metadata, "0" * 64)
            peak = Peak()
            image_file.write(file, source, [pixels], format=format, quality=95, marker=MARKER, overwrite=True)
            written = peak.bytes()
        del pixels, source
        peak = Peak()
        image_file.read(file)
        read = peak.bytes()
        reckoned = image_file.writing_bytes(format, width=side, height=side, layout=layout, bits=bits)
        name = f"{format} {layout} {bits} {how}".strip()
        return f"| {name} | {written / side**2:.1f} | {reckoned / side**2:.1f} | {read / side**2:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2500, help="pixels")
    parser.add_argument("--only", help="a format")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        format, layout, bits, how = arguments.child
        print(measure(format, layout, int(bits), how, arguments.side))
        return
    print("| what | writing | as reckoned | reading, with the picture |\n|---|---|---|---|", flush=True)
    for kind in KINDS:
        if arguments.only in {None, kind[0]}:
            command = [sys.executable, __file__, "--side", str(arguments.side), "--child", *map(str, kind)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
