"""The main loop: clocks, settings that change under it, and what a run that was killed left claimed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import dispatch, run
from liif_daemon.dispatch import Daemon
from liif_daemon.settings import Settings
from liif_daemon.work import recover_jobs

from .workshop import Copying, Workshop, draw


class Machine:
    """In the place of `time`: a clock on the wall, and clocks since boot that run while it sleeps, and do not."""

    CLOCK_BOOTTIME = 7

    def __init__(self) -> None:
        self.wall, self.awake, self.asleep = 1e9, 100.0, 0.0

    def time(self) -> float:
        return self.wall + self.awake + self.asleep

    def monotonic(self) -> float:
        return self.awake

    def clock_gettime(self, _: int) -> float:
        return self.awake + self.asleep

    def sleep(self, seconds: float) -> None:
        self.awake += seconds


@pytest.mark.parametrize(("change", "prunings"), [({"asleep": 30000.0}, 2), ({"wall": 2e9}, 1)])
def test_originals_are_let_go_after_the_machine_slept_but_not_by_a_clock_that_was_set(
    change: dict[str, float], prunings: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine, rounds, pruned = Machine(), iter([{}, change, None]), list[object]()

    def prune(*ledger_and_store: object, **_: object) -> SimpleNamespace:
        pruned.append(ledger_and_store)
        return SimpleNamespace(count=0)

    def tick() -> bool:
        happens = next(rounds)
        if happens:
            vars(machine).update(happens)
            machine.awake += run.PRUNE_SECONDS + 1
        return happens is not None

    daemon: Any = SimpleNamespace(settings=Settings(), once=False, tick=tick, ledger=None, store=None)
    monkeypatch.setattr(run, "time", machine)
    monkeypatch.setattr(run, "prune", prune)
    run._loop(daemon, Settings, SimpleNamespace(ends=False, reloads=False))  # type: ignore[arg-type]
    assert len(pruned) == prunings
    assert ("clock was moved" in caplog.text) == (prunings == 1)


def test_settings_whose_file_is_away_for_a_moment_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Many editors write a new file and rename it; in between there is none, which is no wish to watch nothing."""
    said: dict[str, Any] = {}
    daemon: Any = SimpleNamespace(
        settings=Settings(path=Path("/home/me/config.yaml")),
        progress=SimpleNamespace(write=said.update),
        reload=lambda _: pytest.fail("the settings were dropped"),
        ledger=None,
    )
    with caplog.at_level(logging.ERROR):
        run._reload(daemon, Settings)
    assert "/home/me/config.yaml" in said["config_error"]


def test_what_was_left_claimed_is_put_in_order_once(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads may ask for it at once: when a full disk under the ledger has room again."""
    draw(workshop.folder / "a.jpg", 1)
    ledger = workshop.ledger()
    daemon = Daemon(workshop.settings(), ledger, Copying())
    daemon.watcher.start()
    daemon._look(workshop.folder / "a.jpg")
    assert len(ledger.claim()) == 1
    other, calls = threading.Thread(target=daemon.recover), []

    def slowly(jobs: list[Any], bench: Any) -> bool:
        calls.append(jobs)
        if len(calls) == 1:
            other.start()
            other.join(0.5)  # it waits for this one to end; without that it would be through by now
        return recover_jobs(jobs, bench)

    monkeypatch.setattr(dispatch, "recover_jobs", slowly)
    daemon.recover()
    other.join()
    assert len(calls) == 1
    daemon.watcher.stop()
    ledger.close()
