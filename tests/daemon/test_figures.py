"""The daemon's figures are what happened; the log is JSON, with a job's name in every process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from liif_daemon.engine import EngineError, Order
from liif_daemon.figures import Figures
from PIL import Image

from liif_engine.figures import text_of
from tests.service.test_figures import assert_told, at, free_port, read

from .test_kills import checkpoint
from .workshop import Copying, Workshop, draw, wait_until

__all__ = ["checkpoint"]  # a fixture


def test_the_figures_of_the_daemon(workshop: Workshop) -> None:
    sizes = [len(draw(workshop.folder / f"{name}.jpg", seed)) for seed, name in enumerate("abc")]
    (workshop.folder / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    Image.new("F", (20, 16)).save(workshop.folder / "float.tif")
    left = [EngineError("the process that did the work crashed", "again", "WorkerError")]

    def fail_once(_: Order) -> None:
        if left:
            raise left.pop()

    workshop.engine = Copying(before=fail_once)
    with workshop.running(once=True) as daemon:
        wait_until(lambda: not daemon.tick())
        found = read(text_of(Figures(daemon.ledger, daemon.tally, daemon.settings.daemon.originals_folder)))
    assert_told(found)
    assert at(found, "daemon_jobs", state="done") == 3
    assert at(found, "daemon_retries_total", reason="WorkerError") == 1
    failures = {dict(labels)["reason"]: value for (name, labels), value in found.items() if "daemon_failures" in name}
    assert failures == {"TruncatedError": 1, "UnsupportedError": 1}
    assert at(found, "daemon_source_pixels_total") == 3 * 320
    assert at(found, "daemon_result_pixels_total") == 3 * 1280
    assert at(found, "daemon_originals") == 3
    assert at(found, "daemon_store_bytes") == sum(sizes)
    assert at(found, "daemon_waiting_pixels") == 0
    assert at(found, "daemon_memory_bytes") > 1e6
    for stage in ("look", "engine", "verify", "replace"):
        assert at(found, "daemon_stage_seconds_total", stage=stage) > 0


def test_one_name_of_a_job_in_the_log_of_every_process(tmp_path: Path, checkpoint: Path) -> None:
    """The daemon, the service that it starts, and that one's worker."""
    runtime, port = tempfile.mkdtemp(prefix="liif-"), free_port()
    draw(tmp_path / "pictures" / "a.jpg", 1)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"engine: {{model: {checkpoint}, device: cpu}}\n"
        f"daemon: {{state: {tmp_path / 'state'}, metrics: {port}, low_priority: false}}\n"
        f"folders: [{{path: {tmp_path / 'pictures'}, settle_seconds: 0.1}}]\n"
    )
    environment = {**os.environ, "LIIF_RUNTIME_DIR": runtime, "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "liif_daemon", "run", "--log-json", "--config", str(config)]
    daemon = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:

        def is_done() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    figures = read(answer.read().decode())
            except OSError:
                return False
            return figures.get(("liif_daemon_jobs", frozenset({("state", "done")}))) == 1

        wait_until(is_done)
    finally:
        daemon.send_signal(signal.SIGTERM)
        said = daemon.communicate(timeout=60)[1]
        logs = list(Path(runtime).glob("engine.log")) + list(tmp_path.rglob("engine.log"))
        from liif_engine.service.client import Client

        os.kill(Client(runtime, start=False).status()["pid"], signal.SIGTERM)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    lines += [json.loads(line) for path in logs for line in path.read_text().splitlines() if line.startswith("{")]
    about = {line["pid"] for line in lines if line.get("job") == "daemon-1"}
    assert len(about) == 3, lines
    assert daemon.pid in about
