"""A watched folder with 100,000 results: what the daemon and its commands take then.

``python bench/daemon_large.py [--pictures 100000] [--base FOLDER]``: fills a ledger, a store and a folder with that
many small results, as the daemon leaves them, and then runs the real commands on them, with a tiny network: a start
that finds one new picture among them, a minute without work, a drop, and each question that a person asks. Seconds by
the clock and of a core, and the peak of memory.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from daemon_soak import tiny_model
from PIL import Image
from review_page import fill, page

PICTURE = (24, 16)
DAEMON = (sys.executable, "-m", "liif_daemon")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--base", type=Path, help="where the folder is made; by default where temporary files are")
    parser.add_argument("--idle", type=float, default=60, help="seconds of doing nothing")
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="liif-large-", dir=arguments.base))
    (base / "run").mkdir(mode=0o700)
    os.environ |= {"LIIF_RUNTIME_DIR": str(base / "run"), "XDG_STATE_HOME": str(base), "XDG_CONFIG_HOME": str(base)}
    serve = [sys.executable, "-m", "liif_engine", "serve", "--device", "cpu"]
    engine = subprocess.Popen(serve, stderr=subprocess.DEVNULL)
    try:
        config = fill(base, arguments.pictures, small_results())
        settings = json.loads(config.read_text())
        settings["engine"] = {"model": str(tiny_model(base))}
        config.write_text(json.dumps(settings))
        report(base, config, arguments.idle)
    finally:
        engine.terminate()
        engine.wait(30)
        shutil.rmtree(base)


def small_results() -> Callable[[int], tuple[bytes, bytes]]:
    """Originals and results that differ behind the picture alone, so that they are made in no time."""
    original, result = encoded(PICTURE, 0), encoded((2 * PICTURE[0], 2 * PICTURE[1]), 0)
    return lambda number: (original + b"%d" % number, result + b"result %d" % number)


def encoded(size: tuple[int, int], blue: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (90, 100, blue)).save(file, "JPEG")
    return file.getvalue()


def report(base: Path, config: Path, idle: float) -> None:
    """One line for each command."""
    some = next(path for path in sorted((base / "p").rglob("*.jpg")))
    print(f"{'':44} {'s':>7} {'core s':>7} {'peak MB':>8}")
    (base / "p" / "first.jpg").write_bytes(encoded(PICTURE, 1))
    command("run --once, one picture is new", "run", "--once", "--config", config)
    alive(base, config, idle)
    command("status", "status", "--config", config)
    command("why FILE", "why", some, "--config", config)
    command("scan", "scan", "--config", config)
    command("prune --dry-run", "prune", "--dry-run", "--config", config)
    command("undo FOLDER (a twenty-third of all)", "undo", some.parent, "--config", config)
    pages(config)


def command(name: str, *words: object) -> None:
    began, found = time.monotonic(), (0.0, 0.0)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([*DAEMON, *map(str, words)], stdout=subprocess.DEVNULL, stderr=said)
        # wait4's peak would be that of this process, where it was larger: the child began as its copy.
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            with suppress(KeyError):  # it has no memory any more
                found = taken(process.pid)
            time.sleep(0.02)
        row(name, time.monotonic() - began, *found)
        if process.wait():
            said.seek(0)
            print(f"    ended with {process.returncode}: {said.read().decode(errors='replace').strip()[-300:]}")


def alive(base: Path, config: Path, idle: float) -> None:
    """A daemon that goes on: its start, its rest, a picture that is dropped."""
    began = time.monotonic()
    process = subprocess.Popen([*DAEMON, "run", "--config", str(config)], stderr=subprocess.PIPE, text=True)
    try:
        dropped(base, "early")
        row("run: until a picture of before its start is done", time.monotonic() - began, *taken(process.pid))
        before, _ = taken(process.pid)
        time.sleep(idle)
        after, memory = taken(process.pid)
        row("run: at rest", idle, after - before, memory)
        began = time.monotonic()
        dropped(base, "late")
        now, memory = taken(process.pid)
        row("run: from a drop to its result", time.monotonic() - began, now - after, memory)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def dropped(base: Path, name: str) -> None:
    """Drops a picture and waits for its result."""
    path = base / "p" / "folder 3" / f"{name}.jpg"
    path.write_bytes(data := encoded(PICTURE, len(name)))
    while path.read_bytes() == data:
        time.sleep(0.02)


def taken(pid: int) -> tuple[float, float]:
    """Seconds of a core and peak memory [MB] of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(status["VmHWM"].split()[0]) / 1000


def pages(config: Path) -> None:
    """The review page's answers, without a browser."""
    with page(config) as (link, pid):
        address = urlsplit(link)
        line = http.client.HTTPConnection(address.netloc)
        line.request("GET", address.path)
        answer = line.getresponse()
        answer.read()
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        for name, path in (("review: the list", "/"), ("review: a search", "/?view=review&search=picture+00077")):
            spent, _ = taken(pid)
            began = time.monotonic()
            line.request("GET", path, headers={"Cookie": cookie})
            answer = line.getresponse()
            body = answer.read()
            assert answer.status == 200, (answer.status, body[:200])
            now, memory = taken(pid)
            row(name, time.monotonic() - began, now - spent, memory)


def row(name: str, seconds: float, core: float, memory: float) -> None:
    print(f"{name:44} {seconds:7.2f} {core:7.2f} {memory:8.0f}", flush=True)


if __name__ == "__main__":
    main()
