"""What the API refuses and why: jobs of no sense, limits, bodies that break off, strangers, and any request at all."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from PIL import Image

from liif_engine.service.client import connect

from . import fuzz
from .asking import PIXELS, asked, post, wait_for
from .conftest import Service, Start


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": 0.5}, "scale"),
        ({"scale": None}, "exactly one"),
        ({"size": [14, 15]}, "exactly one"),
        ({"scale": None, "size": [3, 3]}, "smaller than the picture"),
        ({"shape": [5, 7]}, "shape"),
        ({"shape": [5, 7, 5]}, "shape"),
        ({"shape": [5, 8, 3]}, "105 bytes; shape and dtype ask for 120"),
        ({"dtype": "i8"}, "dtype"),
        ({"layout": "CMYK"}, "four channels"),
        ({"priority": "boss"}, "priority"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"model": "../web"}, "absolute path"),
        ({"model": ""}, "model"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused_with_the_reason(
    service: Service, changes: dict[str, Any], words: str
) -> None:
    status, answer = post(service, **changes)
    assert status == 400
    assert words in answer["error"]["message"]
    assert answer["error"]["exit_code"] == 2


def test_a_format_that_does_not_exist_is_refused_with_those_that_do(service: Service) -> None:
    told = {"Content_Type": "image/png", "Liif_Job": json.dumps({"scale": 1, "model": "copy", "format": "xyz"})}
    status, answer = service.call("POST", "/v1/jobs", b"", **told)
    assert (status, answer["error"]["message"]) == (400, "there is no format 'xyz' of results")
    assert "png" in answer["error"]["remedy"]


@pytest.mark.parametrize(("body", "words"), [(b"", "is empty"), (b"x" * 99, "is not a picture of a known kind")])
def test_a_picture_that_was_sent_is_not_called_by_the_name_of_a_file(service: Service, body: bytes, words: str) -> None:
    told = {"Content_Type": "image/png", "Liif_Job": json.dumps({"scale": 1, "model": "copy"})}
    status, row = service.call("POST", "/v1/jobs", body, **told)
    assert status == 201, row
    assert wait_for(service, row["id"], "failed")["error"]["message"] == f"the picture: {words}"


def test_limits_are_refused_before_the_body_is_read(start: Start) -> None:
    limits = {"max_jobs": 1, "max_held_bytes": 1000, "max_seconds": 0.3}
    service = start(max_pixels=100, max_image_bytes=200, body_seconds=0.3, limits=limits)
    assert post(service, shape=[10, 11, 3])[0] == 413
    assert post(service, scale=4)[0] == 413
    assert post(service, b"x" * 201, "image/png", shape=None, dtype=None)[0] in {400, 413}
    status, answer = service.call(
        "POST", "/v1/jobs", b"x" * 201, Content_Type="image/png", Liif_Job=json.dumps({"scale": 1})
    )
    assert (status, answer["error"]["exit_code"]) == (413, 7)
    assert "path" in answer["error"]["remedy"]
    assert service.call("POST", "/v1/jobs", b" " * (1 << 17), Content_Type="application/json")[0] == 413
    png = io.BytesIO()
    Image.new("L", (11, 10)).save(png, "PNG")
    status, row = service.call(
        "POST", "/v1/jobs", png.getvalue(), Content_Type="image/png", Liif_Job=json.dumps({"scale": 1, "model": "copy"})
    )
    assert status == 201, row
    assert "110 pixels, more than the limit of 100" in wait_for(service, row["id"], "failed")["error"]["message"]

    running = post(service, model="slow:60")[1]["id"]
    wait_for(service, running, "running")
    assert post(service)[0] == 201
    status, answer = post(service)
    assert (status, answer["error"]["kind"]) == (429, "BusyError")
    row = wait_for(service, running, "failed")
    assert row["error"]["message"] == "the work took longer than 0.3 s"


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
def test_who_names_a_path_or_sends_too_many_pixels_is_not_told_to_name_a_path(service: Service, kind: str) -> None:
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    body = f"Liif-Job: {asked()}\r\nTransfer-Encoding: chunked\r\n\r\n{70_000:x}\r\n{' ' * 70_000}\r\n0\r\n\r\n"
    status, answer = fuzz.send(service, (head + body).encode())
    assert status == 413
    assert json.loads(answer)["error"]["remedy"] == "See docs/service.md."


def test_a_length_that_does_not_hold_sets_no_room_aside(service: Service) -> None:
    """A body in chunks goes on past the length that stands beside it."""
    head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nConnection: close\r\n"
    job = 'Liif-Job: {"scale": 1}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'
    status, answer = fuzz.send(service, f"{head}{job}9\r\n123456789\r\n0\r\n\r\n".encode())
    assert status == 400
    assert "Content-Length" in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize(
    ("head", "seconds", "status"),
    [
        (f"POST /v1/jobs HTTP/1.1\r\nContent-Type: application/octet-stream\r\nLiif-Job: {asked()}", 0.2, 400),
        ("POST /v1/jobs HTTP/1.1\r\nContent-Type: text/plain", 0, 400),
        ("GET /v1/models HTTP/1.1", 0, 400),
        ("GET /v1/jobs/{id}/events HTTP/1.1", 0.2, 200),
    ],
)
def test_a_body_that_turns_out_to_be_no_http_is_no_fault(start: Start, head: str, seconds: float, status: int) -> None:
    """It comes before the request is looked at, while more of it is waited for, or amid the answer."""
    service = start()
    _, job = post(service, model="slow:60")
    connection, _ = connect(service.folder)
    head, body = (
        f"{head.replace('{id}', job['id'])}\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        "no size\r\n",
    )
    for text in [head, body] if seconds else [head + body]:
        connection.sock.sendall(text.encode())
        time.sleep(seconds)
    answer = b"".join(iter(lambda: connection.sock.recv(4096), b""))
    connection.close()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"HTTP/1.1") == 1
    code, said = service.end()
    assert code == 0
    assert "Traceback" not in said


def test_a_body_that_stops_coming_is_given_up(start: Start) -> None:
    service = start(body_seconds=0.2)
    connection, _ = connect(service.folder)
    connection.putrequest("POST", "/v1/jobs")
    for name, value in (("Content-Type", "application/octet-stream"), ("Liif-Job", asked()), ("Content-Length", "105")):
        connection.putheader(name, value)
    connection.endheaders(PIXELS[:50])
    response = connection.getresponse()
    assert response.status == 408
    assert "no more of the body" in json.loads(response.read())["error"]["message"]
    connection.close()
    assert service.client.status()["memory"]["held_bytes"] == 0


def test_a_caller_that_goes_away_in_the_middle_of_the_body_leaves_nothing(service: Service) -> None:
    connection, _ = connect(service.folder)
    connection.putrequest("POST", "/v1/jobs")
    for name, value in (("Content-Type", "application/octet-stream"), ("Liif-Job", asked()), ("Content-Length", "105")):
        connection.putheader(name, value)
    connection.endheaders(PIXELS[:50])
    connection.close()
    deadline = time.monotonic() + 5
    while service.client.status()["memory"]["held_bytes"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert service.client.status()["memory"]["held_bytes"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/jobs", 405),
        ("PUT", "/v1/status", 405),
        ("POST", "/v1/jobs/", 404),
        ("GET", "/v1/status/", 404),
        ("GET", "/v1/jobs/none", 404),
        ("GET", "/v1/jobs/none/events", 404),
        ("DELETE", "/v1/jobs/..%2f..", 404),
        ("GET", "/v1/status", 200),
        ("GET", "/v1/models", 200),
    ],
)
def test_paths_and_methods(service: Service, method: str, path: str, status: int) -> None:
    found, answer = service.call(method, path)
    assert found == status
    assert status == 200 or answer["error"]["message"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/jobs", "POST"),
        ("/v1/jobs/none", "DELETE, GET, HEAD"),
        ("/v1/jobs/none/events", "GET"),
        ("/v1/status", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
    ],
)
def test_a_method_that_is_refused_hears_which_are_not(service: Service, path: str, methods: str) -> None:
    connection, _ = connect(service.folder)
    connection.request("PUT", path)
    response = connection.getresponse()
    assert (response.status, response.headers["Allow"]) == (405, methods)
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example:80"}, 403),
        ({"Host": "["}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1234"}, 200),
    ],
)
def test_web_pages_are_refused(service: Service, headers: dict[str, str], status: int) -> None:
    found, answer = service.call("GET", "/v1/status", **headers)
    assert found == status
    assert status == 200 or answer["error"]["retryable"] is False


@pytest.mark.parametrize("token", [None, "", "wrong", "right"])
def test_the_port_asks_for_the_token(service: Service, token: str | None) -> None:
    from http.client import HTTPConnection

    path = Path(service.folder, "engine.port")
    assert path.stat().st_mode & 0o777 == 0o600
    found = json.loads(path.read_text())
    connection = HTTPConnection("127.0.0.1", found["port"])
    headers = {} if token is None else {"Authorization": f"Bearer {found['token'] if token == 'right' else token}"}
    connection.request("GET", "/v1/status", headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == (200 if token == "right" else 401)
    assert response.getheader("WWW-Authenticate") == (None if token == "right" else "Bearer")


@pytest.fixture(scope="module")
def narrow() -> Iterator[Service]:
    """A service with small limits, for requests that make no sense."""
    folder = fuzz.new_folder()
    service = Service(folder, fuzz.SETTINGS)
    yield service
    code, said = service.end()
    shutil.rmtree(folder, ignore_errors=True)
    assert (code, "Traceback" in said) == (0, False), said


@settings(max_examples=200, deadline=None, derandomize=True)
@given(request=fuzz.REQUESTS)
def test_no_request_breaks_the_service(narrow: Service, request: bytes) -> None:
    """bench/service_fuzz.py sends 10,000."""
    status, answer = fuzz.send(narrow, request)
    assert status < 500, answer
    is_http = request.partition(b"\r\n")[0].endswith(b" HTTP/1.1")
    assert status or not is_http, "it hung up without a word"
    if status >= 400 and answer.startswith(b"{"):
        assert json.loads(answer)["error"]["message"]
