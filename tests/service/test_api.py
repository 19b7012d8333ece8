"""The API through a real socket: results, refusals, cancelling, and every request that makes no sense."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from liif_engine import Engine
from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif
from liif_engine.service.client import Cancelled, Client, ServiceError, connect

from ..conftest import picture
from . import fuzz
from .conftest import FAULTY, Service, Start

SHAPE = (5, 7, 3)
PIXELS = picture(*SHAPE).tobytes()
JOB = {"shape": SHAPE, "dtype": "u8", "scale": 1}


def asked(**changes: Any) -> str:
    return json.dumps({**JOB, **changes})


def post(service: Service, body: bytes = PIXELS, kind: str = "application/octet-stream", **changes: Any) -> Any:
    return service.call("POST", "/v1/jobs", body, Content_Type=kind, Liif_Job=asked(**changes))


def wait_for(service: Service, job: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row: dict[str, Any] = service.call("GET", f"/v1/jobs/{job}")[1]
        if row["state"] in states:
            return row
        time.sleep(0.02)
    raise AssertionError(f"{row} is none of {states}")


def test_the_result_is_that_of_the_engine(tmp_path: Path, start: Start, network: EdsrLiif) -> None:
    """`liif restore` uses the same `Engine`; one service for all cases, since loading torch takes seconds."""
    tiny = str(tmp_path / "tiny.safetensors")
    checkpoint.save(network, Path(tiny), {})
    service = start(workers={"device": "cpu", "model": tiny})
    for dtype, short, model in (
        ("uint8", "u8", tiny),
        ("uint16", "u16", tiny),
        ("float32", "f32", tiny),
        ("uint8", "u8", "auto"),
    ):
        pixels = picture(30, 41, 4, dtype=dtype)
        shares: list[float] = []
        data, shape = service.client.restore_pixels(
            pixels.tobytes(),
            pixels.shape,
            short,
            on_progress=lambda _, share, to=shares: to.append(share),  # type: ignore[misc]
            scale=2.3,
            model=model,
        )
        wanted = Engine(model, device="cpu").restore(pixels, scale=2.3)
        assert np.array_equal(np.frombuffer(data, dtype).reshape(shape), wanted), (dtype, model)
        assert shares == sorted(shares)
        assert shares[-1] == 1
    loaded = {row["name"] for row in service.client.models() if row["loaded"]}
    assert "web" in loaded, "what `auto` works with counts"
    assert loaded <= {"web", "published"}
    with pytest.raises(ServiceError, match="there is no model 'nothing'") as caught:
        service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1, model="nothing")
    assert (caught.value.exit_code, caught.value.retryable) == (6, False)


def test_a_size_may_be_given_instead_of_a_scale(service: Service) -> None:
    data, shape = service.client.restore_pixels(PIXELS, SHAPE, "u8", size=(14, 15))
    assert shape == (15, 14, 3)
    assert len(data) == 15 * 14 * 3


@pytest.mark.parametrize("fault", ["crash", "hang", "memory", "bug"])
def test_a_fault_in_the_middle_is_words_and_the_next_job_runs(service: Service, fault: str) -> None:
    with pytest.raises(ServiceError) as caught:
        service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1, model=fault)
    assert caught.value.remedy
    assert caught.value.exit_code in {7, 10}
    assert caught.value.retryable
    assert service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS


def test_closing_the_event_stream_cancels_the_job(service: Service) -> None:
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:60")
    events = job.events()
    while next(events)["state"] != "running":
        pass
    started = time.monotonic()
    events.close()
    assert wait_for(service, job.id, "cancelled")["error"]["message"] == "whoever followed the job has gone"
    assert time.monotonic() - started < 2


def test_a_detached_job_outlives_its_followers(service: Service) -> None:
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:0.5", detach=True)
    events = job.events()
    next(events)
    events.close()
    wait_for(service, job.id, "done")
    assert job.result() == PIXELS
    job.forget()


def test_a_person_does_not_wait_for_the_backlog(service: Service) -> None:
    """bench/service_priority.py measures it with the real network."""
    backlog = Client(service.folder, start=False, name="backlog")
    rest: dict[str, Any] = {"scale": 1, "model": "slow:60", "priority": "backlog", "detach": True}
    jobs = [backlog.submit_pixels(PIXELS, SHAPE, "u8", **rest) for _ in range(20)]
    wait_for(service, jobs[0].id, "running")
    assert service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS
    assert [job.state()["state"] for job in jobs] == ["running"] + 19 * ["queued"]
    for job in jobs[::-1]:
        job.cancel()
    wait_for(service, jobs[0].id, "cancelled")
    assert service.client.status()["queue"]["backlog"] == 0


def test_delete_cancels_a_waiting_and_a_running_job(service: Service) -> None:
    running = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:60")
    waiting = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1)
    wait_for(service, running.id, "running")
    assert service.call("DELETE", f"/v1/jobs/{waiting.id}")[0] == 200
    assert service.call("DELETE", f"/v1/jobs/{running.id}")[0] == 202
    wait_for(service, running.id, "cancelled")
    status, row = service.call("GET", f"/v1/jobs/{running.id}/result")
    assert status == 409
    assert row["error"]["kind"] == "Cancelled"
    with pytest.raises(Cancelled):
        running.wait()


def test_what_progress_raises_cancels(service: Service) -> None:
    def give_up(*_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        service.client.restore_pixels(PIXELS, SHAPE, "u8", give_up, scale=1, model="slow:60")
    assert service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS


def test_a_forgotten_job_is_gone_and_nothing_is_held(service: Service) -> None:
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1)
    job.wait()
    assert job.cancel()["state"] == "done"
    assert service.call("GET", f"/v1/jobs/{job.id}")[0] == 404
    assert service.client.status()["memory"]["held_bytes"] == 0


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


def test_the_client_uses_the_port_where_there_is_no_socket(service: Service, tmp_path: Path) -> None:
    (tmp_path / "engine.port").write_bytes(Path(service.folder, "engine.port").read_bytes())
    client = Client(str(tmp_path), start=False)
    assert client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS


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


def test_many_at_once_all_get_their_own(service: Service) -> None:
    """Forty callers in threads; each gets its own pixels back."""
    wrong = []

    def call(seed: int) -> None:
        pixels = picture(20, 30, seed=seed).tobytes()
        client = Client(service.folder, start=False, name=f"caller {seed % 5}")
        if client.restore_pixels(pixels, (20, 30, 3), "u8", scale=1)[0] != pixels:
            wrong.append(seed)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    status = service.client.status()
    assert status["memory"]["held_bytes"] == 0
    assert FAULTY["model"] == status["model"]
