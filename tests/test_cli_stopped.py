"""The ``liif`` command when it is stopped by a signal, or when nobody listens to it any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from liif_engine.errors import ExitCode

from .calling import jpeg, liif, model, names

__all__ = ["liif", "model"]  # fixtures


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_in_the_middle_nothing_is_half_written(tmp_path: Path, which: signal.Signals) -> None:
    old = jpeg(tmp_path / "old.jpg", 600, 400)
    command = [sys.executable, "-m", "liif_engine", "restore", str(old), "--scale", "4", "--model", "published"]
    command += ["--precision", "fp32", "--verbose"]
    before = signal.signal(
        which, signal.default_int_handler
    )  # under nohup the command would inherit that it is ignored
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(which, before)
    with process:
        assert process.stderr is not None
        assert "model published" in process.stderr.readline()  # the work begins
        time.sleep(0.5)
        process.send_signal(which)
        words = process.stderr.read()
        assert process.wait(60) == ExitCode.INTERRUPTED
    assert "Traceback" not in words
    assert "stopped" in words
    assert names(tmp_path) == {"old.jpg"}


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_service_that_is_told_to_end_while_it_is_being_loaded_has_not_failed(
    liif: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, which: signal.Signals
) -> None:
    monkeypatch.setattr("liif_engine.service.serve.serve", lambda _: signal.raise_signal(which))
    assert liif("serve") == (0, "", "")


def test_work_goes_on_when_nobody_reads_what_is_said(tmp_path: Path) -> None:
    """As after `liif restore *.jpg | head -1`."""
    olds = [jpeg(tmp_path / f"{n}.jpg") for n in "ab"]
    command = [sys.executable, "-m", "liif_engine", "restore", *map(str, olds), "--model", "published"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=100)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "2 of 2 restored\n")
    assert names(tmp_path) == {"a.jpg", "b.jpg", "a@2x.jpg", "b@2x.jpg"}


def test_training_that_is_stopped_says_that_the_same_command_goes_on(
    liif: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr("liif_engine.lab.train.train", stopped)
    code, _, err = liif("train", "--data", tmp_path, "--steps", 1)
    assert code == ExitCode.INTERRUPTED
    assert err == "liif: stopped; nothing is half-written, and the same command goes on\n"
