"""One picture over several workers: the bytes of one worker, whatever its kind; cancel, crashes, what stays whole."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from liif_engine import Engine
from liif_engine.crew import Crew, parse
from liif_engine.errors import (
    Cancelled,
    UsageError,
    WorkerError,
)
from liif_engine.file import restore_file
from liif_engine.network import checkpoint
from liif_engine.target import Target
from liif_engine.workers import FileWork, PixelWork, Segment, WorkerSettings, start
from liif_engine.workers.pixel_work import DTYPES

from .conftest import picture, tiny_network

TESTS = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    checkpoint.save(tiny_network(blocks=2), path, {})
    return str(path)


@pytest.fixture(scope="module")
def two(model: str) -> Iterator[Any]:
    """Two worker processes that spread whatever has more than a few pixels, over small tiles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, TESTS])
        settings = WorkerSettings(device="cpu", model=model, engine="small_tiles:SmallTiles")
        workers = start(Crew("processes", 2), settings, spread_pixels=100)
        yield workers
        workers.close()


def whole(model: str) -> Engine:
    """One engine with the same tiles, in this process."""
    from .small_tiles import SmallTiles

    return SmallTiles(model, device="cpu")


def restore_pixels(workers: Any, model: str, pixels: Any, size: tuple[int, int], layout: str | None = None) -> Any:
    height, width, channels = pixels.shape
    dtype = next(name for name, code in DTYPES.items() if np.dtype(code) == pixels.dtype)
    shape = (size[1], size[0], channels)
    with Segment.create(pixels.nbytes) as source, Segment.create(int(np.prod(shape)) * pixels.itemsize) as result:
        source.view[:] = pixels.tobytes()
        work = PixelWork(source.name, result.name, (height, width, channels), dtype, size, layout, model)
        answer = workers.submit(work).result(60)
        assert (answer.width, answer.height) == size
        assert answer.source_pixels == height * width
        return np.frombuffer(bytes(result.view), pixels.dtype).reshape(shape)


@pytest.mark.parametrize(
    ("channels", "dtype", "layout"),
    [
        (1, "uint8", None),
        (2, "uint8", None),
        (3, "uint8", None),
        (3, "uint16", None),
        (3, "float32", None),
        (4, "uint16", None),
        (4, "uint8", "CMYK"),
    ],
)
@pytest.mark.parametrize("size", [(70, 58), (93, 61)])
def test_pixels_of_every_kind_are_those_of_one_worker(
    two: Any, model: str, channels: int, dtype: str, layout: str | None, size: tuple[int, int]
) -> None:
    pixels = picture(29, 35, channels, dtype=dtype)
    if channels in {2, 4} and layout is None:
        pixels[5:20, 3:30, -1] = 0  # hidden colours, which the pixels around them replace
    found = restore_pixels(two, model, pixels, size, layout)
    wanted = whole(model).restore(pixels, size=size, layout=layout)
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("sign", ["", "+"])
def test_a_file_is_that_of_one_worker_to_the_byte(two: Any, model: str, tmp_path: Path, sign: str) -> None:
    model += sign
    source = tmp_path / "old.jpg"
    Image.fromarray(picture(50, 70)).save(source, quality=40)  # type: ignore[arg-type]
    shares: list[float] = []
    work = FileWork(str(source), str(tmp_path / "found.jpg"), Target(scale=2.4), model=model)
    answer = two.submit(work, on_progress=shares.append).result(60)
    restore_file(whole(model), source, tmp_path / "wanted.jpg", target=Target(scale=2.4))
    assert (tmp_path / "found.jpg").read_bytes() == (tmp_path / "wanted.jpg").read_bytes()
    assert answer.model == f"tiny{sign}"
    assert {"read", "restore", "write"} <= set(answer.stages)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert all(row["state"] != "released" for row in two.status())
    assert len(two.status()) == 2


def test_every_worker_had_a_share(two: Any, model: str) -> None:
    ready(two)
    before = [row["done"] for row in two.status()]
    restore_pixels(two, model, picture(60, 60), (120, 120))
    assert all(row["done"] > count for row, count in zip(two.status(), before, strict=True))


