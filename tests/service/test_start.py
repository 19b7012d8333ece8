"""The client finds the service or starts it: where the engine is, several at once, its log, strangers at its port."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from liif_engine.service import client
from liif_engine.service.client import Client, NotRunning
from liif_engine.service.client import interpreter as client_interpreter
from liif_engine.service.client import start as client_start

from .asking import PIXELS, SHAPE
from .conftest import ROOT, SOURCE, wait_until


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The services that the client has started, also those that came too late."""
    services: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        services.append(subprocess.Popen(*arguments, **options))
        return services[-1]

    monkeypatch.setattr(client_start, "subprocess", SimpleNamespace(Popen=start))
    return services


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]) -> Iterator[str]:
    """A folder in which no service is, and an installed engine that copies pixels."""
    folder = tempfile.mkdtemp(prefix="liif-")
    home = Path(folder, "home")
    (home / "liif-restore").mkdir(parents=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setattr(client_start, "START_CODE", START)
    monkeypatch.setattr(client_start, "IDLE_SECONDS", 60)
    yield folder
    # All of them: one that is still starting would take over from the one that ends.
    for service in started:
        service.terminate()
    for service in started:
        service.wait(30)
    shutil.rmtree(folder)


START = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
assert sys.argv[1:] == ["serve", "--exit-when-idle", "60"], sys.argv
assert "GIMP_SOMETHING" not in os.environ and "PYTHONHOME" not in os.environ
from liif_engine.service.serve import ServeSettings, serve
from liif_engine.workers import WorkerSettings
if __name__ == "__main__":
    serve(ServeSettings(workers=WorkerSettings(device="cpu", engine="faults:Faulty")))
"""


def pids(folder: str) -> list[int]:
    """Of the service in a folder, if it runs."""
    try:
        return [Client(folder, start=False).status()["pid"]]
    except NotRunning:
        return []


def test_it_starts_the_service_that_is_missing(alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIMP_SOMETHING", "1")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    one = Client(alone, python=sys.executable)
    assert one.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS
    assert pids(alone) != [os.getpid()]


def test_a_relative_folder_is_that_of_who_asks(alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(alone)
    monkeypatch.setenv("LIIF_RUNTIME_DIR", "run")
    monkeypatch.setattr(client_start, "START_SECONDS", 20)
    assert Client(python=sys.executable).status()["pid"] in pids(f"{alone}/run")


def test_what_it_starts_gets_its_arguments(alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_start, "START_CODE", "import sys; sys.exit(' '.join(sys.argv[1:]))")
    monkeypatch.setattr(client_start, "GIVE_UP_SECONDS", 0.1)
    with pytest.raises(NotRunning, match=r"serve .* --device cpu"):
        Client(alone, python=sys.executable, arguments=("--device", "cpu")).status()


def test_several_that_start_it_at_once_share_one(alone: str, started: list[subprocess.Popen[bytes]]) -> None:
    found: list[int] = []

    def call() -> None:
        found.append(Client(alone, python=sys.executable).status()["pid"])

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert len(found) == 4
    assert len(set(found)) == 1
    wait_until(lambda: [one.pid for one in started if one.poll() is None] == found[:1], "the others did not end")


def test_it_starts_another_when_the_service_has_died(alone: str) -> None:
    one = Client(alone, python=sys.executable)
    first = one.status()["pid"]
    os.kill(first, 9)
    assert one.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS
    assert one.status()["pid"] != first


def test_what_keeps_it_from_starting_is_told(alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_start, "START_CODE", "import sys; sys.exit('liif: config.yaml: line 3: unknown key')")
    monkeypatch.setattr(client_start, "GIVE_UP_SECONDS", 0.1)
    with pytest.raises(NotRunning, match="line 3: unknown key") as caught:
        Client(alone, python=sys.executable).status()
    assert caught.value.remedy
    with pytest.raises(NotRunning, match="cannot be started"):
        Client(alone, python=f"{alone}/no-such-python").status()


def test_the_log_of_a_service_that_lives_long_stays_short(alone: str) -> None:
    log = Path(alone, "engine.log")
    log.write_bytes(b"of an earlier one\n" * 100_000)
    Client(alone, python=sys.executable).status()
    assert log.stat().st_size < 1000
    with log.open("ab") as file:  # as the service and its workers do
        file.write(b"first\n" * 200_000)
    wait_until(lambda: log.stat().st_size < 1000, "the log was not cut")
    assert Path(alone, "engine.log.old").read_bytes().endswith(b"first\n" * 200_000)
    with log.open("ab") as file:
        file.write(b"then\n")
    assert log.read_bytes() == b"then\n"


def test_a_log_that_cannot_be_written_is_told(alone: str) -> None:
    Path(alone, "engine.log").mkdir()
    with pytest.raises(NotRunning, match="cannot be started"):
        Client(alone, python=sys.executable).status()


def test_where_the_engine_is_is_remembered(alone: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LIIF_PYTHON", raising=False)
    assert client.find_interpreter() == sys.executable, "this file is part of an installed engine"
    carried = tmp_path / "client"
    shutil.copytree(SOURCE, carried)
    monkeypatch.setattr(client_interpreter, "__file__", str(carried / "interpreter.py"))
    assert client.find_interpreter() is None
    with pytest.raises(NotRunning, match="not installed, or has never run") as caught:
        Client(alone).status()
    assert "pip install" in caught.value.remedy
    client.record_interpreter(sys.executable, "1.0")
    assert client.find_interpreter() == sys.executable
    (tmp_path / "engine.json").write_text(json.dumps({"python": "/bin/sh"}))
    assert client.find_interpreter() == "/bin/sh", "the installer's word goes first"
    monkeypatch.setenv("LIIF_PYTHON", "/my/python")
    assert client.find_interpreter() == "/my/python"


def test_the_runtime_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LIIF_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relative").mkdir()
    assert client.runtime_folder() == str(tmp_path / "liif-restore")
    monkeypatch.setenv("LIIF_RUNTIME_DIR", "/somewhere")
    assert client.runtime_folder() == "/somewhere"
    monkeypatch.delenv("LIIF_RUNTIME_DIR")
    for none in ("/no/such/folder", "relative"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", none)
        assert client.runtime_folder().endswith((f"/{os.getuid()}/liif-restore", f"liif-restore-{os.getuid()}"))


def test_a_relative_folder_of_the_xdg_variables_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    client.record_interpreter(sys.executable, "1.0")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert (tmp_path / "home" / ".local" / "state" / "liif-restore" / "engine.json").is_file()


class _Stranger(BaseHTTPRequestHandler):
    """Another program at a port that a service had: answers whatever it is asked, and remembers what it was shown."""

    shown: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.shown.append(str(self.headers))
        body = b'{"api": 1, "pid": 1}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stale(alone: str) -> Iterator[str]:
    """A folder as a service that was killed has left it; its port is a stranger's by now."""
    Path(alone).chmod(0o700)
    _Stranger.shown.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Path(alone, "engine.port").write_text(json.dumps({"port": server.server_address[1], "token": "secret"}))
        yield alone
        server.shutdown()
        thread.join()


def test_a_stranger_at_the_port_of_a_service_that_was_killed_is_told_nothing(stale: str) -> None:
    with pytest.raises(NotRunning, match="another program has its port"):
        Client(stale, start=False).status()
    assert len(_Stranger.shown) == 1
    assert "secret" not in _Stranger.shown[0]


def test_a_stranger_at_the_port_is_not_taken_for_the_service_that_is_starting(stale: str) -> None:
    one = Client(stale, python=sys.executable)
    assert one.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS
    assert one.status()["pid"] != 1


def test_a_port_where_nobody_listens_or_nobody_can_is_no_service(alone: str) -> None:
    Path(alone).chmod(0o700)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for port in (taken.getsockname()[1], 99999):
            Path(alone, "engine.port").write_text(json.dumps({"port": port, "token": "secret"}))
            with pytest.raises(NotRunning, match=f"port {port}"):
                Client(alone, start=False).status()
