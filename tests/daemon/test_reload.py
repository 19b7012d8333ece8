"""Settings that are read anew while the daemon works: nobody is held up, and nothing is missed."""

from __future__ import annotations

import dataclasses
import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import reload, run
from liif_daemon.settings import Settings

from liif_engine.errors import UsageError

from .workshop import Workshop, wait_until


def test_settings_that_take_long_to_read_hold_up_nobody(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those that name a huge folder, whose pictures are counted before it is agreed to."""
    counted, used = threading.Event(), list[Any]()
    monkeypatch.setattr(reload, "agree", lambda *_: counted.wait())
    ledger = workshop.ledger()
    daemon: Any = SimpleNamespace(
        settings=workshop.settings(),
        ledger=ledger,
        reload=used.append,
        progress=SimpleNamespace(write=lambda **_: None),
    )
    read = list[int]()

    def load() -> Settings:
        read.append(1)
        return workshop.settings(scale=3)

    one = reload.Reload(daemon, load)
    for _ in range(3):
        one.tick(asked=False)
    assert read == []
    for _ in range(3):
        one.tick(asked=True)
    assert used == []
    counted.set()
    wait_until(lambda: one.tick(asked=False) or len(read) == 2)  # once more, as was asked meanwhile
    assert used == [workshop.settings(scale=3)]
    ledger.close()


def test_settings_that_are_asked_for_while_they_are_read_keep_nobody_busy(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal that is not taken would end every pause of the main loop at once."""
    answers, rounds = threading.Event(), list[int]()
    monkeypatch.setattr(run, "_let_go", lambda _: None)
    signals: Any = SimpleNamespace(ends=False, reloads=False)

    def tick() -> bool:
        rounds.append(1)
        signals.reloads = True
        return len(rounds) < 4

    def load() -> Settings:
        answers.wait()
        return workshop.settings()

    daemon: Any = SimpleNamespace(
        settings=workshop.settings(), once=False, tick=tick, progress=SimpleNamespace(write=lambda **_: None)
    )
    taken = list[bool]()
    monkeypatch.setattr(run, "_pause", lambda *_: taken.append(not signals.reloads))
    run._loop(daemon, load, signals)
    answers.set()
    assert taken == [True] * 3


def test_a_reading_that_nobody_foresaw_to_fail_is_told_at_once(workshop: Workshop) -> None:
    said: dict[str, Any] = {}
    daemon: Any = SimpleNamespace(settings=workshop.settings(), progress=SimpleNamespace(write=said.update))

    def load() -> Settings:
        raise KeyError("maybe")

    assert reload.read_anew(daemon, load) is None
    assert "unexpected KeyError" in said["config_error"]


def test_a_config_that_is_written_again_within_a_tick_of_its_clock_is_read_again(workshop: Workshop) -> None:
    """Half of it may have been read; some file systems count whole seconds."""
    path = workshop.base / "config.yaml"
    read = list[str]()
    path.write_text("half", "utf-8")
    os.utime(path, (1.7e9, 1.7e9))
    daemon: Any = SimpleNamespace(
        settings=dataclasses.replace(workshop.settings(), path=path), progress=SimpleNamespace(write=lambda **_: None)
    )

    def load() -> Settings:
        read.append(path.read_text("utf-8"))
        raise UsageError("no matter what")

    one = reload.Reload(daemon, load)
    path.write_text("the whole", "utf-8")
    os.utime(path, (1.7e9, 1.7e9))
    wait_until(lambda: one.tick(asked=False) or read)
    assert read == ["the whole"]
