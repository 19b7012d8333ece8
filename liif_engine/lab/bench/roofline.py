"""What the device itself can do, measured in the same run: the figures that a speed is a share of."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Side of the square matrices, and bytes of the arrays that are copied: on a CPU beyond its caches, as pictures are.
MATRIX = {"cpu": 1024, "cuda": 8192, "mps": 2048}
COPIED_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30, "mps": 256 << 20}

#: Each rate is the best of as many trials, since what disturbs a trial only ever makes it slower.
TRIALS = 7


def rates(device: str, threads: int | None, clock: str) -> dict[str, float]:
    """Measures, in this process.

    Args:
        device: as for `Engine`.
        threads: of the CPU; None is torch's own choice.
        clock: as of `turns.Case`.

    Returns:
        fp32 and, where the hardware has it, bf16: multiply-adds per second of a product of large square matrices, by
        the faster of torch's ways to it. memory: bytes per second, read and written, of a copy. threads: that torch
        used.
    """
    import torch

    from liif_engine.network.device import choose_device, has_bf16

    if threads is not None:
        torch.set_num_threads(threads)
    place = choose_device(device)
    side = MATRIX[place.type]
    timer = time.process_time if clock == "cpu_seconds" else time.perf_counter
    found: dict[str, float] = {"threads": torch.get_num_threads()}
    with torch.inference_mode():
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            if name == "bf16" and not has_bf16(place):
                continue
            a, b = (torch.rand(side, side, device=place).to(dtype) for _ in range(2))
            found[name] = side**3 / min(_best(way, place, timer) for way in _products(a, b))
        source = torch.zeros(COPIED_BYTES[place.type] // 4, device=place)
        target = torch.empty_like(source)
        found["memory"] = 2 * source.nbytes / _best(lambda: target.copy_(source), place, timer)
    return found


def _products(a: object, b: object) -> list[Callable[[], object]]:
    import torch

    from liif_engine.network.perceptron import has_fused

    assert isinstance(a, torch.Tensor)
    assert isinstance(b, torch.Tensor)
    ways: list[Callable[[], object]] = [lambda: torch.mm(a, b)]
    if has_fused(b):
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""))
    return ways


def _best(work: Callable[[], object], place: object, clock: Callable[[], float]) -> float:
    """Seconds of the best trial after a warm-up."""
    import torch

    best = float("inf")
    for _ in range(TRIALS + 1):
        started = clock()
        work()
        if getattr(place, "type", "") == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - started)
    return best
