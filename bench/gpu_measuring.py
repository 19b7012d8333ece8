"""What the parts of `gpu.py` measure with, and where they keep what they found."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif
from liif_engine.picture.busy import TOO_BUSY, alternation

HALF = torch.bfloat16


@dataclass
class Bench:
    """Where and how large, and what was found."""

    device: torch.device
    out: Path
    rehearse: bool
    results: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)

    def size(self, full: int, tiny: int) -> int:
        """A size, or its stand-in for a rehearsal."""
        return tiny if self.rehearse else full

    def seconds(self, work: Callable[[], Any], runs: int = 5) -> float:
        """The median time of some runs, after one that warms up."""
        work()
        times = []
        for _ in range(1 if self.rehearse else runs):
            self.wait()
            started = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def wait(self) -> None:
        """Until the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def say(self, key: str, value: Any, words: str) -> None:
        """Keeps one result, and a row of the table."""
        self.results[key] = value
        self.rows.append((key, words))
        print(f"{key}: {words}", flush=True)
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "results.json").write_text(json.dumps(self.results, indent=2))
        table = "".join(f"| {name.replace('_', ' ')} | {text} |\n" for name, text in self.rows)
        (self.out / "table.md").write_text(f"| what | result |\n|---|---|\n{table}")

    def network(self, name: str = "web", dtype: torch.dtype = HALF) -> EdsrLiif:
        """A shipped model on the device."""
        model = checkpoint.load(name)
        if dtype != torch.float32:
            model.reduce(dtype)
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def random(self, *shape: int, dtype: torch.dtype = HALF) -> Tensor:
        """Random numbers; zeros would run faster than real data does."""
        return torch.randn(*shape, device=self.device, dtype=torch.float32).to(dtype)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture with smooth and rough parts, (height, width, 3) uint8; none that half precision is not used for."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    noise = np.random.default_rng(seed).random((height, width)) * x / 4
    pixels = (np.stack([y, 0.75 * x + noise, (x + y) / 2], -1) * 255).astype(np.uint8)
    if alternation(pixels) > TOO_BUSY:
        raise ValueError("this picture would be computed in fp32 whatever is asked for")
    return pixels
