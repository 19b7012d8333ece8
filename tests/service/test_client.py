"""The client: one source for Python 2.7 and 3.9+, each kind of work, errors that tell what to do."""

from __future__ import annotations

import ast
import errno
import inspect
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from liif_engine.service import client
from liif_engine.service.client import Cancelled, Client, NotRunning, ServiceError, WrongVersion
from liif_engine.service.client import client as client_calls

from ..conftest import picture
from .asking import PIXELS, SHAPE
from .conftest import SOURCE, Service, wait_until


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


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED])
def test_a_service_that_hangs_up_amid_the_body_is_heard_all_the_same(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Which of these the system says differs: Windows says the last one too."""
    ours, theirs = socket.socketpair()
    answer = b'{"error": {"message": "the picture is too large"}}'
    theirs.sendall(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    class HungUp(HTTPConnection):
        def send(self, data: Any) -> None:
            if not bytes(data).startswith(b"POST"):
                raise OSError(number, os.strerror(number))
            super().send(data)

    connection, one = HungUp("localhost"), Client("nowhere")
    connection.sock = ours
    monkeypatch.setattr(client_calls, "connect", lambda _: (connection, None))
    with closing(theirs), pytest.raises(ServiceError, match="the picture is too large"):
        one.open("POST", "/v1/jobs", b"pixels")


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
