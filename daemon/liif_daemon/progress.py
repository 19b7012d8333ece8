"""What the daemon does now, for `status`: written to one small file about once a second while something changes."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from liif_daemon import places
from liif_daemon.ledger import Job
from liif_daemon.settings import Settings


class Progress:
    """The pictures at work and whatever else `status` shows; its methods may be called from any thread.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] = {"pid": os.getpid(), "started": time.time()}
        self._working: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._written = ""

    def at(self, job: Job, share: float) -> None:
        """A job has come so far."""
        with self._lock:
            row = self._working.setdefault(
                job.id, {"path": str(job.path), "target": job.target, "megapixels": job.width * job.height / 1e6}
            )
            row |= {"share": round(share, 3)}
            row.setdefault("since", time.time())

    def over(self, jobs: list[Job]) -> None:
        """Jobs are no longer at work."""
        with self._lock:
            for job in jobs:
                self._working.pop(job.id, None)

    def write(self, **facts: Any) -> None:
        """Writes the file if anything changed. A reader sees the old file or the new one; it is not worth an fsync."""
        with self._lock:
            self.facts |= facts
            text = json.dumps({**self.facts, "working": list(self._working.values())}, ensure_ascii=True)
            if text == self._written:
                return
            new = self.path.with_suffix(".new")
            with suppress(OSError):  # a full disk must not end the daemon because of its status
                new.write_text(text, "ascii")
                new.replace(self.path)
                self._written = text

    def remove(self) -> None:
        """The daemon ends."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def read(settings: Settings) -> dict[str, Any] | None:
    """What a running daemon last wrote; None if none runs."""
    if not places.is_running(settings):  # the number of one that was killed may be another process's by now
        return None
    try:
        found: dict[str, Any] = json.loads(places.status_path(settings).read_text("ascii"))
        if sys.platform != "win32":  # where 0 is no question but Ctrl+C, and a lock is always there to tell
            os.kill(int(found["pid"]), 0)
    except PermissionError:
        return found
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def watched(settings: Settings, running: dict[str, Any] | None) -> set[Path] | None:
    """The folders that the running daemon watches, which may have been named to it, or those of the settings.

    Returns:
        None: no daemon runs and the settings name none, so that the next run's are not known.
    """
    if running and "folders" in running:
        return {Path(row["path"]) for row in running["folders"]}
    return {folder.path for folder in settings.folders} or None
