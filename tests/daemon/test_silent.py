"""A share whose server hangs answers no call, and no signal ends one: whoever asks waits. The other folders go on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import asked, asking, check, mounts, places, posts, run, scan, steps
from liif_daemon.dispatch import Daemon
from liif_daemon.engine import EngineError, Order
from liif_daemon.settings import Settings

from liif_engine.errors import ExitCode, UsageError

from .test_status import status
from .workshop import Copying, Workshop, draw, sha, size_of, wait_until


class Share:
    """A folder that stops answering: each call that names something in it waits."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self._answers = threading.Event()
        self._answers.set()
        for name in ("stat", "lstat", "scandir", "open", "rename", "unlink", "mkdir", "rmdir", "utime", "readlink"):
            monkeypatch.setattr(os, name, self._held_up(getattr(os, name)))

    def _held_up(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def held_up(path: Any = ".", *arguments: Any, **rest: Any) -> Any:
            if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(self.path):
                self._answers.wait()
            return call(path, *arguments, **rest)

        return held_up

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()


@pytest.fixture
def share(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Share]:
    monkeypatch.setattr(asking, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.1)
    path = workshop.base / "share"
    path.mkdir()
    one = Share(path, monkeypatch)
    yield one
    one.answer()


def both(workshop: Workshop, share: Share) -> Settings:
    one = workshop.settings()
    return one.with_folders([workshop.settings(path=share.path).folders[0], one.folders[0]])


def how(daemon: Daemon, path: Path) -> str:
    return next(row["how"] for row in daemon.folders() if row["path"] == str(path))


def test_a_folder_that_does_not_answer_holds_up_no_other(workshop: Workshop, share: Share) -> None:
    with workshop.running(settings=both(workshop, share)) as daemon:
        draw(share.path / "a.jpg", 1)
        wait_until(lambda: workshop.counts() == {"done": 1})
        share.hang()
        wait_until(lambda: how(daemon, share.path) == "silent")
        draw(workshop.folder / "b.jpg", 2)
        wait_until(lambda: size_of(workshop.folder / "b.jpg") == (40, 32))
        wait_until(lambda: "not answered since" in str(status(workshop)["folders"]))
        assert [row["how"] for row in status(workshop)["folders"]] == ["silent", "events"]
        share.answer()
        draw(share.path / "c.jpg", 3)
        wait_until(lambda: workshop.counts() == {"done": 3})
        assert how(daemon, share.path) == "events"


@pytest.mark.parametrize("hangs_at", ["claimed", "workplace made", "backup durable", "about to swap", "swapped"])
def test_work_that_is_held_up_holds_up_no_other(
    workshop: Workshop, share: Share, monkeypatch: pytest.MonkeyPatch, hangs_at: str
) -> None:
    at_work: list[str] = []

    def hang(step: str) -> None:
        if step == hangs_at and not at_work:
            at_work.append(step)
            share.hang()

    workshop.daemon_values["jobs_at_once"] = 1
    data = draw(share.path / "a.jpg", 1)
    monkeypatch.setattr(steps, "on_step", hang)
    with workshop.running(settings=both(workshop, share)) as daemon:
        wait_until(lambda: at_work)
        draw(workshop.folder / "b.jpg", 2)
        wait_until(lambda: size_of(workshop.folder / "b.jpg") == (40, 32))
        started = time.monotonic()
        daemon.stop()
        assert time.monotonic() - started < 8
    monkeypatch.undo()
    share.answer()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("job")])
    workshop.folder, workshop.folder_values["path"] = share.path, share.path
    assert workshop.once()["done"] == 2
    assert size_of(share.path / "a.jpg") == (40, 32)
    assert workshop.store.holds(sha(data))
    assert workshop.leftovers() == []


def test_a_folder_that_does_not_answer_keeps_no_daemon_from_starting(workshop: Workshop, share: Share) -> None:
    data = draw(share.path / "a.jpg", 1)
    settings = both(workshop, share)
    share.hang()
    places.check_layout(settings)
    draw(workshop.folder / "b.jpg", 2)
    with workshop.running(settings=settings) as daemon:
        wait_until(lambda: workshop.counts() == {"done": 1})
        wait_until(lambda: how(daemon, share.path) == "silent")
        share.answer()
        wait_until(lambda: workshop.counts() == {"done": 2})
    assert workshop.store.holds(sha(data))


