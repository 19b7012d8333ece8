"""What the daemon costs: time from a file's close to its result in place, and time per file beside `liif restore`.

``python bench/daemon_overhead.py``: a warm `liif serve` with the shipped model; small pictures, one after the other,
for the latency; then the same folder of files through `liif restore` (one process, its start left out) and through
`liif-daemon run --once`, with a network that is tiny, so that what is not the network shows.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from daemon_soak import tiny_model
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--drops", type=int, default=20)
    parser.add_argument("--model", default="web", help="for the latency")
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="liif-overhead-"))
    (base / "run").mkdir(mode=0o700)
    os.environ |= {"LIIF_RUNTIME_DIR": str(base / "run"), "XDG_STATE_HOME": str(base), "XDG_CONFIG_HOME": str(base)}
    serve = [sys.executable, "-m", "liif_engine", "serve", "--device", "cpu"]
    engine = subprocess.Popen(serve, stderr=subprocess.DEVNULL)
    try:
        latency(base, arguments.model, arguments.drops)
        overhead(base, arguments.files)
    finally:
        engine.terminate()
        engine.wait(30)
        shutil.rmtree(base)


def latency(base: Path, model: str, drops: int) -> None:
    """Pictures of 160x120 dropped one by one."""
    from liif_engine.picture import image_file
    from liif_engine.service.client import Client

    folder = base / "dropped"
    folder.mkdir()
    command = [sys.executable, "-m", "liif_daemon", "run", str(folder), "--scale", "2", "--model", model]
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    seconds, alone = [], []
    client = Client(name="bench")
    try:
        for number in range(drops + 2):
            path = folder / f"{number}.jpg"
            data = encoded(number)
            path.write_bytes(data)
            started = time.monotonic()
            while image_file.probe(path).width != 320:
                time.sleep(0.005)
            seconds.append(time.monotonic() - started)
            started = time.monotonic()
            client.restore_image(data, scale=2, model=model, priority="backlog")
            alone.append(time.monotonic() - started)
    finally:
        daemon.terminate()
        daemon.wait(30)
    # The first two start the engine and load the model.
    print(f"close to restored, 160x120 x2, {model}, warm, {drops} pictures: {spread(seconds[2:])}")
    print(f"the engine alone on the same pictures: {spread(alone[2:])}")


def overhead(base: Path, files: int) -> None:
    """The same files both ways."""
    model = tiny_model(base)
    source, out, folder = base / "source", base / "out", base / "folder"
    source.mkdir()
    for number in range(files):
        (source / f"{number}.jpg").write_bytes(encoded(number))
    shutil.copytree(source, folder)
    command = [sys.executable, "-m", "liif_engine", "restore", "--json", "--out", str(out), "--model", str(model)]
    names = [str(path) for path in sorted(source.iterdir())]
    done = subprocess.run([*command, *names], capture_output=True, check=True)
    own = [row["seconds"] for row in json.loads(done.stdout)]
    run = [sys.executable, "-m", "liif_daemon", "run", "--once", "--yes", str(folder), "--model", str(model)]
    subprocess.run([*run[:5], str(warm(base)), *run[7:]], capture_output=True, check=True)
    daemon = subprocess.run(run, capture_output=True, check=True, text=True)
    log = (base / "liif-restore" / "daemon.log").read_text()
    times = re.findall(r"^(\S+ \S+) INFO .*/folder/\d+\.jpg: restored", log, re.MULTILINE)
    stamps = [time.mktime(time.strptime(one[:19], "%Y-%m-%d %H:%M:%S")) + int(one[20:]) / 1000 for one in times]
    assert len(stamps) == files, daemon.stdout
    print(f"`liif restore`, {files} files of 160x120, tiny network: {spread(own)} each")
    print(f"`liif-daemon run --once`: {(max(stamps) - min(stamps)) / (files - 1) * 1000:.1f} ms a file, two at once")


def warm(base: Path) -> Path:
    """A folder of two other files, through which the engine loads the model."""
    folder = base / "warm"
    folder.mkdir()
    for number in (10_000, 10_001):
        (folder / f"{number}.jpg").write_bytes(encoded(number))
    return folder


def encoded(seed: int) -> bytes:
    """A small JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 255, (15, 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC).save(file, "JPEG", quality=50)
    return file.getvalue()


def spread(seconds: list[float]) -> str:
    """Median and range in milliseconds."""
    ms = sorted(1000 * one for one in seconds)
    return f"median {statistics.median(ms):.0f} ms, {ms[0]:.0f} to {ms[-1]:.0f} ms"


if __name__ == "__main__":
    main()
