"""A real GIMP that runs what the tests send it, with the plug-in installed, and the service that it finds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gimp_plugin import install
from gimp_plugin.gimps import Place
from liif_engine.network import checkpoint

from ..conftest import tiny_network
from ..service.conftest import Service
from . import chroot

INSIDE = Path(__file__).with_name("inside.py")

#: How long GIMP may take to answer on a loaded machine. [s]
PATIENCE_SECONDS = 90

#: How long it may take to start: with an empty profile it asks each of its plug-ins what it is. One that dies is
#: noticed at once. [s]
START_SECONDS = 300

#: How long a test may take that has to make the chroot first. [s]
CHROOT_SECONDS = 900

WORKERS = {"device": "cpu", "model": "copy", "engine": "gimp.engine:either", "patience_seconds": 30}

#: The engine as the plug-in starts it: outside the chroot, where its own Python is.
WRAPPER = """#!/bin/sh
exec /usr/sbin/chroot /proc/{pid}/root {python} "$@"
"""


STANDING_IN = Path(__file__).with_name("standing_in.py")

#: Debian's own Python, with the stand-in as its engine.
STANDING_PYTHON = """#!/bin/sh
PYTHONPATH={folder} exec /usr/bin/python3 "$@"
"""

#: An image with everything that must keep its place when it is enlarged.
FULL = """
image = new_image(40, 30)
below = add_layer(image, "below")
above = add_layer(image, "above", (11, 7), alpha=True, at=(5, 3))
above.set_opacity(60); above.set_mode(Gimp.LayerMode.MULTIPLY)
masked = add_layer(image, "masked", alpha=True)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 10, 20, 10)
masked.add_mask(masked.create_mask(Gimp.AddMaskType.SELECTION))
group = Gimp.GroupLayer.new(image); image.insert_layer(group, None, 0); group.set_name("group")
inner = add_layer(image, "inner", (8, 8), at=(30, 20), parent=group)
hidden = add_layer(image, "hidden"); hidden.set_visible(False)
image.add_vguide(13)
path_ = Gimp.Path.new(image, "path"); image.insert_path(path_, None, 0)
path_.stroke_new_from_points(Gimp.PathStrokeType.BEZIER, [1., 2., 1., 2., 1., 2., 9., 8., 9., 8., 9., 8.], False)
"""


class RealGimp:
    """One running GIMP.

    Args:
        home: a folder for this GIMP alone, at the same path inside and outside.
        folder: the chroot.
        arguments: how it is started, before the batch.
        environment: what it gets beside its own.
        shared: a folder above home that is to be seen inside too.
    """

    def __init__(
        self,
        home: Path,
        folder: Path,
        arguments: list[str],
        environment: dict[str, str] | None = None,
        shared: Path | None = None,
    ) -> None:
        self.home = home
        self.log = home / "gimp.log"
        place = Place(home / "profile" / "plug-ins", "test")
        install.install([place], python=str(home / "python"))
        (home / "python").write_text(WRAPPER.format(pid=os.getpid(), python=sys.executable))
        (home / "python").chmod(0o755)
        shutil.copy(INSIDE, home)
        own = {"HOME": home, "GIMP3_DIRECTORY": home / "profile", "LIIF_RUNTIME_DIR": home / "run"}
        own |= {"XDG_STATE_HOME": home / "state", "LIIF_TEST_FOLDER": home}
        given = {key: str(value) for key, value in own.items()} | (environment or {})
        batch = [
            "--batch-interpreter=python-fu-eval",
            "-b",
            f"exec(open({str(home / 'inside.py')!r}).read())",
            "--quit",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                chroot.command(folder, shared or home, [*arguments, *batch], given),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def do(self, code: str, *, images: str = "delete", seconds: float = PATIENCE_SECONDS) -> Any:
        """Runs code inside GIMP and returns what it leaves in `answer`; tests/gimp/inside.py has its vocabulary.

        Args:
            code: Python.
            images: ``keep`` leaves the images for the next call.
            seconds: how long it may take.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            self._connect(connection)
            text = f"keep = {images == 'keep'}\n{code}"
            with connection.makefile("rwb") as file:
                file.write(json.dumps(text).encode() + b"\n")
                file.flush()
                line = file.readline()
        assert line, self.log.read_text(errors="replace")[-3000:]
        row = json.loads(line)
        assert "error" not in row, row["error"]
        return row["answer"]

    def plug_ins(self) -> list[int]:
        """The process ids of our plug-in's runs in this GIMP."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            if f"{self.home}/profile/plug-ins/liif_restore/liif_restore.py".encode() in words:
                found.append(int(folder.name))
        return found

    def end(self) -> None:
        """Ends GIMP and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _connect(self, connection: socket.socket) -> None:
        def connected() -> bool:
            try:
                connection.connect(str(self.home / "driver"))
            except (FileNotFoundError, ConnectionRefusedError):
                assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
                return False
            return True

        until(connected, START_SECONDS)


@contextmanager
def standing_in(gimp: RealGimp) -> Iterator[Path]:
    """Has the plug-in take standing_in.py for the engine's `explain`; gives the folder of what it was asked."""
    folder = gimp.home / "stand-in"
    (folder / "liif_engine").mkdir(parents=True)
    shutil.copy(STANDING_IN, folder / "liif_engine" / "__main__.py")
    (folder / "python").write_text(STANDING_PYTHON.format(folder=folder))
    (folder / "python").chmod(0o755)
    record = gimp.home / "profile" / "plug-ins" / "liif_restore" / "engine.json"
    kept = record.read_text()
    record.write_text(json.dumps({"python": str(folder / "python")}))
    try:
        yield folder
    finally:
        record.write_text(kept)
        shutil.rmtree(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that wants GIMP may have to wait until its chroot is made."""
    for item in items:
        if "gimp_folder" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(CHROOT_SECONDS))


def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Waits for a condition and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="session")
def gimp_folder() -> Path:
    """The chroot; the first test to ask for it may wait for minutes: mark it with a timeout of its own."""
    try:
        return chroot.make()
    except chroot.NoChrootError as error:
        pytest.skip(f"no GIMP to test in: {error}")


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A folder with a short path, which a Unix socket needs."""
    folder = Path(tempfile.mkdtemp(prefix="liif-gimp-"))
    (folder / "run").mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def model(home: Path) -> Path:
    """A tiny random network as a checkpoint."""
    path = home / "tiny.safetensors"
    checkpoint.save(tiny_network(), path, {})
    return path


@pytest.fixture(scope="session")
def gimp(gimp_folder: Path, home: Path, model: Path) -> Iterator[RealGimp]:
    """A GIMP without a screen that all tests share."""
    assert model.exists()
    one = RealGimp(home, gimp_folder, ["gimp-console", "-n", "-i"])
    yield one
    one.end()


@pytest.fixture(scope="session")
def services() -> Iterator[list[Service]]:
    """The services started so far; at most one runs."""
    started: list[Service] = []
    yield started
    for one in started:
        one.kill()
        if one.process.stderr is not None:
            one.process.stderr.close()


@pytest.fixture
def engine(home: Path, services: list[Service]) -> Service:
    """The service that this GIMP finds; started anew if a test has ended it."""
    if not services or services[-1].process.poll() is not None:
        services.append(Service(str(home / "run"), {"workers": WORKERS}))
    return services[-1]
