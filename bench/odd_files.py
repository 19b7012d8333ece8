"""What becomes of a folder of awkward, rare and broken pictures: restored or refused, and what it costs.

    python bench/odd_files.py FOLDER [--worst 100] [--limit-pixels N] [--exiftool]

Each file goes through `restore_file` at twice its size, in a process of its own, with a stand-in for the engine that
repeats pixels: the figures are those of reading, checking, writing and reading back alone. Peak memory is what the
process took above what it had before. With --exiftool the tags that exiftool finds in each original are looked for in
its result, but for those that a restoration corrects.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import re
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from liif_engine import file
from liif_engine.errors import LiifError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Limits, rooms
from liif_engine.target import Target
from liif_engine.workers.stand_in import Copying

TIME_LIMIT = 120.0  # [s]


@dataclass(frozen=True)
class Fate:
    """What became of a file: `reason` is empty if it was restored."""

    path: Path
    format: str
    reason: str
    kind: str
    notes: tuple[str, ...]
    seconds: float
    peak: int  # [bytes]
    megapixels: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--worst", type=int, default=100)
    parser.add_argument("--limit-pixels", type=int, default=Limits().max_pixels)
    parser.add_argument("--exiftool", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        results = Path(name)
        fates = [
            fate_of(path, results / f"{number}{path.suffix}", options.limit_pixels)
            for number, path in enumerate(sorted(p for p in options.folder.rglob("*") if p.is_file()))
        ]
        print_table(fates)
        print_reasons(fates)
        print_worst(fates, options.worst)
        if options.exiftool:
            originals = {results / f"{n}{fate.path.suffix}": fate.path for n, fate in enumerate(fates) if not fate.kind}
            print_lost_tags(originals)


def fate_of(path: Path, result: Path, limit: int) -> Fate:
    """Restores one file in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_restore, args=(theirs, path, result, limit))
    started = time.monotonic()
    process.start()
    theirs.close()
    answer: tuple[Any, ...] = ("HANG", "no answer in time", (), TIME_LIMIT, 0, 0.0)
    if ours.poll(TIME_LIMIT):
        try:
            answer = ours.recv()
        except EOFError:
            answer = ("CRASH", "the process died", (), time.monotonic() - started, 0, 0.0)
    process.kill()
    process.join()
    try:
        format = rooms.format_of(path.read_bytes()[:4096])
    except LiifError:
        format = "others"
    kind, reason, notes, seconds, peak, megapixels = answer
    return Fate(path, format, reason, kind, notes, seconds, peak, megapixels)


def _restore(pipe: Connection, path: Path, result: Path, limit: int) -> None:
    kind, reason, notes, megapixels = "", "", (), 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    stand_in: Any = Copying()
    try:
        target = Target(scale=2)
        outcome = file.restore_file(stand_in, path, result, target=target, limits=Limits(max_pixels=limit))
        notes, probe = outcome.notes, outcome.plan.probe
        megapixels = probe.width * probe.height * probe.frames / 1e6
    except LiifError as error:
        kind, reason = type(error).__name__, error.message
    except BaseException as error:
        kind, reason = "TRACEBACK", f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    pipe.send((kind, reason, notes, seconds, peak, megapixels))


def print_table(fates: list[Fate]) -> None:
    """Restored and refused by format."""
    headings = "format, files, restored, with a note, refused: damaged, cut, would lose something, too large, other"
    print("| " + headings.replace(", ", " | ") + " |")
    print("|---" * 9 + "|")
    columns = ("InputError", "TruncatedError", "UnsupportedError", "TooLargeError")
    for format in [*image_file.FORMATS, "others", "all"]:
        mine = [fate for fate in fates if format in {fate.format, "all"}]
        kinds = collections.Counter(fate.kind for fate in mine)
        noted = sum(bool(fate.notes) for fate in mine)
        other = sum(count for kind, count in kinds.items() if kind and kind not in columns)
        counts = [len(mine), kinds[""], noted, *(kinds[kind] for kind in columns), other]
        print(f"| {format} | " + " | ".join(f"{count:,}" for count in counts) + " |")


