"""The evidence for a picture: `liif explain` as a child process, one at a time; the latest reports are kept."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liif_daemon.ledger import Job
from liif_engine.errors import LiifError

log = logging.getLogger(__name__)

#: The engine computes, never this process.
COMMAND = (sys.executable, "-m", "liif_engine", "explain")

#: The largest scale that it explains; what compression destroyed is the same at every scale.
MOST_SCALE = 16.0

#: The child gives way to whatever the user does meanwhile.
NICENESS = 10

#: Finished reports that are kept in memory, the latest always. [bytes]
PAGES_BYTES = 128 << 20


@dataclass(frozen=True)
class Report:
    """How far a report is.

    Attributes:
        state: ``waits``, ``made``, ``ready`` or ``failed``.
        percent: done.
        words: what is being done, or why it failed.
        page: the finished report.
    """

    state: str
    percent: int = 0
    words: str = ""
    page: bytes = b""


class Evidence:
    """Reports by the row that they are of. Methods may be called from any thread.

    Args:
        config: config.yaml for the child, if there is one.
        command: what makes a report.
    """

    def __init__(self, config: Path | None, command: Sequence[str] = COMMAND) -> None:
        self.config, self.command = config, command
        self._reports: dict[tuple[int, str], Report] = {}
        self._child: subprocess.Popen[str] | None = None
        self._ended = False
        self._lock = threading.RLock()
        self._one_by_one = ThreadPoolExecutor(1, "evidence")

    def of(self, job: Job) -> Report | None:
        """The report of a row; None if nobody has asked for it, or if newer ones have taken its place."""
        return self._reports.get((job.id, job.source_sha256))

    def ask(self, job: Job, read: Callable[[], bytes], model: str = "") -> None:
        """Has a report made, unless it is there or under way.

        Args:
            job: the row.
            read: gives the original's bytes, when its turn has come: many may wait. What it raises is the report's.
            model: a name or a checkpoint's path; empty for the settings' own.
        """
        with self._lock:
            known = self.of(job)
            if self._ended or (known is not None and known.state != "failed"):
                return
            self._say(job, Report("waits"))
            try:
                self._one_by_one.submit(self._make, job, read, model)
            except RuntimeError as error:  # the system gives no thread
                self._say(job, Report("failed", words=f"it could not be begun ({error}); try again later"))

    def close(self) -> None:
        """Ends the child, if there is one; nothing is made any more."""
        with self._lock:
            self._ended = True
            if self._child is not None:
                self._child.terminate()
        self._one_by_one.shutdown(cancel_futures=True)

    def _make(self, job: Job, read: Callable[[], bytes], model: str) -> None:
        try:
            report = self._made(job, read, model)
        except LiifError as error:
            report = Report("failed", words=error.explain())
        except OSError as error:
            report = Report("failed", words=error.strerror or str(error))
        except Exception as error:  # else it would be waited for until the page ends
            log.exception("%s: unexpected, at its report. Please report this.", job.path)
            report = Report("failed", words=f"unexpected {type(error).__name__}: {error}. Please report this.")
        self._say(job, report)

    def _made(self, job: Job, read: Callable[[], bytes], model: str) -> Report:
        with tempfile.TemporaryDirectory(prefix="liif-review-") as folder:
            # Under its own name, which the report tells; in the store it has none.
            picture, out = Path(folder, "of", job.path.name), Path(folder, "report.html")
            picture.parent.mkdir()
            picture.write_bytes(read())
            wrong = self._run(job, [str(picture), "--out", str(out), *self._options(job, model)])
            return Report("failed", words=wrong) if wrong else Report("ready", page=out.read_bytes())

    def _options(self, job: Job, model: str) -> list[str]:
        scale = min(max(1.0, job.out_width / max(1, job.width)), MOST_SCALE)
        options = ["--progress", "json", "--scale", f"{scale:g}", *(["--model", model] if model else [])]
        return options + (["--config", str(self.config)] if self.config else [])

    def _run(self, job: Job, arguments: list[str]) -> str:
        """Runs the child to its end; why it failed, or nothing."""
        with self._lock:
            if self._ended:
                return "the page has ended"
            self._child = subprocess.Popen(
                [*self.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        with self._child as child:
            if sys.platform != "win32":
                with suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
            last = ""
            assert child.stderr is not None
            for line in child.stderr:
                last = self._hear(job, line) or last
        with self._lock:
            self._child = None
        return "" if child.returncode == 0 else last or f"`liif explain` ended with {child.returncode}"

    def _hear(self, job: Job, line: str) -> str:
        """One line of the child's; returns the error that it speaks of, or the line if it is none of the protocol's."""
        try:
            said = json.loads(line)
            if "error" in said:
                return f"{said['error']}. {said.get('remedy', '')}".strip()
            if "share" in said:
                self._say(job, Report("made", round(100 * said["share"]), str(said.get("step", ""))))
        except (ValueError, TypeError):
            return line.strip(" \n│╭╮╰╯─")
        return ""

    def _say(self, job: Job, report: Report) -> None:
        key = job.id, job.source_sha256
        with self._lock:
            self._reports.pop(key, None)
            self._reports[key] = report
            finished = [key for key, one in self._reports.items() if one.page]
            while sum(len(self._reports[key].page) for key in finished) > PAGES_BYTES and len(finished) > 1:
                del self._reports[finished.pop(0)]
