"""The main loop: clocks, settings that change under it, and what a run that was killed left claimed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import remains
from liif_daemon.dispatch import Daemon
from liif_daemon.posts import Turn
from liif_daemon.reload import read_anew
from liif_daemon.settings import Settings
from liif_daemon.work import recover_jobs

from .workshop import Copying, Workshop, draw


def test_settings_whose_file_is_away_for_a_moment_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Many editors write a new file and rename it; in between there is none, which is no wish to watch nothing."""
    said: dict[str, Any] = {}
    daemon: Any = SimpleNamespace(
        settings=Settings(path=Path("/home/me/config.yaml")),
        progress=SimpleNamespace(write=said.update),
        ledger=None,
    )
    with caplog.at_level(logging.ERROR):
        assert read_anew(daemon, Settings) is None
    assert "/home/me/config.yaml" in said["config_error"]


def test_a_job_that_another_thread_claims_before_it_is_over_here_is_at_work_until_it_is_over_there(
    workshop: Workshop,
) -> None:
    """As one that has to wait for no time."""
    draw(workshop.folder / "a.jpg", 1)
    ledger = workshop.ledger()
    daemon = Daemon(workshop.settings(), ledger, Copying())
    daemon.looker.look(workshop.folder / "a.jpg", daemon.settings)
    claims = []
    for _ in range(2):
        claims.append(daemon.at_work.claim([workshop.folder], ()))
        ledger.wait(claims[-1][0], "no engine", 0, counts=False)
    for jobs, queued in zip(claims, [None, ledger.jobs()], strict=True):
        daemon.at_work.over(jobs)
        assert daemon.at_work.queued(()) == queued
    ledger.close()


def test_what_was_left_claimed_is_put_in_order_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads may ask for it at once: when a full disk under the ledger has room again."""
    draw(workshop.folder / "a.jpg", 1)
    ledger = workshop.ledger()
    daemon = Daemon(workshop.settings(), ledger, Copying())
    daemon.watcher.start()
    daemon.looker.look(workshop.folder / "a.jpg", daemon.settings)
    assert len(ledger.claim()) == 1
    other, calls = threading.Thread(target=daemon.recover, args=(Turn(),)), []

    def slowly(jobs: list[Any], bench: Any) -> bool:
        calls.append(jobs)
        if len(calls) == 1:
            other.start()
            other.join()  # and finds nothing left to do
        return recover_jobs(jobs, bench)

    monkeypatch.setattr(remains, "recover_jobs", slowly)
    daemon.recover(Turn())
    other.join()
    assert len(calls) == 1
    daemon.watcher.stop()
    ledger.close()
