"""What the service adds to the work: a large picture through the socket, with a pixel-copying stand-in for the network.

``python bench/service_overhead.py [--megapixels 12]``; needs the test extra and a checkout.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from liif_engine.workers.stand_in import Copying

sys.path.insert(0, str(Path(__file__).parents[1]))
Service: Any = importlib.import_module("tests.service.conftest").Service

ROUNDS = 9


def main(megapixels: float) -> None:
    """Prints seconds through the service, seconds in this process, and the difference, at scale 1."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (height, height * 4 // 3, 3), np.uint8)
    data, shape = pixels.tobytes(), pixels.shape
    folder = tempfile.mkdtemp(prefix="liif-")
    stand_in = {"device": "cpu", "model": "copy", "engine": "liif_engine.workers.stand_in:Copying"}
    service = Service(folder, {"workers": stand_in})
    through, alone, within = [], [], []
    try:
        for _ in range(ROUNDS):
            started = time.perf_counter()
            job = service.client.submit_pixels(data, shape, "u8", scale=1)
            last = job.wait()
            result = job.result()
            through.append(time.perf_counter() - started)
            job.forget()
            within.append(last["result"]["work_seconds"])
            assert result == data
            started = time.perf_counter()
            Copying().restore(pixels, scale=1)
            alone.append(time.perf_counter() - started)
    finally:
        service.end()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{shape[1]}x{shape[0]} RGB, {len(data) / 1e6:.0f} MB each way, {ROUNDS} rounds")
    for name, seconds in (
        ("through the service", through),
        ("of it in the worker", within),
        ("in this process", alone),
    ):
        print(f"{name}: median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s")
    overhead = [a - b for a, b in zip(through, alone, strict=True)]
    print(f"overhead: median {statistics.median(overhead):.3f} s, worst {max(overhead):.3f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=12.0)
    main(parser.parse_args().megapixels)
