"""How long the review page takes to load with many results, in a real Chromium.

    python bench/review_page.py [--results 2000] [--runs 11]

Makes that many results as the daemon leaves them: ledger rows, originals in the store, results in their places (JPEG,
320x240 to 640x480, every one different). Then `liif-daemon review` runs as a process of its own, and Chromium opens the
list with an empty cache, once for each run: from the start of the navigation to the first row laid out, to the load
event, and until every thumbnail in view is decoded. The first run also finds the program's own caches empty.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from liif_daemon.ledger import Glance, Ledger
from liif_daemon.store import Store
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FIRST_ROW = """
window.firstRow = null;
const look = () => {
  const row = document.querySelector('.row');
  if (row && row.getBoundingClientRect().height) window.firstRow = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
IN_VIEW = """() => [...document.querySelectorAll('.row img')].filter(
  one => one.getBoundingClientRect().top < innerHeight).every(one => one.complete && one.naturalWidth)"""


def picture(seed: int) -> tuple[bytes, bytes]:
    """An original and a result."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (15, 20, 3), np.uint8)).resize((320, 240), Image.Resampling.BICUBIC)
    original, result = io.BytesIO(), io.BytesIO()
    small.save(original, "JPEG", quality=int(random.integers(10, 90)))
    small.resize((640, 480), Image.Resampling.BICUBIC).save(result, "JPEG", quality=95, subsampling=0)
    return original.getvalue(), result.getvalue()


def fill(base: Path, count: int, make: Callable[[int], tuple[bytes, bytes]] = picture) -> Path:
    """Makes the results; returns the settings' file. `make` gives an original's and a result's bytes by a number."""
    config = base / "config.yaml"
    config.write_text(json.dumps({"daemon": {"state": str(base / "state")}, "folders": [{"path": str(base / "p")}]}))
    ledger = Ledger(base / "state" / "ledger.sqlite3")
    store = Store(base / "state" / "originals", ledger.originals.owner())
    store.claim()
    ledger._file._file.execute("PRAGMA synchronous=OFF")  # only while it is filled
    for number in range(count):
        path = base / "p" / f"folder {number % 23}" / f"picture {number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        original, result = make(number)
        path.write_bytes(result)
        sha256, made = (hashlib.sha256(data).hexdigest() for data in (original, result))
        kept = store.path_of(sha256)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(original)
        row = {"folder": base / "p", "path": path, "source_sha256": sha256, "target": "2x", "in_place": True}
        row |= {"size": len(original), "mtime_ns": 0, "model": "web", "width": 320, "height": 240}
        with ledger.together():
            ledger.originals.promise(sha256, len(original), store.folder, math.inf)
            ledger.queue([row])
            job = ledger.claim()[0]
            out = {"destination": path, "model": "web", "out": (640, 480), "kept": True}
            ledger.promise(job, result_sha256=made, result_size=len(result), **out)
            ledger.finish(job, "done", seconds=1.0, glance=Glance.of(path))
    ledger.close()
    return config


@contextmanager
def page(config: Path) -> Iterator[tuple[str, int]]:
    """The running page's link and process."""
    command = [sys.executable, "-m", "liif_daemon", "review", "--no-open", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.stdout.readline().strip(), process.pid
        process.send_signal(signal.SIGINT)


def load(browser: Browser, origin: str, cookies: list[dict[str, object]]) -> dict[str, float]:
    """One load of the list with an empty cache [ms]."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies(cookies)  # type: ignore[arg-type]
    one = context.new_page()
    one.add_init_script(FIRST_ROW)
    one.goto(f"{origin}/", wait_until="load")
    while not one.evaluate(IN_VIEW):
        pass
    found = one.evaluate("""() => { const n = performance.getEntriesByType('navigation')[0];
        return {answer: n.responseEnd, "first row": window.firstRow, load: n.loadEventEnd, all: performance.now()} }""")
    rows = one.locator(".row").count()
    context.close()
    return {**found, "rows": rows}


def seconds(browser: Browser, origin: str, cookies: list[dict[str, object]], path: str) -> float:
    """Median time of one answer [ms]."""
    context = browser.new_context()
    context.add_cookies(cookies)  # type: ignore[arg-type]
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        answer = context.request.get(f"{origin}{path}")
        taken.append(1e3 * (time.perf_counter() - start))
        assert answer.ok, answer.status
    context.close()
    return statistics.median(taken)


def memory(process: int) -> float:
    """Resident memory [MB]."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        config = fill(Path(folder), arguments.results)
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--disable-gpu", *root])
        with page(config) as (link, process):
            origin = link.partition("/open/")[0]
            context = browser.new_context()
            context.request.get(link)
            cookies = [dict(one) for one in context.cookies()]
            context.close()
            runs = [load(browser, origin, cookies) for _ in range(arguments.runs)]
            print(f"{arguments.results} results, {runs[0]['rows']:.0f} rows on the page; milliseconds since navigation")
            print(f"{'':22}{'first run':>10}{'median':>10}{'longest':>10}")
            names = {"answer": "answer is there", "first row": "first row laid out", "load": "load event"}
            for key, name in {**names, "all": "thumbnails in view"}.items():
                taken = [run[key] for run in runs]
                print(f"{name:22}{taken[0]:10.0f}{statistics.median(taken):10.0f}{max(taken):10.0f}")
            for name, path in {"search": "/?search=0042", "live strip": "/live"}.items():
                print(f"{name + ', one answer':22}{'':10}{seconds(browser, origin, cookies, path):10.0f}")
            print(
                f"memory of the page's process: {memory(process):.0f} MB; load of the machine {os.getloadavg()[0]:.1f}"
            )
        browser.close()


if __name__ == "__main__":
    main()
