"""Small pictures against one large one, for `gpu.py`: in memory, as files, as a folder, and with several workers."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.gpu_measuring import Bench, picture
from bench.overlap import Raising
from liif_engine import file, pipeline
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.crew import Crew
from liif_engine.model_names import AUTO
from liif_engine.plan import Plan
from liif_engine.plan import plan as plan_of
from liif_engine.restore import Engine
from liif_engine.target import Target
from liif_engine.workers import FileWork, Ticket, WorkerSettings, here, start

#: How many processes share the GPU, each with a model of its own.
WORKERS = (1, 2, 4, 8)

#: Files on their way, and pixels of the largest picture during which others are launched.
FOLDER_WAYS = {
    "one_by_one": (1, 0),
    "four_on_their_way": (here.FILES_AT_ONCE, 0),
    "four_launched_in_advance": (here.FILES_AT_ONCE, here.LENT_PIXELS),
}


def small_pictures(bench: Bench) -> None:
    """In one process: in memory, as files one after the other, and as files read and written in other threads."""
    engine = Engine("web", device=str(bench.device))
    many = _pictures(bench)
    one = picture(bench.size(1024, 48), bench.size(1024, 48))
    rate = _megapixels([one]) / bench.seconds(lambda: engine.restore(one, scale=2), 3)
    memory = _megapixels(many) / bench.seconds(lambda: [engine.restore(small, scale=2) for small in many], 3)
    words = f"{memory:.1f} output megapixels/s, {memory / rate:.0%} of one large picture's {rate:.1f}"
    bench.say("small_in_memory", {"rate": memory, "large": rate, "share": memory / rate}, words)
    with tempfile.TemporaryDirectory() as name:
        plans, engine = _plans(many, Path(name)), Engine(AUTO, device=str(bench.device))  # as people have it
        options = pipeline.Options(overwrite=True)

        def in_turn() -> None:
            for plan in plans:
                file.run(engine, plan, overwrite=True)

        turn = _megapixels(many) / bench.seconds(in_turn, 3)
        files = _megapixels(many) / bench.seconds(lambda: pipeline.restore_files(engine, plans, options, Raising()), 3)
    words = f"{files:.1f} output megapixels/s, {files / rate:.0%} of one large picture's"
    bench.say(
        "small_files",
        {"rate": files, "in_turn": turn, "large": rate, "share": files / rate},
        f"{words}; one after the other {turn:.1f}",
    )


def small_folder(bench: Bench) -> None:
    """A folder into a folder, as `liif restore FOLDER --out FOLDER` does it: several files on their way at once."""
    many = _pictures(bench)
    settings = WorkerSettings(device=str(bench.device), model=AUTO)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "old"
        source.mkdir()
        _plans(many, source)
        first: dict[str, bytes] = {}
        for way, (files_at_once, lent_pixels) in FOLDER_WAYS.items():
            here.FILES_AT_ONCE, here.LENT_PIXELS = files_at_once, lent_pixels
            target = Path(name) / way
            with Archive(Order(source, target, Target(scale=2), model=AUTO)) as archive:
                archive.run(Crew("here"), settings)
            rate = _rate_of(target, 4 * len(many) // 5)
            stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in archive.summary.stages.items())
            large = bench.results.get("small_in_memory", {}).get("large")
            share = f", {rate / large:.0%} of one large picture's" if large else ""
            words = f"{rate:.1f} output megapixels/s{share}; {archive.summary.seconds:.1f} s with loading, {stages}"
            found = {path.name: path.read_bytes() for path in target.glob("*.jpg")}
            first = first or found
            alike = sum(found.get(key) == value for key, value in first.items())
            words += f"; {alike} of {len(many)} files have the first way's bytes"
            bench.say(f"small_folder_{way}", {"rate": rate, "alike": alike}, words)


def _rate_of(folder: Path, last: int) -> float:
    """Megapixels a second of so many results of a folder that got their names last: without loading and recording."""
    named = sorted((path.stat().st_ctime, path) for path in folder.glob("*.jpg"))[-last - 1 :]
    made = 0.0
    for _, path in named[1:]:
        with Image.open(path) as result:
            made += result.width * result.height / 1e6
    return made / max(named[-1][0] - named[0][0], 1e-9)


def small_workers(bench: Bench) -> None:
    """As files, given to workers as the service and ``--workers`` do: each takes one file after the other."""
    many = _pictures(bench)
    with tempfile.TemporaryDirectory() as name:
        plans = _plans(many, Path(name))
        for count in WORKERS[:2] if bench.rehearse else WORKERS:
            seconds = _seconds_of(count, plans, str(bench.device))
            rate = _megapixels(many) / seconds
            large = bench.results.get("small_in_memory", {}).get("large")
            share = f", {rate / large:.0%} of one large picture's" if large else ""
            bench.say(f"small_{count}_workers", {"rate": rate}, f"{rate:.1f} output megapixels/s{share}")


def _seconds_of(count: int, plans: Sequence[Plan], device: str) -> float:
    """How long so many workers take for all files, once each has its model and has seen some of them."""
    room = threading.Event()
    workers = start(Crew("processes", count), WorkerSettings(device=device, model=AUTO), on_room=room.set)

    def give(some: Sequence[Plan]) -> None:
        tickets: list[Ticket] = []
        for plan in some:
            while not workers.room(urgent=False):
                room.wait(1)
                room.clear()
            work = FileWork(str(plan.source), str(plan.destination), Target(scale=2), model=AUTO, overwrite=True)
            tickets.append(workers.submit(work))
        for ticket in tickets:
            ticket.result()

    try:
        while len(workers.status()) < count or {row["state"] for row in workers.status()} != {"idle"}:
            time.sleep(0.05)
        give(plans[: 12 * count])
        started = time.perf_counter()
        give(plans)
        return time.perf_counter() - started
    finally:
        workers.close()


def _pictures(bench: Bench) -> list[np.ndarray]:
    count, side = bench.size(200, 2), bench.size(256, 40)
    return [picture(side - 8 * (index % 4), side, index) for index in range(count)]


def _megapixels(pictures: Sequence[np.ndarray]) -> float:
    """Of their results."""
    return sum(4 * one.shape[0] * one.shape[1] for one in pictures) / 1e6


def _plans(pictures: Sequence[np.ndarray], folder: Path) -> list[Plan]:
    for index, small in enumerate(pictures):
        Image.fromarray(small).save(folder / f"{index}.jpg", quality=75)
    (folder / "out").mkdir(exist_ok=True)
    return [plan_of(path, Target(scale=2), out=folder / "out") for path in sorted(folder.glob("*.jpg"))]
