"""What the system told nothing of is found all the same: watches refused, events lost, watching broken off."""

from __future__ import annotations

import ctypes
import errno
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import observe, overflow, watcher
from liif_daemon.settings import FolderSettings

from .workshop import Workshop, draw, wait_until


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_without_inotify_watches_it_polls_and_says_what_to_do(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class Exhausted:
        def schedule(self, *_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        def stop(self) -> None: ...

        def is_alive(self) -> bool:
            return False

    monkeypatch.setattr(observe, "Observer", Exhausted)
    workshop.daemon_values["poll_seconds"] = 0.1
    with workshop.running() as daemon:
        status = daemon.watcher.status()[0]
        assert status["how"] == "polling"
        assert "sysctl" in status["why"]
        draw(workshop.folder / "a.jpg", 1)
        wait_until(lambda: workshop.counts() == {"done": 1})


class Watches:
    """A system that gives a user so many inotify watches and no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        inotify = pytest.importorskip("watchdog.observers.inotify_c", reason="only Linux has inotify")
        self.most, self.given, self._add = most, 0, inotify.inotify_add_watch
        monkeypatch.setattr(inotify, "inotify_add_watch", self)

    def __call__(self, file: int, path: bytes, mask: int) -> int:
        if self.given >= self.most:
            ctypes.set_errno(errno.ENOSPC)
            return -1
        self.given += 1
        return int(self._add(file, path, mask))


def test_watches_refused_for_subfolders_alone_are_noticed(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(9):
        (workshop.folder / str(n)).mkdir()
    Watches(monkeypatch, 3)
    with workshop.running() as daemon:
        assert daemon.watcher.status()[0]["how"] == "polling"


def test_a_watch_refused_for_a_subfolder_that_comes_is_noticed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "LEAST_SECONDS", 0.0)
    workshop.daemon_values["poll_seconds"] = 0.1
    watches = Watches(monkeypatch, 99)
    with workshop.running() as daemon:
        wait_until(daemon.watcher.present)
        assert daemon.watcher.status()[0]["how"] == "events"
        watches.most = watches.given
        (workshop.folder / "new").mkdir()
        wait_until(lambda: daemon.watcher.status()[0]["how"] == "polling")
        draw(workshop.folder / "new" / "a.jpg", 1)
        wait_until(lambda: workshop.counts() == {"done": 1})


def test_subfolders_that_come_while_watching_is_begun_are_no_sign_of_refused_watches(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a copy of a tree that goes on meanwhile."""
    walk, numbers = os.walk, itertools.count()

    def growing(top: str | bytes | Path, **options: Any) -> Iterator[Any]:
        if Path(os.fsdecode(top)) == workshop.folder:
            for _ in range(9):
                (workshop.folder / str(next(numbers))).mkdir()
        yield from walk(top, **options)

    monkeypatch.setattr(os, "walk", growing)
    with workshop.running() as daemon:
        monkeypatch.undo()
        assert daemon.watcher.status()[0]["how"] == "events"


def test_an_overflow_of_events_leads_to_a_scan(workshop: Workshop) -> None:
    with workshop.running() as daemon:
        wait_until(lambda: not daemon.scans.due(()))
        asked = threading.Event()
        daemon.watcher.on_lost = lambda _: asked.set()
        logging.getLogger("watchdog.observers.inotify_c").warning(
            "Inotify queue overflowed; filesystem events were lost"
        )
        assert asked.wait(30)


def test_an_overflow_amid_the_look_for_one_is_not_forgotten() -> None:
    class Late(threading.Event):
        def is_set(self) -> bool:
            found = super().is_set()
            self.set()
            return found

    one = overflow.Overflow()
    one._seen = Late()
    assert not one.taken()
    assert one.taken()


def test_an_overflow_leads_to_no_look_at_what_nobody_has_agreed_to(workshop: Workshop) -> None:
    """It would be known from then on, and the next start would have nothing to ask about."""
    ledger, lost = workshop.ledger(), list[FolderSettings]()
    one = watcher.Watcher(
        workshop.settings().folders, ledger, 1, lambda *_: None, lost.append, lambda _: "nobody was asked"
    )
    one.start()
    assert one.status()[0]["why"] == "nobody was asked"
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed")
    one.tick()
    one.stop()
    ledger.close()
    assert lost == []


@pytest.mark.parametrize("polling", [False, True])
def test_watching_that_broke_off_is_begun_anew(
    workshop: Workshop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, polling: bool
) -> None:
    """watchdog's threads end at an error of their own, and nobody is told."""
    monkeypatch.setattr(observe, "LEAST_SECONDS", 0.0)
    with workshop.running(polling=polling) as daemon:
        wait_until(daemon.watcher.present)
        watch = daemon.watcher._watches[0]
        assert watch.observation is not None
        kinds = {type(thread) for thread in watch.observation._threads}
        assert len(kinds) >= 2
        for kind in sorted(kinds, key=repr):
            before = watch.observation
            next(thread for thread in before._threads if type(thread) is kind).stop()  # type: ignore[attr-defined]
            wait_until(lambda before=before: watch.observation not in {None, before})
        assert caplog.text.count("begun anew") == len(kinds)
        draw(workshop.folder / "a.jpg", 1)
        wait_until(lambda: workshop.counts() == {"done": 1})


def test_what_events_missed_the_next_scan_finds(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe._Handler, "on_any_event", lambda *_: None)
    workshop.daemon_values["scan_seconds"] = 1
    with workshop.running():
        draw(workshop.folder / "a.jpg", 1)
        wait_until(lambda: workshop.counts() == {"done": 1})
