"""Files that were hinted at wait here until they have settled: nobody writes them any more."""

from __future__ import annotations

import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from liif_daemon.free import is_open_for_writing


@dataclass
class _Waiting:
    settle_seconds: float
    closed: bool
    hints: int = 1
    looks: tuple[int, int] | None = None
    since: float = 0.0


class Settling:
    """Paths on their way from a hint to a look; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._waiting: defaultdict[Path | None, dict[Path, _Waiting]] = defaultdict(dict)
        self._lock = threading.Lock()

    def hint(self, path: Path, settle_seconds: float, *, closed: bool = False, folder: Path | None = None) -> None:
        """Something may have happened to a file.

        Args:
            path: the file.
            settle_seconds: how long it has to stay as it is.
            closed: a writer has just closed it, or it was renamed to this name: no need to wait if nobody else writes.
            folder: in which it is watched.
        """
        with self._lock:
            found = self._waiting[folder].get(path)
            if found is None:
                self._waiting[folder][path] = _Waiting(settle_seconds, closed)
            else:
                found.closed |= closed
                found.hints += 1

    def folders(self) -> list[Path | None]:
        """The folders in which files wait."""
        with self._lock:
            return [folder for folder, files in self._waiting.items() if files]

    def settled(self, folder: Path | None = None, on_look: Callable[[Path], object] = lambda _: None) -> list[Path]:
        """The files of a folder that have settled since the last call; those that have gone are forgotten.

        Args:
            folder: as it was hinted at.
            on_look: told of each file before it is looked at.
        """
        with self._lock:
            waiting = list(self._waiting[folder].items())
        ready = []
        for path, state in waiting:
            on_look(path)
            hints = state.hints
            verdict = _look(path, state)
            if verdict is None:
                continue
            with self._lock:
                if not verdict and state.hints > hints:
                    continue  # it came while it was found not to be there
                if self._waiting[folder].pop(path, None) is not None and verdict:
                    ready.append(path)
        return ready

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._waiting.values()))


def _look(path: Path, state: _Waiting) -> bool | None:
    """True: settled; False: no file to look at; None: not yet."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # the look will say what is wrong
    if not stat.S_ISREG(found.st_mode):
        return False
    try:
        writing = is_open_for_writing(path)
    except FileNotFoundError:
        return False
    except OSError:
        writing = None
    now, looks = time.monotonic(), (found.st_size, found.st_mtime_ns)
    if looks != state.looks or writing:
        first = state.looks is None and not writing
        state.looks, state.since = looks, now
        if not first:
            return None
    if state.closed and writing is False:
        return True
    # A clock that was moved makes ages meaningless: only a plausible one saves the wait. That of a share's server may
    # differ from ours, and there nobody tells who writes.
    age = time.time() - found.st_mtime
    if writing is False and max(state.settle_seconds, 1) <= age < 1e9:
        return True
    return True if now - state.since >= state.settle_seconds else None
