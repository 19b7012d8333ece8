"""Runs, kills, lost journals and people's own files in any order: no run changes what exists, none is done twice."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liif_engine.archive.journal import NAME, Journal
from liif_engine.picture import image_file
from tests.archive.folders import draw, restore

NAMES = ["a.jpg", "b.bmp", "deep/c.png"]


class _Killed(BaseException):
    """Ends a run when a result has its name and no row says so, as a kill would."""


class Place:
    """A source, a destination, and what may happen to them."""

    def __init__(self, base: Path) -> None:
        self.source, self.new, self.seeds = base / "old", base / "new", count(1)
        for name in NAMES:
            draw(self.source / name, next(self.seeds))

    def run(self, quality: int) -> None:
        """A whole run; the next one with these settings has nothing to do."""
        with self.unchanged():
            restore(self.source, self.new, quality=quality)
        with self.unchanged():
            assert restore(self.source, self.new, quality=quality).restored == 0

    def run_and_die(self, quality: int) -> None:
        """A run that dies with its first result."""

        def die(*_: object) -> None:
            raise _Killed

        with self.unchanged(), pytest.MonkeyPatch.context() as patch, suppress(_Killed):
            patch.setattr(Journal, "done", die)
            restore(self.source, self.new, quality=quality)

    def put(self, name: str) -> None:
        """Somebody puts a picture of the result's size there."""
        draw(self.new / name, next(self.seeds), 40, 32)

    def take(self, name: str) -> None:
        """Somebody deletes what lies there."""
        (self.new / name).unlink(missing_ok=True)

    def edit(self, name: str) -> None:
        """The original becomes another one."""
        draw(self.source / name, next(self.seeds))

    def lose_journal(self, _: str) -> None:
        """Somebody deletes the journal."""
        (self.new / NAME).unlink(missing_ok=True)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """What exists stays as it is, and whatever is new has the size of a result."""
        before = self.facts()
        yield
        after = self.facts()
        assert before.items() <= after.items()
        for path in after.keys() - before.keys():
            assert image_file.probe(path).width == 40

    def facts(self) -> dict[Path, tuple[int, int, bytes]]:
        """All pictures with their inode, time and content."""
        paths = [top / name for top in (self.source, self.new) for name in NAMES]
        stats = [(path, path.stat()) for path in paths if path.exists()]
        return {path: (found.st_ino, found.st_mtime_ns, path.read_bytes()) for path, found in stats}


def happenings() -> st.SearchStrategy[tuple[Callable[..., None], object]]:
    runs = st.tuples(st.sampled_from([Place.run, Place.run_and_die, Place.run_and_die]), st.sampled_from([95, 50]))
    people = [Place.put, Place.take, Place.edit, Place.lose_journal]
    return runs | st.tuples(st.sampled_from(people), st.sampled_from(NAMES))


@pytest.mark.timeout(300)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(happenings(), min_size=2, max_size=7))
def test_no_run_changes_what_exists_and_none_is_done_twice(what: list[tuple[Callable[..., None], object]]) -> None:
    with tempfile.TemporaryDirectory() as base:
        place = Place(Path(base))
        for happens, to in what:
            happens(place, to)
        place.run(95)
