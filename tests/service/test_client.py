"""The client: one source for Python 2.7 and 3.9+, finding and starting the service, errors that tell what to do."""

from __future__ import annotations

import ast
import inspect
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from liif_engine.service import client
from liif_engine.service.client import Cancelled, Client, NotRunning, ServiceError, WrongVersion
from liif_engine.service.client import client as client_calls
from liif_engine.service.client import interpreter as client_interpreter
from liif_engine.service.client import start as client_start

from ..conftest import picture
from .conftest import ROOT, Service, wait_until

SHAPE = (5, 7, 3)
PIXELS = picture(*SHAPE).tobytes()
SOURCE = ROOT / "liif_engine" / "service" / "client"


def interpreter(name: str) -> str:
    """A Python of that version: on the path, or one of pyenv's; skips the test if there is none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{name}"), *sorted(root.glob(f"versions/{name}.*/bin/python"))]
    for path in found:
        # pyenv's stand-ins on the path fail for versions that are not selected.
        if path is not None and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return str(path)
    pytest.skip(f"put python{name} on the path to run this")


@pytest.mark.parametrize("version", ["2.7", "3.9"])
def test_old_pythons_restore_with_it(service: Service, tmp_path: Path, version: str) -> None:
    python = interpreter(version)
    shutil.copytree(SOURCE, tmp_path / "client")  # as the plug-in carries it
    code = """
from __future__ import print_function
import sys, time
import client
one = client.Client(sys.argv[1], start=False)
shares = []
pixels = bytes(bytearray(range(105)))
data, shape = one.restore_pixels(pixels, (5, 7, 3), "u8", lambda state, share: shares.append(share), scale=1)
assert data == pixels and tuple(shape) == (5, 7, 3), shape
assert shares[-1] == 1, shares
try:
    one.restore_pixels(pixels, (5, 7, 3), "u8", scale=0.5)
except client.ServiceError as error:
    assert "scale" in error.explain() and error.status == 400 and not error.retryable, error.explain()
try:
    one.restore_pixels(pixels, (5, 7, 3), "u8", scale=1, model="crash")
except client.ServiceError as error:
    assert error.retryable and error.kind == "WorkerError", error.kind
job = one.submit_pixels(pixels, (5, 7, 3), "u8", scale=1, model="slow:60")
events = job.events()
assert next(events)["state"] in ("queued", "running")
events.close()
while job.state()["state"] != "cancelled":
    time.sleep(0.05)
try:
    job.wait()
except client.Cancelled as error:
    print(error.kind)
"""
    done = subprocess.run(
        [python, "-B", "-c", code, service.folder], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("Cancelled\n", "")


def test_it_imports_the_standard_library_only() -> None:
    nodes = [node for path in SOURCE.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.partition(".")[0] for name in names} - {"httplib", "urllib", "__future__"} <= sys.stdlib_module_names


def test_its_types_are_those_of_its_source() -> None:
    typed = ast.parse((SOURCE / "__init__.pyi").read_text())
    for node in typed.body:
        if isinstance(node, ast.FunctionDef):
            assert arguments(node) == list(inspect.signature(getattr(client, node.name)).parameters)
        elif isinstance(node, ast.ClassDef):
            kind = getattr(client, node.name)
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    assert arguments(method) == list(inspect.signature(getattr(kind, method.name)).parameters)
            public = {name for name, value in vars(kind).items() if inspect.isfunction(value) and name[0] != "_"}
            assert public <= {method.name for method in node.body if isinstance(method, ast.FunctionDef)}
    public = {name for name, value in vars(client).items() if inspect.isfunction(value) and name[0] != "_"}
    assert public <= {node.name for node in typed.body if isinstance(node, ast.FunctionDef)}


def arguments(node: ast.FunctionDef) -> list[str]:
    rest = [node.args.kwarg] if node.args.kwarg else []
    return [one.arg for one in [*node.args.args, *rest]]


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


def test_a_large_body_goes_in_pieces_each_with_a_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's timeout holds for all that it is given at once, and gigabytes take longer than an answer may."""
    ours, theirs = socket.socketpair()
    given: list[int] = []

    class Watched(socket.socket):
        def sendall(self, data: Any, *rest: Any) -> None:
            given.append(len(data))
            super().sendall(data, *rest)

    connection = HTTPConnection("localhost")
    connection.sock = Watched(fileno=ours.detach())
    monkeypatch.setattr(client_calls, "connect", lambda _: (connection, None))
    body, got = os.urandom(5_000_000), bytearray()

    def answer() -> None:
        while len(got) < len(body) or not got.endswith(body[-100:]):
            got.extend(theirs.recv(1 << 16))
        theirs.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")

    server = threading.Thread(target=answer, daemon=True)
    server.start()
    Client("nowhere").open("POST", "/v1/jobs", body, {"Content-Type": "application/octet-stream"}).close()
    server.join(30)
    theirs.close()
    head, _, sent = bytes(got).partition(b"\r\n\r\n")
    assert sent == body
    assert b"Content-Length: 5000000" in head
    assert max(given) <= 1 << 20