def print_reasons(fates: list[Fate]) -> None:
    """Why files were refused, and what was noted; numbers in the words are left out."""
    for title, said in (
        ("refused because it", [(fate.format, fate.reason) for fate in fates if fate.kind]),
        ("noted", [(fate.format, note) for fate in fates for note in fate.notes]),
    ):
        print(f"\n{title}")
        counter = collections.Counter((format, re.sub(r"\d[\d,.]*", "N", words)[:100]) for format, words in said)
        for (format, words), count in sorted(counter.items(), key=lambda item: (item[0][0], -item[1])):
            print(f"{count:5}  {format:6}  {words}")


def print_worst(fates: list[Fate], count: int) -> None:
    """The files that took the most memory and time."""
    bad = [fate for fate in fates if fate.kind in {"TRACEBACK", "CRASH", "HANG"}]
    print(f"\n{len(bad)} tracebacks, crashes or hangs" + "".join(f"\n  {fate.path}: {fate.reason}" for fate in bad))
    for title, key in (("memory", lambda fate: fate.peak), ("time", lambda fate: fate.seconds)):
        worst = sorted(fates, key=key, reverse=True)[:count]
        first, last = (f"{fate.peak / 1e6:.0f} MB, {fate.seconds:.2f} s" for fate in (worst[0], worst[-1]))
        print(f"\nthe {len(worst)} worst by {title}: from {first} to {last}")
        for fate in worst:
            outcome = f"{fate.megapixels:.2f} MP" if not fate.kind else fate.kind
            print(f"{fate.peak / 1e6:8.1f} MB {fate.seconds:7.2f} s  {outcome:>16}  {fate.path.name}")


#: What a restoration corrects, or what describes how the pixels were stored.
EXPECTED = re.compile(
    r"(^(ExifTool|System|File|Composite|SourceFile))|:(ImageWidth|ImageHeight|ImageLength|ImageSize|ExifImageWidth|"
    r"ExifImageHeight|PixelXDimension|PixelYDimension|Orientation|RelatedImageWidth|RelatedImageHeight|XMPToolkit|"
    r"SubjectArea|SubjectLocation|FocalPlane[XY]Resolution|"
    r"Thumbnail.*|StripOffsets|StripByteCounts|RowsPerStrip|Tile.*|Compression|BitsPerSample|ColorType|BitDepth|Palette|"
    r"Transparency|Interlace|Filter|SignificantBits|PhotometricInterpretation|SamplesPerPixel|PlanarConfiguration|"
    r"ColorMap|FillOrder|Predictor|T4Options|T6Options|JPEG.*|YCbCr.*|ReferenceBlackWhite|NumColors|"
    r"NumImportantColors|BMPVersion|Planes|ImageDataSize|.*Mask|ExtraSamples|SubfileType|OldSubfileType|"
    r"GIFVersion|HasColorMap|ColorResolutionDepth|BitsPerPixel|BackgroundColor|FrameCount|VP8Version|"
    r"HorizontalScale|VerticalScale|WebP_Flags|AlphaIsUsed|ImageOffset|PageNumber|DocumentName)"
)


def print_lost_tags(originals: dict[Path, Path]) -> None:
    """Tags of the originals that are missing or different in their results, by exiftool."""
    before, after = _tags(list(originals.values())), _tags(list(originals))
    lost: collections.Counter[str] = collections.Counter()
    example: dict[str, str] = {}
    for result, original in originals.items():
        now = after.get(str(result), {})
        for tag, value in before.get(str(original), {}).items():
            if not EXPECTED.search(tag) and now.get(tag) != value:
                lost[tag] += 1
                example.setdefault(tag, f"{original.name}: {str(value)[:50]!r} -> {str(now.get(tag))[:50]!r}")
    print(f"\nexiftool: {sum(map(len, before.values())):,} tags in {len(before):,} originals; changed or missing:")
    for tag, count in lost.most_common():
        print(f"{count:5}  {tag}  {example[tag]}")


def _tags(paths: list[Path]) -> dict[str, dict[str, Any]]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.write("\n".join(map(str, paths)))
        names.flush()
        done = subprocess.run(
            ["exiftool", "-j", "-G1", "-a", "-u", "-@", names.name], capture_output=True, text=True, check=False
        )
    return {tags["SourceFile"]: tags for tags in json.loads(done.stdout or "[]")}


if __name__ == "__main__":
    main()
