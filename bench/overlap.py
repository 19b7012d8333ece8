"""What it brings to read and write other files while one computes: a folder of small pictures, in turn and overlapped.

    python bench/overlap.py --pairs 5
    python bench/overlap.py --pairs 5 --elsewhere 100   # as if a device other than the CPU computed, 100 ms a picture
    python bench/overlap.py --pairs 5 --elsewhere 2.5 --launch 1 --folder   # `liif restore FOLDER --out FOLDER`

Both ways take turns in one process; the ratio of each pair counts, since the machine may be shared.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from liif_engine import Engine, file, pipeline
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.crew import Crew
from liif_engine.network.waits import waiting
from liif_engine.plan import plan as plan_of
from liif_engine.target import Target
from liif_engine.workers import WorkerSettings, here
from liif_engine.workers.stand_in import Copying


class Raising:
    """A report for which any failure is the bench's."""

    def restored(self, outcome: Any) -> None:
        """Nothing to say."""

    def failed(self, plan: Any, error: Exception) -> None:  # noqa: ARG002 - the pipeline's signature
        raise error

    def computing(self, plan: Any) -> Any:  # noqa: ARG002 - the pipeline's signature
        return nullcontext()


class Elsewhere:
    """A stand-in for an engine on another device: the calling thread waits, and the CPU is free."""

    device = "a stand-in"

    def __init__(self, milliseconds: float, waits: int) -> None:
        self.seconds, self.waits = milliseconds / 1000, waits
        self.real = Engine("web", device="cpu")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def for_picture(self, *_: Any) -> Any:
        return self

    def restore(self, pixels: np.ndarray, *, size: tuple[int, int], **_: Any) -> np.ndarray:
        """The picture, its pixels repeated."""
        for _ in range(self.waits):
            time.sleep(self.seconds / self.waits)
        return pixels.repeat(size[1] // pixels.shape[0], 0).repeat(size[0] // pixels.shape[1], 1)


class Distant(Copying):
    """A stand-in on another device, which does one thing after the other: the model ``wait:0.001:0.0025`` keeps a core
    for 1 ms while it launches the work on a picture, which then takes the device 2.5 ms."""

    _free_at = 0.0

    def __init__(self, model: str, **rest: Any) -> None:
        super().__init__(model, **rest)
        self.device = "a stand-in"

    def restore(self, pixels: np.ndarray, **rest: Any) -> np.ndarray:
        """As `Copying.restore`."""
        launching, working = map(float, self.model_name.split(":")[1:])
        launched = time.perf_counter() + launching
        while time.perf_counter() < launched:
            pass
        Distant._free_at = done = max(Distant._free_at, time.perf_counter()) + working
        with waiting():
            time.sleep(max(0.0, done - time.perf_counter()))
        return super().restore(pixels, **rest)


def folder_seconds(source: Path, destination: Path, model: str, way: str) -> float:
    """How long an archive run takes in this process."""
    here.FILES_AT_ONCE = 1 if way == ONE_BY_ONE else 4
    here.LENT_PIXELS = 512 * 512 if way == LENT else 0
    settings = WorkerSettings(model=model, engine=f"{Distant.__module__}:Distant")
    with Archive(Order(source, destination, Target(scale=2), model=model)) as archive:
        archive.run(Crew("here"), settings)
    assert not archive.summary.failures
    return archive.summary.seconds


ONE_BY_ONE, AT_ONCE, LENT = (
    "one by one",
    "four on their way",
    "four on their way, launched in advance",
)


def folders(arguments: argparse.Namespace) -> None:
    """A folder of files, one after the other and several at once."""
    model = f"wait:{arguments.launch / 1000}:{arguments.elsewhere / 1000}"
    each = f"{arguments.launch:g} ms of a core and then {arguments.elsewhere:g} ms each"
    print(f"{arguments.files} files of {arguments.side}x{arguments.side}, x2, by a stand-in, {each}\n")
    print("| files | how | s | times as fast as one by one, median (least to most) | device at work |")
    print("|---|---|---|---|---|")
    for suffix in (".jpg", ".png"):
        taken: dict[str, list[float]] = {ONE_BY_ONE: [], AT_ONCE: [], LENT: []}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sources(folder / "old", arguments.files, arguments.side, suffix)
            for turn in range(arguments.pairs):
                for way, seconds in taken.items():
                    seconds.append(folder_seconds(folder / "old", folder / f"{turn}-{way}", model, way))
        for way, seconds in taken.items():
            ratios = [first / other for first, other in zip(taken[ONE_BY_ONE], seconds, strict=True)]
            median = statistics.median(seconds)
            share = arguments.files * arguments.elsewhere / 1000 / median
            line = f"| {suffix[1:]} | {way} | {median:.2f}"
            line += f" | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {share:.0%} |"
            print(line, flush=True)


def sources(folder: Path, count: int, side: int, suffix: str = ".jpg") -> list[Path]:
    """Files of pictures with smooth and busy parts."""
    y, x = np.mgrid[0:side, 0:side] / side
    folder.mkdir(exist_ok=True)
    paths = []
    for index in range(count):
        noise = np.random.default_rng(index).random((side, side))
        pixels = (np.stack([y, x * (noise > 0.5), (x + y) / 2], -1) * 255).astype(np.uint8)
        paths.append(folder / f"{index}{suffix}")
        Image.fromarray(pixels).save(paths[-1], quality=75)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--side", type=int, default=128, help="of a picture in pixels")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--model", default="web")
    parser.add_argument("--elsewhere", type=float, metavar="MS", help="a stand-in that waits takes the engine's place")
    parser.add_argument("--waits", type=int, default=1, help="of the stand-in for each picture, together as long")
    parser.add_argument("--launch", type=float, metavar="MS", default=0, help="likewise, of a core, with --folder")
    parser.add_argument("--folder", action="store_true", help="a folder into a folder; with --elsewhere")
    arguments = parser.parse_args()
    if arguments.folder:
        if arguments.elsewhere is None:
            parser.error("--folder needs --elsewhere: on the CPU a folder's files go one by one")
        folders(arguments)
        return
    engine: Any = Engine(arguments.model)
    if arguments.elsewhere is not None:
        engine = Elsewhere(arguments.elsewhere, arguments.waits)
    print(f"{arguments.files} files of {arguments.side}x{arguments.side}, x2, {arguments.model} on {engine.device}\n")
    print("| result | in turn, s | overlapped, s | times as fast, median (least to most) |\n|---|---|---|---|")
    for suffix in (".jpg", ".png", ".avif"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            paths = sources(folder, arguments.files, arguments.side)
            plans = [plan_of(path, Target(scale=2), out=path.with_name(f"{path.stem}-x2{suffix}")) for path in paths]
            turns, overlaps = [], []
            file.run(engine, plans[0], overwrite=True)  # warms up
            for _ in range(arguments.pairs):
                started = time.perf_counter()
                for plan in plans:
                    file.run(engine, plan, overwrite=True)
                turns.append(time.perf_counter() - started)
                started = time.perf_counter()
                pipeline.restore_files(engine, plans, pipeline.Options(overwrite=True), Raising())
                overlaps.append(time.perf_counter() - started)
        ratios = [turn / overlap for turn, overlap in zip(turns, overlaps, strict=True)]
        line = f"| {suffix[1:]} | {statistics.median(turns):.2f} | {statistics.median(overlaps):.2f}"
        print(f"{line} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |", flush=True)


if __name__ == "__main__":
    main()
