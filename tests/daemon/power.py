"""A disk that loses power: what may lie on it afterwards, by what was flushed and what was not.

The power may go before every change of names, every flush and every transaction. What is there then:

- a file: what it held at its last flush; where it was written to since, maybe nothing, or its first half and zeros;
- the names in a folder: those at its last flush, or those of now. Each top folder stands for a disk of its own, where
  all is as it was flushed, or as it is now; that one rename is there by half, no file system with a journal knows.

SQLite flushes by itself what it has committed, below what Python sees: of the ledger, all that is there. An archive's
journal is not flushed: all is there, or nothing.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from liif_engine.archive.journal import NAME as JOURNAL
from liif_engine.picture import exchange

LEDGER = "ledger.sqlite3"

#: What else the daemon keeps beside the ledger is worth no flush.
_WORTH_NONE = (LEDGER, JOURNAL, "daemon.", "looking", "prune.lock")

#: What is left of a file, by what it held at its last flush, if there was one, and holds now.
_LOSSES: tuple[Callable[[bytes | None, bytes], bytes], ...] = (
    lambda _, now: now,
    lambda flushed, _: flushed or b"",
    lambda _, now: now[: len(now) // 2].ljust(len(now), b"\0"),
)


@dataclass(frozen=True)
class Cut:
    """What is there after a power loss.

    Attributes:
        when: the call before which it came.
        tree: the bytes of each file and None for each folder, by its path below the base.
    """

    when: str
    tree: dict[str, bytes | None]

    def lay_out(self, base: Path) -> None:
        """Makes a folder hold this and nothing else; what is in it already stays the same, as inodes and times tell."""
        for path in sorted(base.rglob("*"), reverse=True):
            wanted = self.tree.get(str(path.relative_to(base)), b"" if path.is_dir() else None)
            if path.is_dir() and wanted is not None:
                path.rmdir()
            elif path.is_file() and wanted != path.read_bytes():
                path.unlink()
        for name, content in self.tree.items():
            if content is None:
                (base / name).mkdir(exist_ok=True)
            elif not (base / name).exists():
                (base / name).write_bytes(content)


class Disk:
    """What is below a folder; all that is there at the beginning is flushed.

    Args:
        base: the folder.

    Attributes:
        cuts: all that may be there after a power loss, each once.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.cuts: list[Cut] = []
        self._seen = set[frozenset[tuple[str, bytes | None]]]()
        self._lock = threading.RLock()
        self._pins: dict[int, int] = {}  # an inode that is held open is given to no other file
        self._top = base.stat().st_ino
        self._folders: dict[int, str] = {self._top: "."}
        self._names = self._now()
        self._bytes = {one: self._read(one) for one in self._pins if one not in self._folders}

    @contextmanager
    def losing_power(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """At each step of what is done inside."""
        with ExitStack() as stack:
            patch = stack.enter_context(monkeypatch.context())
            for name in ("rename", "replace", "link", "unlink", "mkdir", "rmdir"):
                self.cut_before(patch, os, name)
            self.cut_before(patch, exchange, "_rename")
            patch.setattr(os, "fsync", self._flushing(os.fsync))
            yield
            self._cut("the end")
        for pin in self._pins.values():
            os.close(pin)

    def cut_before(self, patch: pytest.MonkeyPatch, where: object, name: str) -> None:
        """The power may also go before this function is called."""
        call = getattr(where, name)

        def called(*arguments: Any, **rest: Any) -> Any:
            with self._lock:
                if not any(Path(str(one)).name.startswith(_WORTH_NONE) for one in arguments):
                    self._cut(f"{name}({', '.join(map(str, arguments))})")
                return call(*arguments, **rest)

        patch.setattr(where, name, called)

    def _flushing(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def called(descriptor: int) -> None:
            with self._lock:
                self._cut(f"fsync({Path(f'/proc/self/fd/{descriptor}').readlink()})")
                call(descriptor)
                one = os.fstat(descriptor).st_ino
                if one in self._folders:
                    self._names[one] = self._now().get(one, {})
                elif one in self._pins:
                    self._bytes[one] = self._read(one)

        return called

    def _now(self) -> dict[int, dict[str, int]]:
        """The names in each folder, and the inodes that they stand for."""
        found: dict[int, dict[str, int]] = {}

        def walk(folder: str, number: int) -> None:
            found[number] = {}
            for entry in list(os.scandir(folder)):
                if entry.name.startswith(_WORTH_NONE):
                    continue
                one = entry.inode()
                if one not in self._pins:
                    self._pins[one] = os.open(entry.path, os.O_PATH | os.O_NOFOLLOW)
                found[number][entry.name] = one
                if entry.is_dir(follow_symlinks=False):
                    self._folders[one] = os.path.relpath(entry.path, self.base)
                    walk(entry.path, one)

        walk(str(self.base), self._top)
        return found

    def _read(self, one: int) -> bytes:
        return Path(f"/proc/self/fd/{self._pins[one]}").read_bytes()

    def _disk(self, folder: int) -> str:
        return self._folders[folder].partition(os.sep)[0]

    def _cut(self, when: str) -> None:
        """The power may go now."""
        for tree in self.left():
            key = frozenset(tree.items())
            if key not in self._seen:
                self._seen.add(key)
                self.cuts.append(Cut(when, tree))

    def left(self) -> list[dict[str, bytes | None]]:
        """What may be there if the power goes now, as `Cut.tree` has it."""
        with self._lock:
            now = self._now()
            changed = {one for one, names in now.items() if self._names.get(one, {}) != names}
            disks = {self._disk(one) for one in changed}
            fresh = [changed, set[int]()]
            for disk in disks:
                here = {one for one in changed if self._disk(one) == disk}
                fresh += [here, changed - here]
            ledgers = {path.relative_to(self.base): _committed(path) for path in self.base.rglob(LEDGER)}
            journals = {path.relative_to(self.base): path.read_bytes() for path in self.base.rglob(f"{JOURNAL}*")}
            found = list[dict[str, bytes | None]]()
            for some in fresh:
                names = self._names | {one: now[one] for one in some}
                for lose in _LOSSES:
                    tree = dict(self._tree(self._top, "", names, lose))
                    for databases in [ledgers | journals] + [ledgers] * bool(journals):
                        there = {str(path): data for path, data in databases.items() if str(path.parent) in tree}
                        found.append(tree | there)
            return found

    def _tree(
        self, folder: int, prefix: str, names: dict[int, dict[str, int]], lose: Callable[[bytes | None, bytes], bytes]
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, one in names.get(folder, {}).items():
            if one in self._folders:
                yield prefix + name, None
                yield from self._tree(one, f"{prefix}{name}/", names, lose)
            else:
                now, flushed = self._read(one), self._bytes.get(one)
                yield prefix + name, now if now == flushed else lose(flushed, now)


def _committed(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as ledger, closing(sqlite3.connect(":memory:")) as copy:
        ledger.backup(copy)
        return copy.serialize()
