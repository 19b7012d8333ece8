"""The main loop: clocks, settings that change under it, and what a run that was killed left claimed."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import remains, run
from liif_daemon.at_work import AtWork
from liif_daemon.dispatch import Daemon
from liif_daemon.posts import Turn
from liif_daemon.reload import read_anew
from liif_daemon.settings import Settings
from liif_daemon.work import recover_jobs

from liif_engine.errors import UsageError

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


def test_the_claim_is_lowered_before_the_engine_is_asked_how_fast_it_is(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question of a first run may start the engine, which is to have the daemon's priority."""
    said: list[str] = []

    def agree(*_: Any, **__: Any) -> None:
        said.append("agree")
        raise UsageError("not agreed to")

    monkeypatch.setattr(run, "agree", agree)
    monkeypatch.setattr(run, "step_back", lambda: said.append("step back"))
    monkeypatch.setattr(run, "write_log", lambda *_, **__: None)
    workshop.daemon_values["low_priority"] = True
    with pytest.raises(UsageError):
        run.run(workshop.settings(), workshop.settings, once=True, ask=None)
    assert said == ["step back", "agree"]


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no niceness")
@pytest.mark.parametrize(("before", "after"), [(0, 10), (10, 10), (15, 15)])
def test_a_claim_that_is_low_already_is_not_lowered_again(before: int, after: int) -> None:
    """As under systemd, or `nice`."""
    code = f"import os; os.nice({before} - os.nice(0)); from liif_daemon.run import step_back; step_back();"
    if before < os.nice(0):
        pytest.skip("these tests run at a lower priority already, and no process may raise its own")
    done = subprocess.run([sys.executable, "-c", f"{code} print(os.nice(0))"], capture_output=True, check=True)
    assert int(done.stdout) == after


@pytest.mark.skipif(shutil.which("ionice") is None, reason="install ionice (util-linux) to run this")
@pytest.mark.parametrize(("before", "after"), [(["-c2", "-n0"], "best-effort: prio 7"), (["-c3"], "idle")])
def test_a_claim_to_the_disk_is_lowered_and_never_raised(before: list[str], after: str) -> None:
    code = "import os, subprocess; from liif_daemon.run import step_back; step_back();"
    code += "subprocess.run(['ionice', '-p', str(os.getpid())], check=True)"
    done = subprocess.run(["ionice", *before, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == after


def test_a_job_that_another_thread_claims_before_it_is_over_here_is_at_work_until_it_is_over_there(
    workshop: Workshop,
) -> None:
    """As one that has to wait for no time."""
    draw(workshop.folder / "a.jpg", 1)
    ledger = workshop.ledger()
    daemon = Daemon(workshop.settings(), ledger, Copying(), once=True)
    daemon.looker.look(workshop.folder / "a.jpg", daemon.settings)
    claims = []
    for _ in range(2):
        claims.append(daemon.at_work.claim([workshop.folder], ()))
        ledger.wait(claims[-1][0], "no engine", 0, counts=False)
    for jobs, is_over in zip(claims, [False, True], strict=True):
        daemon.at_work.over(jobs)
        assert daemon.at_work.is_over([workshop.folder], ()) == is_over
        assert not AtWork(ledger).is_over([workshop.folder], ()), "it waits for another try"
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
