"""Mutated picture files: every one must end in a picture or in words, soon and in little memory.

    python bench/fuzz_pictures.py FOLDER... [--minutes 20] [--seed 0] [--case NUMBER]

The files of the folders up to 64 KiB are the seeds. A case is made from its number alone: a seed file with bytes
flipped, inserted, removed, repeated or replaced by numbers that break programs, or spliced with another file; in PNG
files the checksums are then put right, or nothing would get past them. Each case is probed, read, and if it is still a
picture, written twice as large and read again. This happens in a second process with 2 GiB of address space, so that a
crash or a hang of a decoder is counted, named by its number, and survived. `--case` repeats one case in this process.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import logging
import multiprocessing
import random
import resource
import struct
import tempfile
import time
import zlib
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from liif_engine.errors import LiifError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Limits, Marker, rooms

MOST_SEED_BYTES = 64 * 1024
MOST_WRITTEN_PIXELS = 100_000
LIMITS = Limits(max_pixels=4_000_000, max_frames=100, max_metadata_bytes=8 << 20)
ADDRESS_SPACE = 2 << 30  # [bytes]
HANG = 30.0  # [s]
MARKER = Marker("fuzz", "0", "none", 2.0, 2.0, "00" * 32)
NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
]


def seeds_in(folders: list[Path]) -> list[bytes]:
    """The files small enough and of a format that is restored."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size <= MOST_SEED_BYTES:
                with contextlib.suppress(LiifError):
                    data = path.read_bytes()
                    rooms.format_of(data)
                    found.append(data)
    return found


def mutated(seeds: list[bytes], number: int) -> bytes:
    """The case of a number."""
    chance = random.Random(number)
    data = bytearray(chance.choice(seeds))
    if chance.random() < 0.1:
        other = chance.choice(seeds)
        data = data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]
    for _ in range(1 << chance.randrange(6)):
        _mutate(data, chance)
    fixed = bytes(data)
    return _with_checksums(fixed) if fixed.startswith(b"\x89PNG") and chance.random() < 0.8 else fixed


def _mutate(data: bytearray, chance: random.Random) -> None:
    # Half of the changes go into the first 512 bytes, where headers are.
    end = len(data) if chance.random() < 0.5 else min(len(data), 512)
    at = chance.randrange(end + 1)
    length = min(1 << chance.randrange(9), len(data) - at)
    action = chance.randrange(7)
    if action == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif action == 1 and at < len(data):
        data[at] = chance.randrange(256)
    elif action == 2:
        order, code = chance.choice("<>"), chance.choice("BHI")
        value = chance.choice(NUMBERS) & ((1 << 8 * struct.calcsize(code)) - 1)
        packed = struct.pack(order + code, value)
        data[at : at + len(packed)] = packed
    elif action == 3:
        del data[at : at + length]
    elif action == 4:
        data[at:at] = chance.randbytes(length)
    elif action == 5:
        data[at:at] = data[at : at + length]
    elif chance.random() < 0.2:
        del data[at:]


def _with_checksums(data: bytes) -> bytes:
    """A PNG file whose chunks have right checksums, as far as its chunks can be followed."""
    fixed, position = bytearray(data), 8
    while position + 12 <= len(fixed):
        end = position + 8 + int.from_bytes(fixed[position : position + 4])
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[position + 4 : end]))
        position = end + 4
    return bytes(fixed)


class Unforeseen(logging.Handler):
    """Notes what a decoder raised that is not one of our errors."""

    def __init__(self) -> None:
        super().__init__()
        self.last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            error, trace = record.exc_info[1], record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
            self.last = f"{type(error).__name__} at {place}"


def tried(data: bytes, folder: Path, number: int) -> str:
    """What became of a case, in a word."""
    source, result = folder / "case", folder / "result"
    source.write_bytes(data)
    result.unlink(missing_ok=True)
    image_file.read_marker(source)
    probe = image_file.probe(source, limits=LIMITS)
    picture = image_file.read(source, limits=LIMITS, allow_truncated=number % 2 == 0)
    if (picture.width, picture.height, picture.layout) != (probe.width, probe.height, probe.layout):
        raise AssertionError("probe and read disagree")
    if 4 * picture.width * picture.height * len(picture.frames) > MOST_WRITTEN_PIXELS:
        return f"{picture.format} read"
    frames = [frame.pixels.repeat(2, axis=0).repeat(2, axis=1) for frame in picture.frames]
    image_file.check_result(picture, format=picture.format, width=2 * picture.width, height=2 * picture.height)
    image_file.write(result, picture, frames, format=picture.format, quality=90, marker=MARKER, overwrite=False)
    return f"{picture.format} written"


