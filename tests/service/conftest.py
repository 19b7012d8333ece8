"""A service in a process of its own, with engines that copy pixels or fail on purpose."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liif_engine.service.client import Client, NotRunning

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "liif_engine" / "service" / "client"

CODE = """
import json, sys
from liif_engine.service.limits import Limits
from liif_engine.service.serve import ServeSettings, serve
from liif_engine.workers import WorkerSettings
from liif_engine.errors import LiifError
if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    workers = WorkerSettings(**given.pop("workers"))
    limits = Limits(**given.pop("limits", {}))
    try:
        sys.exit(serve(ServeSettings(limits=limits, workers=workers, **given)))
    except LiifError as error:
        sys.exit(error.explain())
"""

FAULTY = {"device": "cpu", "model": "copy", "engine": "faults:Faulty", "patience_seconds": 1}


class Service:
    """One running service."""

    def __init__(self, folder: str, settings: dict[str, Any], *, wait: bool = True) -> None:
        self.folder = folder
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        settings = {"workers": FAULTY, **settings, "folder": folder}
        # A file, since a pipe that nobody reads would hold the service up when it is full.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the service
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, json.dumps(settings)],
            env={**os.environ, "PYTHONPATH": path, "XDG_STATE_HOME": folder, "TMPDIR": folder},
            stderr=self._said,
        )
        self.client = Client(folder, start=False, name="test")
        if wait:
            self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client.ensure_running()
                return
            except NotRunning:
                assert self.process.poll() is None, self._closed()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        """Asks it to end; its exit code and what it said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Waits until it ends by itself; its exit code and what it said."""
        return self.process.wait(60), self._closed()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._closed()

    def _closed(self) -> str:
        """What it said to the end; may be asked once."""
        self._said.seek(0)
        said = self._said.read()
        self._said.close()
        return said

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, JSON or bytes) of a plain request."""
        from liif_engine.service import client

        connection, _ = client.connect(self.folder)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            response = connection.getresponse()
            text = response.read()
            kind = response.getheader("Content-Type") or ""
            return response.status, json.loads(text) if text and kind.startswith("application/json") else text
        finally:
            connection.close()


def wait_until(happens: Callable[[], bool], words: str) -> None:
    """Returns when something is so; fails with `words` if it does not come to be."""
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline, words
        time.sleep(0.02)


Start = Callable[..., Service]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts services with settings; they are ended with the test."""
    services: list[Service] = []
    # A short path: that of a Unix socket holds about 100 bytes.
    folder = tempfile.mkdtemp(prefix="liif-")

    def start_one(*, wait: bool = True, **settings: Any) -> Service:
        services.append(Service(folder, settings, wait=wait))
        return services[-1]

    yield start_one
    for service in services:
        if service.process.poll() is None:
            service.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service that the module's tests share."""
    folder = tempfile.mkdtemp(prefix="liif-")
    one = Service(folder, {"loopback": True})
    yield one
    code, said = one.end()
    shutil.rmtree(folder, ignore_errors=True)
    assert code == 0, said
    assert "Traceback" not in said
