"""Log lines as JSON, one object a line, with the id of the job they are about, whichever process they come from."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from liif_engine.errors import printable

#: By thread, since each piece of work has threads of its own.
_local = threading.local()


@contextmanager
def about(job: str) -> Iterator[None]:
    """What this thread logs until the block ends is about `job`."""
    before = getattr(_local, "job", "")
    _local.job = job
    try:
        yield
    finally:
        _local.job = before


def job() -> str:
    """The id of the job that this thread works at; empty if at none."""
    return str(getattr(_local, "job", ""))


class Json(logging.Formatter):
    """``{"time": ..., "level": ..., "logger": ..., "message": ..., "pid": ..., "job": ...}``; job only if there is one.

    A record that came from another process keeps that one's pid, and has its ``host`` where that is another machine.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of ASCII."""
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        # What a record carries itself comes from where it was made; the thread that shows it may do other work.
        about_job = getattr(record, "job", None) or job()
        row |= {"job": about_job} if about_job else {}
        host = getattr(record, "host", "")
        row |= {"host": host} if host else {}
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row)


class OneLine(logging.Formatter):
    """Names in a message can neither break its line nor steer the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The message without its traceback."""
        return printable(super().formatMessage(record))


def show_lines(words: str, *, level: int, stream: TextIO | None = None) -> None:
    """Sends all log records to `stream` (by default stderr), each on a line.

    Args:
        words: what a line says, as `logging.Formatter` takes it.
        level: the least that is sent.
        stream: where to.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(OneLine(words))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def show_json(*, level: int, stream: TextIO | None = None) -> None:
    """Sends all log records to `stream` (by default stderr) as JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def emit(name: str, level: int, message: str, *, job: str, pid: int, host: str = "") -> None:
    """Logs here what another process had to say."""
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(name, level, "", 0, message, (), None, extra={"job": job, "host": host})
    record.process = pid
    logger.handle(record)
