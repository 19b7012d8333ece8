"""What /metrics says is what happened, on the socket and on a port of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from liif_engine.errors import ExitCode, ServiceError, UsageError
from liif_engine.figures import counter, show
from liif_engine.service.client import ServiceError as Refused

from ..conftest import picture
from .conftest import ROOT, Start

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def read(text: str) -> Figures:
    """As Prometheus reads them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(figures: Figures, name: str, **labels: str) -> float:
    return figures[f"liif_{name}", frozenset(labels.items())]


def assert_told(found: Figures) -> None:
    """docs/scale.md lists every figure."""
    text = (ROOT / "docs" / "scale.md").read_text("utf-8")
    missing = {name for name, _ in found if not re.search(rf"`{name.removeprefix('liif_')}[`{{]", text)}
    assert not missing


def test_the_figures_of_the_service(start: Start, tmp_path: Path) -> None:
    port = free_port()
    service = start(metrics=str(port))
    Image.fromarray(picture(48, 64)).save(tmp_path / "old.png")  # type: ignore[arg-type]
    service.client.restore_file(tmp_path / "old.png", tmp_path / "new.png", scale=2)
    service.client.restore_pixels(bytes(5 * 7 * 3), (5, 7, 3), "u8", scale=1)
    for model in ("crash", "refuse", "refuse"):
        with pytest.raises(Refused):
            service.client.restore_pixels(bytes(5 * 7 * 3), (5, 7, 3), "u8", scale=1, model=model)
    status, text = service.call("GET", "/metrics")
    found = read(text.decode())
    assert status == 200
    assert at(found, "jobs_total", state="done") == 2
    assert at(found, "failures_total", reason="WorkerError") == 1
    assert at(found, "failures_total", reason="NonFiniteError") == 2
    assert at(found, "source_pixels_total") == 48 * 64 + 35
    assert at(found, "result_pixels_total") == 4 * 48 * 64 + 35
    for stage in ("wait", "read", "restore", "write"):
        assert at(found, "stage_seconds_total", stage=stage) > 0
    assert at(found, "worker_restarts_total", worker="0") == 1
    assert at(found, "jobs_waiting", priority="person") == 0
    assert at(found, "retries_total") == 0
    for name in ("memory_bytes", "available_bytes"):
        assert at(found, name) > 1e6
    assert_told(found)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert read(answer.read().decode()).keys() == found.keys()


def test_a_port_that_is_taken_and_no_port_are_said() -> None:
    class Nothing:
        def collect(self) -> list[object]:
            return [counter("x", "x", 1)]

        def describe(self) -> list[object]:
            return []

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServiceError, match="cannot be shown"):
            show(str(taken.getsockname()[1]), Nothing())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="PORT"):
        show("everywhere", Nothing())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not at '0'"):
        show("0", Nothing())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--precision half", ExitCode.DEVICE, "there is no precision 'half'. Use auto, fp32 or bf16."),
        ("--device foo", ExitCode.DEVICE, "there is no device 'foo'"),
        ("--model webb+", ExitCode.MODEL, "there is no model 'webb': neither a file nor one of auto, fast"),
    ],
)
def test_what_no_worker_could_do_is_refused_before_anybody_is_served(
    tmp_path: Path, words: str, code: ExitCode, said: str
) -> None:
    environment = {**os.environ, "LIIF_RUNTIME_DIR": str(tmp_path / "run")}
    command = [sys.executable, "-m", "liif_engine", "serve", "--exit-when-idle", "1", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "serving" not in done.stderr


def test_a_port_that_is_taken_is_the_only_thing_that_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "liif_engine", "serve", "--metrics", str(taken.getsockname()[1])]
        environment = {**os.environ, "LIIF_RUNTIME_DIR": str(tmp_path / "run")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == ExitCode.ENGINE
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Name another host or port" in done.stderr
