"""A person's picture of 1 megapixel against a backlog of 20 large ones: when it starts, and how long it then takes.

``python bench/service_priority.py [--rounds 3] [--model web] [--scale 1]``; real network, this machine's device.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from liif_engine.service.client import Client

LARGE = (3000, 4000, 3)
SMALL = (1000, 1000, 3)


def main(rounds: int, model: str, scale: float) -> None:
    """Prints seconds alone, amid the backlog, and their ratio."""
    pixels = np.random.default_rng(0).integers(0, 256, SMALL, np.uint8).tobytes()
    with tempfile.TemporaryDirectory(prefix="liif-") as folder:
        path = Path(folder, "large.jpg")
        smooth = np.linspace(0, 255, LARGE[0] * LARGE[1]).reshape(LARGE[:2]).astype(np.uint8)
        Image.fromarray(np.stack([smooth] * 3, axis=-1)).save(path, quality=80)
        command = [sys.executable, "-m", "liif_engine", "serve", "--model", model]
        service = subprocess.Popen(command, env={**os.environ, "LIIF_RUNTIME_DIR": folder})
        client = Client(folder, start=False, name="person")
        try:
            while not _is_ready(client):
                time.sleep(0.1)
            _measure(client, pixels, path, rounds, scale)
        finally:
            service.terminate()
            service.wait()


def _measure(client: Client, pixels: bytes, path: Path, rounds: int, scale: float) -> None:
    _one(client, pixels, scale)  # warm
    alone = [_one(client, pixels, scale)[1] for _ in range(rounds)]
    print("alone:", " ".join(f"{seconds:.2f}" for seconds in alone), "s", flush=True)
    backlog = Client(client.folder, start=False, name="backlog")
    options: dict[str, Any] = {"scale": scale, "priority": "backlog", "detach": True}
    jobs = [backlog.submit_file(path, path.with_name(f"{number}.png"), **options) for number in range(20)]
    while jobs[0].state()["share"] == 0:
        time.sleep(0.1)
    amid = [_one(client, pixels, scale) for _ in range(rounds)]
    print("amid the backlog, from sending to the result:", " ".join(f"{total:.2f}" for _, total in amid), "s")
    print("until it started:", " ".join(f"{started:.3f}" for started, _ in amid), "s", flush=True)
    states = [job.state()["state"] for job in jobs]
    for job in jobs:
        job.forget()
    print("the backlog after it:", {state: states.count(state) for state in sorted(set(states))})
    after = [_one(client, pixels, scale)[1] for _ in range(rounds)]
    print("alone again:", " ".join(f"{seconds:.2f}" for seconds in after), "s")
    alone += after
    ratio = statistics.median(total for _, total in amid) / statistics.median(alone)
    print(f"ratio of medians: {ratio:.2f}")


def _one(client: Client, pixels: bytes, scale: float) -> tuple[float, float]:
    """(seconds until it started, seconds until its result was here)."""
    begun = time.perf_counter()
    job = client.submit_pixels(pixels, SMALL, "u8", scale=scale)
    last = job.wait()
    job.result()
    seconds = time.perf_counter() - begun
    job.forget()
    return last["waited_seconds"], seconds


def _is_ready(client: Client) -> bool:
    try:
        return bool(client.status()["workers"][0]["state"] == "idle")
    except Exception:
        return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="web")
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    main(given.rounds, given.model, given.scale)