@pytest.mark.parametrize("answer", [b"Content-Length: 100\r\n\r\n{", b"Content-Length: 5\r\n\r\n<html"])
def test_an_answer_that_is_cut_or_anothers_means_that_the_service_is_not_there(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    def connect(_: str) -> tuple[HTTPConnection, None]:
        ours, theirs = socket.socketpair()
        connection = HTTPConnection("localhost")
        connection.sock = ours
        with theirs:
            theirs.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + answer)
            theirs.shutdown(socket.SHUT_WR)
        return connection, None

    monkeypatch.setattr(client_calls, "connect", connect)
    with pytest.raises(NotRunning, match="went away"):
        Client("nowhere", start=False).status()


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


def test_another_version_is_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_calls, "API", 2)
    with pytest.raises(WrongVersion, match="does not speak") as caught:
        Client(service.folder, start=False).status()
    assert f"kill {service.process.pid}" in caught.value.remedy


def test_a_large_body_that_is_refused_is_refused_in_words(service: Service) -> None:
    with pytest.raises(ServiceError, match="shape and dtype ask for"):
        service.client.submit_pixels(b"x" * 3_000_000, (5, 7, 3), "u8", scale=1)
    with pytest.raises(ServiceError, match="exactly one") as caught:
        service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, size=(10, 10))
    assert (caught.value.kind, caught.value.exit_code) == ("UsageError", 2)
    assert not caught.value.retryable


@pytest.mark.parametrize("name", ["plain.png", "späti ☕.png", b"latin-\xe4.png"])
def test_any_path_can_be_named(service: Service, tmp_path: Path, name: str | bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))  # noqa: PTH118 - bytes
    write_png(os.fsdecode(path))
    rest: dict[str, Any] = {"scale": 2, "priority": "backlog", "format": "png"}
    last = service.client.restore_file(path, path + b".part", **rest)
    assert last["result"]["width"] == 14
    assert last["result"]["format"] == "PNG"
    assert len(last["result"]["source_sha256"]) == 64
    assert os.path.exists(path + b".part")  # noqa: PTH110
    with pytest.raises(ServiceError, match="already exists") as caught:
        service.client.restore_file(path, path + b".part", **rest)
    assert not caught.value.retryable


def test_a_damaged_picture_is_not_worth_another_try(service: Service, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture at all")
    with pytest.raises(ServiceError) as caught:
        service.client.restore_file(bad, tmp_path / "out.jpg", scale=2)
    assert not caught.value.retryable
    assert caught.value.exit_code in {3, 4}
    assert str(bad) in caught.value.message
    with pytest.raises(ServiceError, match="missing") as caught:
        service.client.restore_file(tmp_path / "missing.jpg", scale=2)
    assert caught.value.exit_code == 3


def test_an_encoded_picture_comes_back_encoded(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    write_png(str(path))
    assert service.client.restore_image(path.read_bytes(), scale=2)[:4] == b"\x89PNG"
    assert service.client.restore_image(path.read_bytes(), scale=2, format="jpeg")[:2] == b"\xff\xd8"


def test_a_file_job_can_be_cancelled_and_leaves_nothing(service: Service, tmp_path: Path) -> None:
    path, out = tmp_path / "one.png", tmp_path / "out.png"
    write_png(str(path))
    job = service.client.submit_file(path, out, scale=2, model="slow:60")
    wait_until(lambda: job.state()["state"] == "running", "it did not start")
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert list(tmp_path.iterdir()) == [path]


def write_png(path: str) -> None:
    from PIL import Image

    Image.fromarray(picture(5, 7)).save(path, "PNG")  # type: ignore[arg-type]
