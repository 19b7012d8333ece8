"""One job: what was asked, how far it has come, what became of it."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from liif_engine.errors import (
    AccessError,
    BusyError,
    LiifError,
    MemoryExhaustedError,
    OutputError,
    OutputExistsError,
    ServiceError,
    TimeLimitError,
    WorkerError,
)
from liif_engine.service.payload import Payload
from liif_engine.service.request import JobRequest
from liif_engine.workers import Answer, Ticket

#: What may go well another time though nothing is changed: it depends on the machine's state, not on the picture.
RETRYABLE = (BusyError, MemoryExhaustedError, OutputError, ServiceError, TimeLimitError, WorkerError)

#: Of these, what will not.
FOR_GOOD = (AccessError, OutputExistsError)


class Job:
    """One job. Its states: queued, running, then done, failed or cancelled.

    Args:
        asked: the request.
        payload: what it holds.
        held_bytes: how much that is; of an encoded picture, the result only once it is there.
    """

    def __init__(self, asked: JobRequest, payload: Payload, held_bytes: int) -> None:
        self.id = secrets.token_hex(8)
        self.asked, self.payload, self.held_bytes = asked, payload, held_bytes
        self.state, self.share = "queued", 0.0
        self.answer: Answer | None = None
        self.error: LiifError | None = None
        self.stop_reason: LiifError | None = None
        self.ticket: Ticket | None = None
        self.followers = self.readers = 0
        self.is_forgotten = False
        self.created = self.followed = time.monotonic()
        self.started: float | None = None
        self.ended: float | None = None
        #: Set at the next change; another one then takes its place.
        self.changed = asyncio.Event()

    @property
    def name(self) -> str:
        """By which logs know it, in every process: the caller's own name of it, or the service's."""
        return self.asked.reference or self.id

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.ended is not None

    def change(self) -> None:
        """Wakes those who follow."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def as_dict(self) -> dict[str, Any]:
        """The job as the API tells it."""
        now = self.ended or time.monotonic()
        row: dict[str, Any] = {"id": self.id, "state": self.state, "share": round(self.share, 4)}
        row["waited_seconds"] = round((self.started or now) - self.created, 3)
        row["seconds"] = round(now - self.started, 3) if self.started else 0.0
        if self.stop_reason is not None and not self.is_over:
            row["stopping"] = True
        if self.error is not None:
            row["error"] = error_dict(self.error)
        if self.answer is not None:
            row["result"] = {
                "width": self.answer.width,
                "height": self.answer.height,
                "model": self.answer.model,
                "precision": self.answer.precision,
                "device": self.answer.device,
                "work_seconds": round(self.answer.seconds, 3),
                **self.payload.describe(self.answer),
            }
        return row


def error_dict(error: LiifError) -> dict[str, Any]:
    """An error as the API tells it."""
    return {
        "kind": type(error).__name__,
        # A path that is not UTF-8 is in it with surrogates, which cannot be sent or shown.
        "message": str(error).encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        "remedy": error.remedy,
        "exit_code": int(error.exit_code),
        "retryable": isinstance(error, RETRYABLE) and not isinstance(error, FOR_GOOD),
    }
