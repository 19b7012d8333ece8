"""The disk of the ledger is full, or gone: waited out, told, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import places, run, watcher
from liif_daemon.ledger import Ledger
from liif_daemon.ledger.database import Database
from liif_daemon.ledger.folders import Folders
from liif_daemon.reload import read_anew

from liif_engine.errors import ExitCode, OutputError

from .workshop import SOON, Copying, Workshop, at, draw, no_engine, size_of, wait_until


@contextmanager
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ledger's disk is full; the list says how often that was met."""
    met: list[str] = []

    @contextmanager
    def refuse(self: Database) -> Iterator[None]:
        met.append("full")
        raise OutputError("the ledger cannot be written (database or disk is full)", path=self.path)
        yield

    with monkeypatch.context() as context:
        context.setattr(Database, "change", refuse)
        yield met


def test_a_full_disk_under_the_ledger_is_waited_out(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    workshop.daemon_values["scan_seconds"] = 1
    with ExitStack() as opened:
        met: list[list[str]] = []
        at(monkeypatch, "backup written", lambda: met.append(opened.enter_context(full(monkeypatch))))
        with workshop.running() as daemon:
            wait_until(lambda: daemon.posts.faults or (met and len(met[0]) > 9), SOON)
            assert not daemon.posts.faults
            assert (workshop.folder / "a.jpg").read_bytes() == data
            assert 1 <= caplog.text.count("the ledger cannot be written") <= 3, "by each thread once"
            opened.close()
            wait_until(lambda: workshop.counts() == {"done": 1})


def test_the_log_says_it_when_the_ledger_cannot_be_used_for_another_reason(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whys = ["database or disk is full"] * 3 + ["attempt to write a readonly database"] * 3
    left = list(whys)

    def refuse(*_: object) -> None:
        raise OutputError(f"the ledger cannot be written ({left.pop(0) if left else whys[-1]})")

    monkeypatch.setattr("liif_daemon.find.Scans.make", refuse)
    with workshop.running():
        wait_until(lambda: not left, SOON)
    assert [caplog.text.count(why) for why in sorted(set(whys))] == [1, 1]


@pytest.mark.parametrize("where", ["look.Looker.look", "at_work.AtWork.claim"])
def test_the_log_says_it_once_though_there_is_rest_between_the_tries(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """A file settles anew before it is looked at again; what is left to put in order, nothing, goes well."""
    tries: list[str] = []

    def refuse(*_: object) -> None:
        tries.append(where)
        raise OutputError("the ledger cannot be written (database or disk is full)")

    draw(workshop.folder / "a.jpg", 1)
    workshop.daemon_values["jobs_at_once"] = 1
    monkeypatch.setattr(f"liif_daemon.{where}", refuse)
    with workshop.running() as daemon:
        wait_until(lambda: len(tries) > 3, SOON)
        assert daemon.progress.facts["error"]
    assert caplog.text.count("the ledger cannot be written") == 1


def test_a_run_once_ends_where_the_ledger_s_disk_stays_full(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = draw(workshop.folder / "a.jpg", 1)

    def refuse(*_: object) -> None:
        raise OutputError("the ledger cannot be written (database or disk is full)")

    monkeypatch.setattr("liif_daemon.find.Scans.make", refuse)
    refused = pytest.raises(OutputError, match="the ledger cannot be written")
    with refused, workshop.running(once=True) as daemon:
        wait_until(lambda: not daemon.tick(), SOON)
    monkeypatch.undo()
    assert (workshop.folder / "a.jpg").read_bytes() == data
    assert workshop.once() == {"done": 1}


def test_what_comes_while_the_ledger_s_disk_is_full_is_looked_at_when_it_has_room(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workshop.running() as daemon:
        wait_until(lambda: daemon._in_order.is_set() and not daemon.scans.due(()))
        with full(monkeypatch) as met:
            draw(workshop.folder / "a.jpg", 1)
            draw(workshop.folder / "b.jpg", 2)
            wait_until(lambda: len(met) > 9)
            wait_until(lambda: "cannot be written" in str(daemon.progress.facts["error"]))
        wait_until(lambda: workshop.counts() == {"done": 2}, SOON)
        wait_until(lambda: daemon.progress.facts["error"] is None)


def test_once_says_that_a_full_disk_under_the_ledger_kept_it_from_an_end(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    with ExitStack() as opened:
        at(monkeypatch, "engine done", lambda: opened.enter_context(full(monkeypatch)))
        with workshop.running(once=True) as daemon:
            wait_until(lambda: not daemon.tick(), SOON)
            assert run._summary(daemon) is ExitCode.SEVERAL
    assert capsys.readouterr().out.startswith("0 restored, 0 left as they are, 0 failed, 1 waiting")
    assert workshop.once() == {"done": 1}


def test_a_ledger_that_cannot_be_read_or_written_ends_no_main_loop(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher.mounts, "is_mount", lambda path: path == workshop.folder)
    ledger = workshop.ledger()
    one = watcher.Watcher(workshop.settings().folders, ledger, 1, lambda *_: None, lambda _: None)

    def refuse(*_: object, **__: object) -> Any:
        raise OutputError("the ledger cannot be read", path=ledger.path)

    with monkeypatch.context() as context:
        context.setattr(Folders, "marker", refuse)
        one.tick()
        assert one.status()[0]["how"] == "away"
    with monkeypatch.context() as context:
        context.setattr(Folders, "mark", refuse)
        one.tick()
        assert one.present()
        assert ledger.folders.marker(workshop.folder) is None
    one.tick()
    assert (
        ledger.folders.marker(workshop.folder) is not None
    )  # made up for: an unmounted share is to be told from an empty one
    one.stop()
    ledger.close()


def test_settings_that_change_while_a_share_is_dead_or_the_ledger_s_disk_is_full_end_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.engine = Copying(no_engine)
    workshop.daemon_values["retry_seconds"] = 600  # what waits is not at work when the settings change
    stat, said, withdraw = Path.stat, dict[str, Any](), Ledger.withdraw

    def dead(self: Path, **options: Any) -> os.stat_result:
        if self == workshop.folder:
            raise OSError(107, os.strerror(107), str(self))
        return stat(self, **options)

    def refuse(self: Ledger, *_: object) -> None:
        monkeypatch.setattr(Ledger, "withdraw", withdraw)
        raise OutputError("the ledger cannot be written", path=self.path)

    with workshop.running() as daemon:
        wait_until(lambda: any(job.reason for job in workshop.ledger().jobs(state="queued")))
        monkeypatch.setattr(daemon.progress, "write", lambda **facts: said.update(facts))
        with monkeypatch.context() as context:
            context.setattr(Path, "stat", dead)
            places.check_layout(workshop.settings(scale=3))
        read_anew(daemon, lambda: os.stat("/nowhere/at/all"))  # type: ignore[arg-type, return-value] # noqa: PTH116
        assert "/nowhere/at/all" in said["config_error"]
        daemon.engine = Copying()
        monkeypatch.setattr(Ledger, "withdraw", refuse)
        workshop.daemon_values["retry_seconds"] = 0.05
        daemon.reload(workshop.settings(scale=3))
        wait_until(lambda: workshop.counts() == {"done": 1, "skipped": 1}, SOON)
    assert size_of(workshop.folder / "a.jpg") == (60, 48)
