"""Hours of work in minutes: pictures come without end, the daemon's memory and descriptors must stay as they are.

``python bench/daemon_soak.py --minutes 20``: a real `liif-daemon run` with a real `liif serve` and a tiny random
network (the daemon's own work is what is looked at), a folder to which pictures come, some of them broken, some changed
while they are restored; originals are taken back now and then. Every half minute a row; at the end the slope of memory.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--per-second", type=float, default=3, help="pictures that come")
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="liif-soak-"))
    folder = base / "pictures"
    folder.mkdir()
    (base / "run").mkdir(mode=0o700)
    os.environ |= {"LIIF_RUNTIME_DIR": str(base / "run"), "XDG_STATE_HOME": str(base), "XDG_CONFIG_HOME": str(base)}
    engine = subprocess.Popen(
        [sys.executable, "-m", "liif_engine", "serve", "--device", "cpu"], stderr=subprocess.DEVNULL
    )
    command = [sys.executable, "-m", "liif_daemon", "run", str(folder), "--model", str(tiny_model(base))]
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    rows = []
    try:
        rows = soak(folder, daemon.pid, arguments.minutes * 60, arguments.per_second)
    finally:
        daemon.send_signal(signal.SIGTERM)
        started = time.monotonic()
        code = daemon.wait(30)
        print(f"the daemon ended with {code}, {time.monotonic() - started:.1f} s after SIGTERM")
        engine.terminate()
        engine.wait(30)
    report(rows)


def tiny_model(base: Path) -> Path:
    """A random network on disk that answers in milliseconds."""
    from liif_engine.network.checkpoint import save
    from liif_engine.network.model import EdsrLiif

    torch.manual_seed(0)
    path = base / "tiny.safetensors"
    save(EdsrLiif(8, 1, (12, 16)), path, {})
    return path


def soak(folder: Path, pid: int, seconds: float, per_second: float) -> list[dict[str, float]]:
    """Drops pictures and looks at the process."""
    dice = random.Random(0)
    started, looked, number, rows = time.monotonic(), 0.0, 0, []
    while (now := time.monotonic() - started) < seconds:
        number += 1
        data = encoded(number, dice)
        path = folder / f"{number % 500}" / f"{number}.{dice.choice(['jpg', 'png'])}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data if number % 20 else data[: len(data) // 2])
        if number % 50 == 7:
            path.write_bytes(encoded(number + 1_000_000, dice))
        if number % 400 == 399:
            subprocess.run(
                [sys.executable, "-m", "liif_daemon", "undo", str(path.parent)], capture_output=True, check=False
            )
        if now - looked >= 30:
            looked = now
            rows.append({"minutes": now / 60, "dropped": number, **look(pid), **counts()})
            print(json.dumps({key: round(value, 2) for key, value in rows[-1].items()}), flush=True)
        time.sleep(1 / per_second)
    deadline = time.monotonic() + 300
    while counts()["waiting"] and time.monotonic() < deadline:
        time.sleep(1)
    rows.append({"minutes": (time.monotonic() - started) / 60, "dropped": number, **look(pid), **counts()})
    return rows


def encoded(seed: int, dice: random.Random) -> bytes:
    """A picture's bytes."""
    size = (dice.randint(40, 160), dice.randint(40, 160))
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file, dice.choice(["JPEG", "PNG"]))
    return file.getvalue()


def look(pid: int) -> dict[str, float]:
    """Memory [MB], descriptors and threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "rss_mb": int(fields["VmRSS"].split()[0]) / 1000,
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": int(fields["Threads"]),
    }


def counts() -> dict[str, float]:
    """What the ledger says."""
    done = subprocess.run([sys.executable, "-m", "liif_daemon", "status", "--json"], capture_output=True, check=True)
    jobs = json.loads(done.stdout)["jobs"]
    return {"done": jobs["done"], "failed": jobs["failed"], "waiting": jobs["queued"] + jobs["claimed"]}


def report(rows: list[dict[str, float]]) -> None:
    """The first quarter left out: caches fill there."""
    late = rows[len(rows) // 4 :]
    minutes, memory = [row["minutes"] for row in late], [row["rss_mb"] for row in late]
    slope = float(np.polyfit(minutes, memory, 1)[0]) if len(late) > 2 else float("nan")
    print(f"memory {memory[0]:.1f} -> {memory[-1]:.1f} MB, slope {slope:+.3f} MB a minute after the first quarter")
    for key in ("descriptors", "threads"):
        values = [row[key] for row in late]
        print(f"{key} {min(values):.0f} to {max(values):.0f}")
    last = rows[-1]
    print(f"{last['dropped']:.0f} pictures dropped: {last['done']:.0f} done, {last['failed']:.0f} failed")


if __name__ == "__main__":
    main()
