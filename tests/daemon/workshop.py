"""What the daemon's tests share: tiny pictures, an engine that copies pixels, a daemon that runs to its end."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from liif_daemon import cli, places, steps
from liif_daemon.dispatch import Daemon
from liif_daemon.engine import Engine, EngineError, Made, Order
from liif_daemon.ledger import Ledger
from liif_daemon.settings import DaemonSettings, FolderSettings, Settings
from liif_daemon.store import Store
from PIL import Image
from typer.testing import CliRunner

from liif_engine.config import EngineSettings
from liif_engine.errors import LiifError
from liif_engine.picture import image_file
from liif_engine.picture.image_file import Marker

#: Generous, for a machine that does much else. [s]
PATIENCE = 90

#: For what is over in a moment, if it ends at all. [s]
SOON = 30


def draw(path: Path, seed: int, width: int = 20, height: int = 16) -> bytes:
    """Makes a picture that no other seed makes; returns its bytes."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=60)
    return path.read_bytes()


def sha(data: bytes | Path) -> str:
    return hashlib.sha256(data.read_bytes() if isinstance(data, Path) else data).hexdigest()


@dataclass
class Copying:
    """Takes the service's place: repeats pixels, after what `before` does."""

    before: Callable[[Order], None] = lambda _: None
    orders: list[Order] = field(default_factory=list)

    def restore(self, order: Order, on_progress: Callable[[float], None]) -> Made:
        started = time.monotonic()
        self.orders.append(order)
        on_progress(0.1)
        self.before(order)
        try:
            picture = image_file.read(order.source)
            width, height = order.target.size_of_result(picture.width, picture.height)
            rows = np.arange(height) * picture.height // height
            columns = np.arange(width) * picture.width // width
            frames = [np.ascontiguousarray(f.pixels[rows[:, None], columns]) for f in picture.frames]
            marker = Marker("liif-restore", "0", "copy", width / picture.width, height / picture.height, picture.sha256)
            format = picture.format
            image_file.write(
                order.destination, picture, frames, format=format, quality=order.quality, marker=marker, overwrite=False
            )
        except LiifError as error:
            kind = (
                "refused" if type(error).__name__ in {"InputError", "TruncatedError", "UnsupportedError"} else "again"
            )
            raise EngineError(error.message, kind) from error
        on_progress(1.0)
        return Made("copy", time.monotonic() - started)


@dataclass
class Answering:
    """Takes the service's client's place: whatever it is asked for, this is what it says of the result."""

    result: dict[str, Any]

    def ensure_running(self) -> dict[str, Any]:
        return {"api": 1}

    def submit_file(self, *_: object, **__: object) -> Answering:
        return self

    def wait(self, _: object) -> dict[str, Any]:
        return {"result": {"model": "web", "work_seconds": 1.5, **self.result}}

    def forget(self) -> None:
        pass


_left_open: list[Ledger] = []

Opened = TypeVar("Opened", bound=Ledger)


def left_open(one: Opened) -> Opened:
    """A ledger that is closed when the test is over, if not before."""
    _left_open.append(one)
    return one


@pytest.fixture(autouse=True)
def ledgers_are_closed() -> Iterator[None]:
    """Python 3.13 complains of one that is forgotten."""
    yield
    while _left_open:
        _left_open.pop().close()


class Workshop:
    """A watched folder, a state folder, and daemons to run on them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder = base / "pictures"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.daemon_values: dict[str, object] = {"state": base / "state", "retry_seconds": 0.05, "low_priority": False}
        self.folder_values: dict[str, object] = {"path": self.folder, "settle_seconds": 0.1}
        self.engine: Engine = Copying()
        self.model = "web"

    def settings(self, **folder: object) -> Settings:
        one = FolderSettings.model_validate({**self.folder_values, **folder})
        return Settings(EngineSettings(model=self.model), DaemonSettings.model_validate(self.daemon_values), (one,))

    def ledger(self) -> Ledger:
        """One more; closed when the test is over, if not before."""
        return left_open(Ledger(places.ledger_path(self.settings())))

    @property
    def store(self) -> Store:
        ledger = self.ledger()
        try:
            return Store(self.settings().daemon.originals_folder, ledger.originals.owner())
        finally:
            ledger.close()

    def once(self, **folder: object) -> dict[str, int]:
        """Runs a daemon until all is done; the counts of the ledger."""
        with self.running(once=True, **folder) as daemon:
            wait_until(lambda: not daemon.tick())
        return self.counts()

    def counts(self) -> dict[str, int]:
        ledger = self.ledger()
        counts = {state: count for state, count in ledger.overview.counts().items() if count}
        ledger.close()
        return counts

    @contextmanager
    def running(self, *, once: bool = False, settings: Settings | None = None, **folder: object) -> Iterator[Daemon]:
        """A daemon at work in this process; its main loop runs in a thread of its own unless `once`."""
        settings = settings or self.settings(**folder)
        with places.only_one(settings):
            ledger = self.ledger()
            daemon = Daemon(settings, ledger, self.engine, once=once)
            daemon.start()
            loop = threading.Thread(target=_loop, args=(daemon,), daemon=True)
            if not once:
                loop.start()
            try:
                yield daemon
            finally:
                daemon.stop()
                if not once:
                    loop.join()
                ledger.close()

    def leftovers(self) -> list[Path]:
        """Temporary files that recovery should have removed."""
        return [path for top in (self.folder, self.base / "state") for path in top.rglob(".liif-*.tmp")]


def _loop(daemon: Daemon) -> None:
    while daemon.tick():
        time.sleep(0.02)


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Returns when a condition holds; fails after a long while."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def size_of(path: Path) -> tuple[int, int]:
    probe = image_file.probe(path)
    return probe.width, probe.height


def at(monkeypatch: pytest.MonkeyPatch, step: str, action: Callable[[], object]) -> None:
    """Does something once, when a step is reached."""
    left = [action]

    def reached(name: str) -> None:
        if name == step and left:
            left.pop()()

    monkeypatch.setattr(steps, "on_step", reached)


def no_engine(_: Order) -> None:
    raise EngineError("no engine", "wait")


def invoke(*words: object) -> Any:
    """Runs `liif-daemon` with these words, in this process."""
    return CliRunner().invoke(cli.app, [str(word) for word in words], standalone_mode=False)


def check_whole(workshop: Workshop, path: Path, original: bytes) -> None:
    """Promise 1 and 2, and no temporaries."""
    assert path.read_bytes() == original
    assert workshop.leftovers() == []
