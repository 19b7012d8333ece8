"""A folder of small files through `liif-daemon`, end to end: found, restored, verified, put in place, backed up."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from liif_engine.errors import LiifError

#: Of each file in pixels: what a web page's thumbnail or an old forum's picture has.
WIDTH, HEIGHT = 160, 120


def measure(files: int, *, scale: float, model: str, device: str) -> dict[str, float]:
    """Seconds of ``liif-daemon run --once`` with a warm engine, its own start included.

    Args:
        files: how many.
        scale: output per input pixel.
        model: as for `liif restore`.
        device: of the engine.

    Returns:
        files, seconds, and megapixels of all results.

    Raises:
        LiifError: the daemon failed, or left files as they were.
    """
    with tempfile.TemporaryDirectory(prefix="liif-bench-") as base, _engine(Path(base), device) as environment:
        _run(_filled(Path(base, "warm"), 2, first=files), scale, model, environment)  # the engine loads the model
        folder = _filled(Path(base, "folder"), files)
        started = time.perf_counter()
        _run(folder, scale, model, environment)
        seconds = time.perf_counter() - started
        sizes = [Image.open(path).size for path in sorted(folder.glob("*.jpg"))]
    expected = round(WIDTH * scale), round(HEIGHT * scale)
    if sizes != [expected] * files:
        raise LiifError(f"the daemon left {sum(size != expected for size in sizes)} of {files} files as they were")
    return {"files": files, "seconds": seconds, "megapixels": files * expected[0] * expected[1] / 1e6}


@contextmanager
def _engine(base: Path, device: str) -> Iterator[dict[str, str]]:
    """A warm engine of its own; yields the environment in which the daemon finds it and nothing else."""
    (base / "run").mkdir(mode=0o700)
    private = {"LIIF_RUNTIME_DIR": str(base / "run"), "XDG_STATE_HOME": str(base), "XDG_CONFIG_HOME": str(base)}
    environment = {**os.environ, **private}
    # A bench that is killed stops nothing; the engine then ends by itself.
    command = [sys.executable, "-m", "liif_engine", "serve", "--device", device, "--exit-when-idle", "300"]
    engine = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield environment
    finally:
        engine.terminate()
        engine.wait(30)


def _run(folder: Path, scale: float, model: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "liif_daemon", "run", "--once", "--yes", str(folder)]
    command += ["--scale", f"{scale:g}", "--model", model]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LiifError(f"liif-daemon ended with exit code {done.returncode}: {last}")


def _filled(folder: Path, files: int, *, first: int = 0) -> Path:
    """Makes a folder of JPEG files, all different."""
    folder.mkdir()
    for number in range(first, first + files):
        coarse = np.random.default_rng(number).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(file, "JPEG", quality=50)
        (folder / f"{number}.jpg").write_bytes(file.getvalue())
    return folder
