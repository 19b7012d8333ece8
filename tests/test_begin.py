"""Processes that hear no Ctrl+C, from their first moment on."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from liif_engine.begin import deaf
from liif_engine.lab import stream
from liif_engine.lab.degrade import Shares
from liif_engine.lab.pairs import PairShape, Pool
from liif_engine.workers import WorkerSettings
from liif_engine.workers.link import ProcessLink

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at /proc, which Linux has")


def blocked(pid: int | None) -> set[int]:
    """The signals that a process does not hear."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    mask = int(next(line for line in lines if line.startswith("SigBlk:")).split()[1], 16)
    return {number for number in signal.valid_signals() if mask >> (number - 1) & 1}


def test_a_worker_that_is_still_being_loaded_does_not_hear_ctrl_c() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    link = ProcessLink(WorkerSettings(device="cpu"), "cpu")
    try:
        assert {signal.SIGINT, signal.SIGTERM} <= blocked(link.pid)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before, "here it is heard"
    finally:
        link.kill()
        link.close()


def test_what_makes_training_pairs_hears_no_ctrl_c_but_can_be_ended(tmp_path: Path) -> None:
    (tmp_path / "pool").write_bytes(np.zeros(60 * 60 * 3, np.uint8).tobytes())
    shape = PairShape(patch=24, queries=4)
    recipe = stream.Recipe(Pool(tmp_path / "pool", ("a.png",), ((60, 60),)), 0, 1, shape, Shares(unscaled=1))
    with closing(stream.batches(recipe, 0, 1)) as pairs:
        next(pairs)
        (worker,) = multiprocessing.active_children()
        assert blocked(worker.pid) & {signal.SIGINT, signal.SIGTERM} == {signal.SIGINT}
    assert worker.exitcode == -signal.SIGTERM


def test_a_system_without_masks_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(signal, "pthread_sigmask")
    with deaf(signal.SIGINT):
        pass