def test_what_does_not_answer_in_a_folder_is_named_and_holds_up_no_other(
    workshop: Workshop, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a share that is mounted below the watched folder, which answers."""
    monkeypatch.setattr(posts, "HELD_UP_SECONDS", 0.5)
    share.path = share.path / "deep"
    draw(share.path / "a.jpg", 1)
    with workshop.running(settings=both(workshop, Share(share.path.parent, monkeypatch))) as daemon:
        wait_until(lambda: workshop.counts() == {"done": 1})
        share.hang()
        daemon.scan()
        wait_until(lambda: how(daemon, share.path.parent) == "silent")
        assert str(share.path) in str(daemon.folders())
        draw(workshop.folder / "b.jpg", 2)
        wait_until(lambda: workshop.counts() == {"done": 2})
        share.answer()
        wait_until(lambda: how(daemon, share.path.parent) == "events")
        draw(share.path / "c.jpg", 3)
        wait_until(lambda: workshop.counts() == {"done": 3})


def test_once_ends_though_a_folder_does_not_answer_and_says_so(
    workshop: Workshop, share: Share, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(workshop.folder / "b.jpg", 2)
    share.hang()
    with workshop.running(once=True, settings=both(workshop, share)) as daemon:
        wait_until(lambda: not daemon.tick())
        assert run._summary(daemon) is ExitCode.SEVERAL
    said = capsys.readouterr()
    assert said.out.startswith("1 restored, 0 left as they are, 0 failed, 0 waiting, 1 not to be read")
    assert f"{share.path}: it has not answered since" in said.err


def test_a_store_that_does_not_answer_holds_up_only_what_needs_it(workshop: Workshop, share: Share) -> None:
    workshop.daemon_values["originals"] = share.path / "originals"
    draw(workshop.folder / "a.jpg", 1)
    second = workshop.base / "second"
    draw(second / "b.jpg", 2)
    one = workshop.settings(keep_originals="none")
    settings = one.with_folders([one.folders[0], workshop.settings(path=second).folders[0]])
    share.hang()
    with workshop.running(settings=settings):
        wait_until(lambda: workshop.counts() == {"done": 1, "queued": 1})
        wait_until(lambda: "does not answer" in (status(workshop)["error"] or ""))
        share.answer()
        wait_until(lambda: workshop.counts() == {"done": 2})
        wait_until(lambda: status(workshop)["error"] is None)


def test_commands_go_on_without_it(workshop: Workshop, share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_engine", lambda *_: [])
    settings = both(workshop, share)
    path = workshop.folder / "b.jpg"
    draw(path, 2)
    workshop.once()
    ledger = workshop.ledger()
    share.hang()
    assert asked.as_watched(path, settings, ledger) == path
    counts = scan.scan(settings, ledger, again=False, dry_run=False, say=lambda _: None)
    assert counts == {"not to be read": 1, "restored already": 1}
    ledger.close()
    found = [finding for finding in check.check(settings, Any) if finding.level == "error"]  # type: ignore[arg-type]
    assert [finding.words for finding in found] == [f"{share.path}: {asking.SILENT_WORDS}"]
    with pytest.raises(UsageError, match="does not answer"):
        asked.folders([share.path, workshop.folder], {})


def test_an_answer_is_waited_for_in_the_very_moment_in_which_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Met(threading.Thread):
        def start(self) -> None:
            assert one.wait(0)
            super().start()

    one = asking.Question(lambda: None)
    monkeypatch.setattr(asking.threading, "Thread", Met)
    assert one.put()
    assert one.wait(60)


def test_a_folder_that_stops_answering_as_its_watching_is_begun_is_silent(
    workshop: Workshop, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large one takes long to be begun, and a server may go meanwhile."""
    is_network = mounts.is_network

    def hang(path: Path) -> bool:
        if path == share.path:
            share.hang()
        return is_network(path)

    monkeypatch.setattr(mounts, "is_network", hang)
    draw(workshop.folder / "b.jpg", 2)
    with workshop.running(once=True, settings=both(workshop, share)) as daemon:
        wait_until(lambda: not daemon.tick(), 40)
        assert how(daemon, share.path) == "silent"
    assert size_of(workshop.folder / "b.jpg") == (40, 32)


def test_a_folder_that_does_not_answer_and_is_taken_out_of_the_settings_holds_up_no_other(
    workshop: Workshop, share: Share
) -> None:
    """Though something is queued in it, of which it would be asked whether its folder has another name now."""

    def refuse(order: Order) -> None:
        if order.source.is_relative_to(share.path):
            raise EngineError("no engine", "wait")

    workshop.engine = Copying(refuse)
    workshop.daemon_values["retry_seconds"] = 600
    draw(share.path / "a.jpg", 1)
    with workshop.running(settings=both(workshop, share)) as daemon:
        wait_until(lambda: any(job.reason for job in daemon.ledger.jobs(state="queued")))
        share.hang()
        wait_until(lambda: how(daemon, share.path) == "silent")
        daemon.reload(workshop.settings())
        draw(workshop.folder / "b.jpg", 2)
        wait_until(lambda: size_of(workshop.folder / "b.jpg") == (40, 32), 40)


def test_a_folder_that_is_not_watched_any_more_is_not_touched_again(workshop: Workshop, share: Share) -> None:
    """As one that does not answer and was therefore taken out of the settings."""
    ledger = workshop.ledger()
    daemon = Daemon(both(workshop, share), ledger, Copying())
    folder = daemon.settings.folders[0]
    daemon.scans.ask(folder)
    daemon._hint(folder.path / "a.jpg", folder)
    daemon.reload(workshop.settings())
    assert share.path not in {*daemon.scans.due(()), *daemon._settling_now()}
    daemon.watcher.stop()
    ledger.close()