def work(pipe: Connection, seeds: list[bytes]) -> None:
    """Tries the cases whose numbers arrive; answers (outcome, unforeseen error or None, seconds, peak bytes)."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    unforeseen = Unforeseen()
    log = logging.getLogger("liif_engine.picture.image_file.source")
    log.setLevel(logging.DEBUG)
    log.addHandler(unforeseen)
    log.propagate = False
    with tempfile.TemporaryDirectory() as name:
        while True:
            number = pipe.recv()
            data, unforeseen.last = mutated(seeds, number), None
            started = time.monotonic()
            try:
                outcome = tried(data, Path(name), number)
            except LiifError as error:
                outcome = type(error).__name__
            except BaseException as error:
                outcome = f"TRACEBACK {type(error).__name__}: {error}"[:200]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            pipe.send((outcome, unforeseen.last, time.monotonic() - started, peak))


class Worker:
    """The second process; a new one when it died."""

    def __init__(self, seeds: list[bytes]) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=work, args=(theirs, seeds), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, number: int) -> tuple[str, str | None, float, int]:
        """What became of a case; CRASH or HANG if the process did not answer."""
        self.pipe.send(number)
        if not self.pipe.poll(HANG):
            self.process.kill()
            return "HANG", None, HANG, 0
        try:
            answer: tuple[str, str | None, float, int] = self.pipe.recv()
        except EOFError:
            self.process.join()
            return f"CRASH with exit code {self.process.exitcode}", None, 0.0, 0
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0, help="the number of the first case")
    parser.add_argument("--case", type=int, help="only this one, here")
    options = parser.parse_args()
    seeds = seeds_in(options.folders)
    if options.case is not None:
        with tempfile.TemporaryDirectory() as name:
            print(tried(mutated(seeds, options.case), Path(name), options.case))
        return
    report(*run(seeds, options.seed, options.minutes * 60))


def run(seeds: list[bytes], first: int, seconds: float) -> tuple[int, Any, Any, list[tuple[float, int]], int]:
    """(cases, outcomes, unforeseen errors, slowest cases, peak bytes); bad cases are printed as they happen."""
    outcomes: collections.Counter[str] = collections.Counter()
    unforeseen: collections.Counter[str] = collections.Counter()
    slowest: list[tuple[float, int]] = []
    worker, peak, number, end = Worker(seeds), 0, first, time.monotonic() + seconds
    while time.monotonic() < end:
        outcome, surprise, took, memory = worker.ask(number)
        kind = outcome.split(":")[0]
        outcomes[kind] += 1
        if surprise is not None:
            unforeseen[surprise] += 1
            if unforeseen[surprise] == 1:
                print(f"case {number}: unforeseen {surprise}", flush=True)
        if kind.startswith(("TRACEBACK", "CRASH", "HANG")):
            print(f"case {number}: {outcome}", flush=True)
            if not worker.process.is_alive() or kind == "HANG":
                worker = Worker(seeds)
        slowest = sorted([*slowest, (took, number)], reverse=True)[:5]
        peak = max(peak, memory)
        number += 1
    worker.process.kill()
    return number - first, outcomes, unforeseen, slowest, peak


def report(cases: int, outcomes: Any, unforeseen: Any, slowest: list[tuple[float, int]], peak: int) -> None:
    print(f"{cases:,} cases; the process took at most {peak / 1e6:,.0f} MB")
    print("slowest: " + ", ".join(f"{took:.2f} s (case {number})" for took, number in slowest))
    for title, counter in (("outcome", outcomes), ("unforeseen, said in words", unforeseen)):
        print(f"\n{title}")
        for name, count in counter.most_common():
            print(f"{count:9,}  {name}")


if __name__ == "__main__":
    main()
