"""What one machine's single-handed parts can do a second: look at files, write results, journal, ledger, replace.

They bound how many workers one driver or one daemon can feed: docs/scale.md does the arithmetic.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from liif_daemon.ledger import Job, Ledger
from liif_daemon.replace import Policy, Result, replace, verify
from liif_daemon.store import Store, hash_of
from liif_daemon.workplace import workplace_for
from PIL import Image

from liif_engine.archive.journal import Glance as Look
from liif_engine.archive.journal import Journal
from liif_engine.picture.atomic import write_atomically
from liif_engine.plan import plan
from liif_engine.target import Target


def jpeg(width: int, height: int, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noisy = np.clip(pixels + random.integers(-8, 8, pixels.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=90)
    return file.getvalue()


def rate(words: str, count: int, do: Callable[[int], object], *, threads: int = 1) -> None:
    """Prints how many a second, all threads together, and the median time of one."""
    took: list[float] = []

    def timed(number: int) -> None:
        started = time.perf_counter()
        do(number)
        took.append(time.perf_counter() - started)

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(timed, range(count)))
    seconds = time.perf_counter() - started
    print(f"| {words} | {threads} | {count / seconds:,.0f} | {statistics.median(took) * 1e3:.2f} ms |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="on the disk in question; by default the one for temporary files")
    arguments = parser.parse_args()
    count = arguments.files
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        base = Path(name)
        source, result = jpeg(640, 480, 0), jpeg(1280, 960, 1)
        print(f"files of {len(source) / 1e3:.0f} kB, results of {len(result) / 1e3:.0f} kB\n")
        print("| what | threads | a second | median of one |\n|---|---|---|---|")
        (base / "old.jpg").write_bytes(source)
        rate("look at a file and plan its result", count, lambda _: plan(base / "old.jpg", Target(scale=2)))

        def write(number: int) -> None:
            with write_atomically(base / f"{number}.jpg", overwrite=False) as temporary:
                temporary.write_bytes(result)

        words = "write a result: temporary, flush, name, flush of the folder"
        rate(words, count, write)
        for path in base.glob("[0-9]*.jpg"):
            path.unlink()
        rate(words, count, write, threads=16)
        journal = Journal(base)
        glance = Look(1, 2)
        rate(
            "journal: begin and done",
            10 * count,
            lambda n: (
                journal.begin(Path(f"{n}.jpg"), "settings", glance),
                journal.done(Path(f"{n}.jpg"), "settings", glance, glance, "0" * 64),
            ),
        )
        journal.close()
        daemon(base, count, result)


def daemon(base: Path, count: int, result: bytes) -> None:
    """The daemon's own parts, by its own code."""
    ledger, store, folder = Ledger(base / "ledger.db"), Store(base / "originals"), base / "watched"
    folder.mkdir()
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(jpeg(640, 480, number + 10))
    jobs = queue_all(ledger, folder, paths)
    results: list[Result] = []

    def claim(number: int) -> None:
        claimed = ledger.claim([folder])
        ledger.begin(claimed, workplace_for(claimed[0].path))
        jobs[number] = ledger.jobs(path=claimed[0].path)[0]

    rate("ledger: claim and begin a job, two transactions of five", count, claim)

    def check(number: int) -> None:
        job = jobs[number]
        assert job.workplace is not None
        job.workplace.mkdir()
        made = job.workplace / "result.jpg"
        made.write_bytes(result)
        results.append(verify(job, made, size=(1280, 960), frames=1, model="web", seconds=1.0))

    rate("daemon: decode a result again", count, check)
    words = "daemon: keep the original, promise, swap, finish"
    half = count // 2
    rate(words, half, lambda n: replace(results[n], ledger, store, Policy()))
    rate(words, half, lambda n: replace(results[half + n], ledger, store, Policy()), threads=16)
    ledger.close()


def queue_all(ledger: Ledger, folder: Path, paths: list[Path]) -> dict[int, Job]:
    """Queues every file, as the daemon's scan does."""
    rows = []
    for path in paths:
        found = path.stat()
        fixed = {"folder": folder, "target": "2x", "in_place": True, "model": "web", "width": 640, "height": 480}
        rows.append({**fixed, "path": path, "source_sha256": hash_of(path), **stats(found)})
    ledger.queue(rows)
    return {}


def stats(found: os.stat_result) -> dict[str, int]:
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


if __name__ == "__main__":
    main()
