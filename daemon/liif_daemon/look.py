"""A look at one file that has settled: what came of it is written down, whatever the file does to who looks."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path

from liif_daemon.examine import Verdict, examine, record
from liif_daemon.failures import DEATH, died_of
from liif_daemon.figures import Tally
from liif_daemon.ledger import Glance, Ledger
from liif_daemon.looking import Looking
from liif_daemon.names import why_not, why_not_there
from liif_daemon.settings import FolderSettings, Settings
from liif_daemon.store import hash_of
from liif_daemon.told import AT_THE_END
from liif_engine.errors import LiifError

log = logging.getLogger(__name__)


class Looker:
    """Looks at files, one at a time.

    Args:
        ledger: open.
        looking: keeps on disk which file it is.
        tally: counts failures.
        stopping: ends a pause.
        once: whether `missed` and `left` are wanted.

    Attributes:
        missed: with `once`, files and folders that could not be looked at, and why; the ledger has no rows of them.
        left: with `once`, results of ours and undone files, said to be left alone; no job was skipped for them.
    """

    def __init__(
        self, ledger: Ledger, looking: Looking, tally: Tally, stopping: threading.Event, *, once: bool
    ) -> None:
        self.ledger, self.looking, self.tally, self.stopping, self.once = ledger, looking, tally, stopping, once
        self.missed: dict[Path, str] = {}
        self.left: set[Path] = set()
        self._deadly: dict[Path, tuple[Glance, int]] = {}

    def left_at(self) -> Path | None:
        """The file at which the last daemon died; told once."""
        path = self.looking.left()
        self.looking.over()
        return path

    def count_death(self, path: Path) -> None:
        """The last daemon died at the look at this file.

        Raises:
            OutputError: the ledger cannot be written.
        """
        with suppress(OSError):  # it has gone
            glance = Glance.of(path)
            self._deadly[path] = glance, self.ledger.looks.died_of(path, glance)

    def look(self, path: Path, settings: Settings) -> bool:
        """Looks at a file, unless that was done; whether there is something to do.

        Raises:
            OutputError: the ledger cannot be read or written; with `once`, the file is missed.
        """
        folder = settings.folder_of(path)
        if folder is None or why_not(path, folder) is not None:  # other settings than those it was hinted at under
            return False
        self.looking.at(path)
        self.missed.pop(path, None)
        try:
            # What it was hinted at in may have given way to a link, which leads to files that nobody wants watched.
            return why_not_there(path, folder.path) is None and self._look(path, folder, settings)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.miss(path, error)
        except LiifError as error:
            self._miss(path, error.explain())
            if error.path == self.ledger.path and not self.once:
                raise
            log.error("%s", error.explain(), extra=AT_THE_END)
            self.stopping.wait(1)  # [s]; it will be said of each file
        except Exception as error:
            log.exception("%s: unexpected; looked at again at the next scan. Please report this.", path)
            self._miss(path, f"unexpected {type(error).__name__}: {error}. Please report this.")
        finally:
            self.looking.over()
        return False

    def miss(self, path: Path, error: OSError) -> None:
        """A file or a folder cannot be read."""
        why = f"cannot be read ({error.strerror})"
        self._miss(path, why)
        log.warning("%s: %s; looked at again at the next scan", path, why, extra=AT_THE_END)

    def _miss(self, path: Path, why: str) -> None:
        if self.once:  # a daemon that goes on for months has met many that have gone since
            self.missed[path] = why

    def _look(self, path: Path, folder: FolderSettings, settings: Settings) -> bool:
        if self.ledger.looks.knows(path, Glance.of(path), folder.rules):
            return False
        verdict = self._verdict(path, folder, settings)
        if record(path, folder, settings, self.ledger, verdict):
            return True
        if verdict.kind == "failed":
            self.tally.failed(verdict.cause)
            log.warning("%s: failed: %s", path, verdict.reason, extra=AT_THE_END)
            return False
        level = logging.DEBUG if verdict.in_its_place else logging.INFO
        log.log(level, "%s: left as it is: %s", path, verdict.reason)
        if self.once and level == logging.INFO and verdict.kind in {"ours", "undone"}:
            self.left.add(path)
        return False

    def _verdict(self, path: Path, folder: FolderSettings, settings: Settings) -> Verdict:
        if path in self._deadly:
            glance, deaths = self._deadly[path]
            if glance == Glance.of(path) and deaths >= settings.daemon.max_attempts:
                return Verdict("failed", died_of(deaths, "while it looked at it"), hash_of(path), glance, cause=DEATH)
        return examine(path, folder, settings, self.ledger)