def test_the_number_of_threads_changes_no_byte(model: str) -> None:
    """What lets one worker with all cores and two with half of them agree."""
    import torch

    engine, pixels, before = Engine(model, device="cpu"), picture(90, 130), torch.get_num_threads()
    try:
        found = set()
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(engine.restore(pixels, scale=2.3).tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two workers that fail on purpose; a lost tile is begun again once."""
    monkeypatch.setattr(sys, "path", [*sys.path, TESTS])
    settings = WorkerSettings(device="cpu", model="copy", engine="faults:Faulty", attempts=2, patience_seconds=5)
    workers = start(Crew("processes", 2), settings, spread_pixels=10_000)
    yield workers
    workers.close()


def submit(workers: Any, model: str, side: int, on_progress: Any = None, urgent: bool = False) -> Any:
    source, result = Segment.create(side * side * 3), Segment.create(side * side * 12)
    work = PixelWork(source.name, result.name, (side, side, 3), "u8", (2 * side, 2 * side), model=model)
    while not workers.room(urgent=urgent):  # what was stopped takes a moment to end
        threading.Event().wait(0.02)
    ticket = workers.submit(work, on_progress=on_progress, urgent=urgent)
    ticket.add_done_callback(lambda _: (source.close(), result.close()))
    return ticket


def ready(workers: Any) -> None:
    """Returns when both workers have started."""
    started = threading.Event()
    while [row["state"] for row in workers.status()] != ["idle", "idle"]:
        started.wait(0.02)


def test_a_worker_that_is_killed_loses_its_tile_and_another_does_it(faulty: Any) -> None:
    ready(faulty)
    begun = threading.Event()
    ticket = submit(faulty, "slow:0.4", 256, lambda share: share > 0.05 and begun.set())
    assert begun.wait(30)
    os.kill(faulty.status()[0]["pid"], signal.SIGKILL)
    assert ticket.result(60).width == 512
    assert faulty.lost == 1


def test_a_picture_that_kills_every_worker_is_given_up(faulty: Any) -> None:
    ready(faulty)
    assert isinstance(submit(faulty, "crash", 256).exception(60), WorkerError)
    assert submit(faulty, "copy", 256).result(60).width == 512


def test_a_spread_picture_stops_where_it_is(faulty: Any) -> None:
    ready(faulty)
    begun = threading.Event()
    ticket = submit(faulty, "slow:60", 256, lambda share: share > 0 and begun.set())
    assert begun.wait(30)
    assert not faulty.room(urgent=False), "it has tiles for every worker"
    ticket.stop()
    assert isinstance(ticket.exception(30), Cancelled)
    assert submit(faulty, "copy", 20).result(30).width == 40


def test_a_person_goes_ahead_of_a_spread_picture(faulty: Any) -> None:
    ready(faulty)
    begun = threading.Event()
    slow = submit(faulty, "slow:1", 256, lambda share: share > 0 and begun.set())
    assert begun.wait(30)
    assert faulty.room(urgent=True)
    assert submit(faulty, "copy", 20, urgent=True).result(30).width == 40
    assert not slow.done()
    assert slow.result(90).width == 512


def test_closing_ends_a_spread_picture(faulty: Any) -> None:
    ready(faulty)
    begun = threading.Event()
    ticket = submit(faulty, "slow:60", 256, lambda share: share > 0 and begun.set())
    assert begun.wait(30)
    faulty.close()
    assert isinstance(ticket.exception(30), Cancelled)


@pytest.mark.parametrize(
    ("text", "crew"),
    [
        ("auto", Crew("processes")),
        (3, Crew("processes", 3)),
        ("3", Crew("processes", 3)),
        ("ray", Crew("ray")),
        ("ray:auto", Crew("ray", address="auto")),
        ("ray:10.0.0.1:6379", Crew("ray", address="10.0.0.1:6379")),
        ("ray:ray://head:10001", Crew("ray", address="ray://head:10001")),
    ],
)
def test_the_option(text: str | int, crew: Crew) -> None:
    assert parse(text) == crew


@pytest.mark.parametrize("text", ["0", "-1", "many", "ray:", "ray:host", "ray:host:port", "1.5", ""])
def test_options_that_name_no_workers(text: str) -> None:
    with pytest.raises(UsageError, match="workers are"):
        parse(text)
