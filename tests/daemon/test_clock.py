"""Promises of originals are kept by time that has passed, whatever a clock on the wall was set to meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from liif_daemon.ledger import Ledger, clock, originals

from .workshop import left_open

DAY = 86400.0  # [s]

#: What a machine whose battery is empty takes for now, and the time at which it is told better.
LOST, NOW = 946684800.0, 1.8e9


@dataclasses.dataclass
class Machine:
    """In the place of `time`, and of the system's word which start of the machine this is."""

    wall: float = NOW
    up: float = 100.0
    starts: int = 1

    def time(self) -> float:
        return self.wall

    def passes(self, seconds: float) -> None:
        """Time passes; also while it sleeps."""
        self.wall += seconds
        self.up += seconds

    def is_off(self, seconds: float, wall: float | None = None) -> None:
        """Time passes, and it is started again; maybe with another clock."""
        self.wall = self.wall + seconds if wall is None else wall
        self.up, self.starts = 50.0, self.starts + 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    one = Machine()
    monkeypatch.setattr(clock, "time", one)
    monkeypatch.setattr(originals, "time", one)
    monkeypatch.setattr(clock, "_since_boot", lambda: (f"start {one.starts}", one.up))
    return one


class Promises:
    """A ledger that promises one original after the other, each for 30 days."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.folder = left_open(Ledger(folder / "ledger")), folder

    def make(self, name: str) -> None:
        self.ledger.originals.promise(name, 1, self.folder, 30 * DAY)

    def over(self) -> list[str]:
        """Whose time is over; asked for every hour, as the daemon does."""
        now = self.ledger.clock.now()
        return sorted(row["sha256"] for row in self.ledger.originals.all() if row["until"] <= now)


@pytest.fixture
def promises(tmp_path: Path, machine: Machine) -> Iterator[Promises]:
    one = Promises(tmp_path)
    assert machine.starts == 1
    yield one
    one.ledger.close()


def test_a_promise_ends_when_its_time_has_passed(machine: Machine, promises: Promises) -> None:
    promises.make("a")
    machine.passes(29 * DAY)
    assert promises.over() == []
    promises.make("b")
    machine.passes(DAY)
    assert promises.over() == ["a"]


def test_a_promise_made_under_a_clock_that_had_lost_the_time_is_kept(machine: Machine, promises: Promises) -> None:
    machine.wall = LOST
    promises.make("a")
    machine.wall = NOW  # the network has told
    assert promises.over() == []
    machine.passes(29 * DAY)
    assert promises.over() == []
    machine.passes(DAY)
    assert promises.over() == ["a"]


def test_a_promise_made_under_a_clock_from_the_future_ends(machine: Machine, promises: Promises) -> None:
    promises.make("a")
    machine.wall = 4e9
    promises.make("b")
    machine.wall = NOW
    machine.passes(31 * DAY)
    assert promises.over() == ["a", "b"]


@pytest.mark.parametrize("wall", [None, LOST, 4e9])
def test_of_the_time_that_the_machine_was_off_a_day_at_most_is_believed(
    machine: Machine, promises: Promises, wall: float | None
) -> None:
    promises.make("a")
    machine.passes(28.5 * DAY)
    assert promises.over() == []
    machine.is_off(400 * DAY, wall)
    assert promises.over() == []
    machine.passes(1.5 * DAY)
    assert promises.over() == ["a"]


def test_a_machine_that_is_off_at_night_counts_its_nights(machine: Machine, promises: Promises) -> None:
    promises.make("a")
    for _ in range(30):
        assert promises.over() == []
        machine.passes(14 * 3600.0)
        promises.over()
        machine.is_off(10 * 3600.0)
    assert promises.over() == ["a"]


def test_how_long_an_original_is_kept_is_told_by_the_clock_on_the_wall(machine: Machine, promises: Promises) -> None:
    machine.wall = LOST
    promises.make("a")
    machine.wall = NOW
    machine.passes(10 * DAY)
    assert promises.ledger.originals.until("a") == pytest.approx(NOW + 30 * DAY)


def test_where_the_system_names_no_start_of_the_machine_each_process_counts_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "BOOT_ID", tmp_path / "missing")
    ours: Any = clock._since_boot()
    monkeypatch.setattr(clock, "_PROCESS", "another")
    assert clock._since_boot()[0] != ours[0]
    assert clock._since_boot()[1] >= ours[1]
