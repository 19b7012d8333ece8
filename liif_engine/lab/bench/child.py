"""One measurement in a process of its own, since a process's peak memory never falls.

``python -m liif_engine.lab.bench.child`` reads what to measure as JSON from its standard input, and prints figures.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.errors import LiifError


def picture(side: int) -> NDArray[np.uint8]:
    """A square picture with smooth and busy parts, (side, side, 3) uint8, no busier than photographs are.

    Black and white squares give every part of it full contrast, so that no answer, not even a random network's, looks
    implausible to the engine, which would do a tile again.
    """
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    noise = np.random.default_rng(0).random((side, side), np.float32)
    pixels = (np.stack([y, (x + 0.2 * noise) / 1.2, (x + y) / 2], -1) * 255).astype(np.uint8)
    down, across = (np.arange(side) % 64 < 8 for _ in range(2))
    pixels[np.ix_(down, across)] = 0
    pixels[np.ix_(np.roll(down, 32), across)] = 255
    return pixels


def measure(
    name: str, scale: float, megapixels: float, *, device: str, threads: int, published: str | None
) -> dict[str, Any]:
    """Enlarges one picture after a small warm-up.

    Args:
        name: a contender.
        scale: output per input pixel.
        megapixels: of the result.
        device: for ours and the published implementation.
        threads: of the CPU.
        published: the folder of the published implementation.

    Returns:
        seconds, by the clock; cpu_seconds, of all threads; megapixels of the result; peak_bytes beyond what the process
        held after the warm-up, the result included (on Windows the result alone); for ours, multiply_adds and
        feature_bytes, see `contenders.work`.
        Or, in their place, missing: why it cannot be measured here.
    """
    from liif_engine.lab.bench.contenders import contender, work

    try:
        folder = None if published is None else Path(published)
        enlarge = contender(name, device=device, threads=threads, published=folder)
    except LiifError as error:
        return {"missing": error.explain()}
    enlarge(picture(32), scale)
    pixels = picture(max(1, round((megapixels * 1e6) ** 0.5 / scale)))
    before = _peak_bytes(device)
    started, busy = time.perf_counter(), time.process_time()
    result = enlarge(pixels, scale)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {
        "seconds": seconds,
        "cpu_seconds": busy,
        "megapixels": result.shape[0] * result.shape[1] / 1e6,
        "peak_bytes": max(_peak_bytes(device) - before, result.nbytes),
        **work(name, pixels.shape[0] * pixels.shape[1], result.shape[0] * result.shape[1]),
    }


def _peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0  # Python has no figure like it there
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    asked = json.load(sys.stdin)
    if asked.pop("what", "contender") == "device":
        from liif_engine.lab.bench.roofline import rates

        print(json.dumps(rates(**asked)))
    else:
        print(json.dumps(measure(**asked)))


if __name__ == "__main__":
    main()
