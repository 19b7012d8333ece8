"""One result of 100 megapixels: by one worker, and spread over two; the same bytes, and the peak memory of each worker.

By default the network is a random one with the true encoder (64 channels, 16 blocks, a halo of 36) and a decoder of 16
instead of 256, so that it takes minutes, not an hour. `--model fast` takes a shipped one.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from liif_engine.crew import Crew
from liif_engine.target import Target
from liif_engine.workers import FileWork, WorkerSettings, start


def cheap(folder: Path) -> str:
    """The file of a random network with the true encoder."""
    import torch

    from liif_engine.network import checkpoint
    from liif_engine.network.model import EdsrLiif

    torch.manual_seed(0)
    checkpoint.save(EdsrLiif(64, 16, (16,)), folder / "cheap.safetensors", {})
    return str(folder / "cheap.safetensors")


def measure(
    count: int, source: Path, result: Path, scale: float, model: str, precision: str
) -> tuple[float, list[int]]:
    """Seconds, and the peak memory of each worker. [bytes]"""
    settings = WorkerSettings(device="cpu", model=model, precision=precision, threads=1)
    workers = start(Crew("processes", count), settings, spread_pixels=1)
    try:
        waiting = threading.Event()
        while {row["state"] for row in workers.status()} != {"idle"} or len(workers.status()) != count:
            waiting.wait(0.1)
        idle = [row["peak_bytes"] for row in workers.status()]
        started = time.monotonic()
        work = FileWork(str(source), str(result), Target(scale=scale), model=model, precision=precision)
        ticket = workers.submit(work, on_progress=lambda share: print(f"\r{share:6.1%}", end="", file=sys.stderr))
        ticket.result()
        seconds = time.monotonic() - started
        print(f"\rpeak of a worker before the work: {[f'{size / 1e6:.0f} MB' for size in idle]}", file=sys.stderr)
        return seconds, [row["peak_bytes"] for row in workers.status()]
    finally:
        workers.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a shipped model or a checkpoint; by default a cheap random one")
    parser.add_argument("--megapixels", type=float, default=100, help="of the result")
    parser.add_argument("--scale", type=float, default=4)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.model or cheap(folder)
        side = round((arguments.megapixels * 1e6) ** 0.5 / arguments.scale)
        small = np.random.default_rng(0).integers(0, 255, (side // 16, side // 16, 3), np.uint8)
        Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(folder / "old.png")
        print("| workers | seconds | peak memory of each worker | SHA-256 of the file |\n|---|---|---|---|")
        for count in (2, 1):
            result = folder / f"{count}.png"
            figures = (folder / "old.png", result, arguments.scale, model, arguments.precision)
            seconds, peaks = measure(count, *figures)
            digest = hashlib.sha256(result.read_bytes()).hexdigest()[:16]
            print(
                f"| {count} | {seconds:.0f} | {', '.join(f'{peak / 1e6:.0f} MB' for peak in peaks)} | {digest} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
