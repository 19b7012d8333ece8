"""Callers that say nothing, stop reading or take every connection: none of them holds up another."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from PIL import Image

from liif_engine.crew import Crew
from liif_engine.service.client import connect
from liif_engine.service.serve import ServeSettings, serve

from .asking import PIXELS, SHAPE
from .conftest import Start, wait_until


def test_who_takes_all_connections_of_the_port_keeps_nobody_from_the_socket(start: Start) -> None:
    service = start(loopback=True)
    port = json.loads(Path(service.folder, "engine.port").read_text())["port"]
    with ExitStack() as stack:
        for _ in range(1000):
            last = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        assert last.recv(100).startswith(b"HTTP/1.1 503 ")
        assert service.client.status()["api"] == 1


def test_more_callers_than_files_may_be_open_wait_and_the_log_stays_short(start: Start) -> None:
    service = start(header_seconds=0.5)
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (64, 64))
    with ExitStack() as stack:
        for _ in range(100):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(f"{service.folder}/engine.sock")
        assert service.client.status()["api"] == 1
    _, said = service.end()
    assert [line for line in said.splitlines() if "Too many open files" in line][1:] == []
    assert "callers wait until others have gone" in said
    assert "Traceback" not in said


def test_who_says_nothing_is_hung_up_on(start: Start) -> None:
    service = start(header_seconds=0.2)
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(20)
        one.connect(f"{service.folder}/engine.sock")
        one.sendall(b"GET /v1/status HT")
        assert one.recv(100) == b""
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(f"{service.folder}/engine.sock")
    assert service.client.status()["api"] == 1


def test_who_says_nothing_more_after_an_answer_is_hung_up_on(start: Start) -> None:
    service = start(header_seconds=0.5)
    request = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(20)
        one.connect(f"{service.folder}/engine.sock")
        for _ in range(3):
            one.sendall(request)
            answer = b""
            while not answer.endswith(b"}}\n"):
                answer += one.recv(1 << 16)
            time.sleep(0.3)  # all three together are longer than one may take
        one.sendall(request[:-1])
        assert one.recv(100) == b""


def test_a_connection_is_kept_for_the_next_request_as_long_as_it_says(start: Start) -> None:
    service = start()
    connection, _ = connect(service.folder)
    for pause in (5.5, 0):  # more than uvicorn's own patience, and less than the 10 s of docs/service.md
        connection.request("GET", "/v1/status")
        assert json.loads(connection.getresponse().read())["api"] == 1
        time.sleep(pause)
    connection.close()


def test_who_stops_reading_a_result_amid_it_is_hung_up_on_and_holds_nobody_up(start: Start) -> None:
    service = start(send_seconds=0.5, limits={"max_held_bytes": 1 << 20})
    picture = BytesIO()
    Image.new("RGB", (1500, 1500)).save(picture, "PNG")  # 7 MB as the BMP that it becomes: more than may be held
    asked = {"scale": 1, "format": "bmp", "detach": True}
    first = service.client.submit_image(picture.getvalue(), **asked)
    first.wait()
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(30)
        one.connect(f"{service.folder}/engine.sock")
        one.sendall(b"GET /v1/jobs/%s/result HTTP/1.1\r\nHost: localhost\r\n\r\n" % first.id.encode())
        assert one.recv(100)
        first.forget()
        wait_until(lambda: service.client.status()["memory"]["held_bytes"] == 0, "it is held for who reads no more")
        service.client.submit_image(picture.getvalue(), **asked).wait()


def test_who_goes_away_amid_a_result_leaves_nothing_in_the_log(start: Start) -> None:
    service = start()
    job = service.client.submit_pixels(bytes(32 << 20), (2048, 4096, 4), "u8", scale=1, detach=True)
    job.wait()
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(f"{service.folder}/engine.sock")
        one.sendall(b"GET /v1/jobs/%s/result HTTP/1.1\r\nHost: localhost\r\n\r\n" % job.id.encode())
        one.recv(100)
    assert service.client.status()["queue"]["done"] == 1
    _, said = service.end()
    assert said.splitlines() == [f"liif: serving in {service.folder}"]


def test_who_reads_slowly_gets_the_whole_result(start: Start) -> None:
    service = start(send_seconds=2)
    pixels = os.urandom(4 << 20)
    job = service.client.submit_pixels(pixels, (1024, 1024, 4), "u8", scale=1, detach=True)
    job.wait()
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(30)
        one.connect(f"{service.folder}/engine.sock")
        one.sendall(b"GET /v1/jobs/%s/result HTTP/1.1\r\nHost: localhost\r\n\r\n" % job.id.encode())
        answer = b""
        while len(answer.partition(b"\r\n\r\n")[2]) < len(pixels):  # 3 s in all
            piece = one.recv(1 << 20)
            assert piece, "it hung up"
            answer += piece
            time.sleep(len(piece) * 3 / len(pixels))
    assert answer.endswith(pixels)


def test_the_port_is_of_no_use_without_the_token_even_for_results(start: Start) -> None:
    service = start(loopback=True)
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, detach=True)
    job.wait()
    connection = HTTPConnection("127.0.0.1", json.loads(Path(service.folder, "engine.port").read_text())["port"])
    for method, path in (("GET", f"/v1/jobs/{job.id}/result"), ("DELETE", f"/v1/jobs/{job.id}"), ("GET", "/metrics")):
        connection.request(method, path, headers={"Authorization": "Bearer "})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 401
        connection.close()
    assert job.result() == PIXELS


def test_when_it_says_that_it_serves_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool] = []

    class Said(StringIO):
        def write(self, text: str) -> int:
            if "serving in" in text:
                with socket.socket(socket.AF_UNIX) as one:
                    answers.append(one.connect_ex(f"{folder}/engine.sock") == 0)
            return super().write(text)

    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_STATE_HOME", folder)
        monkeypatch.setattr(sys, "stderr", Said())
        serve(ServeSettings(Path(folder), exit_when_idle=0, crew=Crew("here")))
    assert answers == [True]
