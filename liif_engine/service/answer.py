"""How the service answers: states, streams and results; an error is words, a remedy and an exit code."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from liif_engine.errors import (
    AccessError,
    BusyError,
    LiifError,
    MemoryExhaustedError,
    OutputError,
    ServiceError,
    TimeLimitError,
    TooLargeError,
    UsageError,
)
from liif_engine.service.job import Job, error_dict
from liif_engine.service.payload import FilePayload
from liif_engine.service.queue import Queue

#: HTTP status of an error, by its class; the first that fits. Others are the caller's own fault.
STATUS = (
    (AccessError, 403),
    (BusyError, 429),
    (TooLargeError, 413),
    (MemoryExhaustedError, 429),
    (TimeLimitError, 408),
    (OutputError, 507),
    (ServiceError, 503),
    (LiifError, 400),
)


def to_json(content: Any) -> bytes:
    """One line of JSON in ASCII, which any terminal and any Python shows."""
    return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


class Json(JSONResponse):
    """An answer of one line of JSON."""

    def render(self, content: Any) -> bytes:
        """As `to_json`."""
        return to_json(content)


def refusal(error: LiifError, status: int | None = None) -> Json:
    """An error as an answer.

    Args:
        error: what is wrong.
        status: of HTTP; by default told from the error's class.
    """
    status = status or next(code for kind, code in STATUS if isinstance(error, kind))
    # A refused body is not read to its end, so the connection cannot be used again.
    return Json({"error": error_dict(error)}, status, headers={"Connection": "close"})


class EventStream(StreamingResponse):
    """A job's state after each change, one JSON object a line, until the job is over.

    Args:
        queue: where the job is.
        job: whose events they are; an undetached job ends when its last stream is closed.
    """

    def __init__(self, queue: Queue, job: Job) -> None:
        super().__init__(self._lines(queue, job), media_type="application/x-ndjson")
        self.queue, self.job = queue, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams until the job is over or the caller has gone."""
        self.job.followers += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.queue.leave(self.job)

    @staticmethod
    async def _lines(queue: Queue, job: Job) -> AsyncIterator[bytes]:
        async for row in queue.follow(job):
            yield to_json(row)


class Result(StreamingResponse):
    """A done job's bytes.

    Args:
        queue: where the job is.
        job: done, with pixels or an encoded picture.
    """

    def __init__(self, queue: Queue, job: Job) -> None:
        assert not isinstance(job.payload, FilePayload)
        assert job.answer is not None
        payload = job.payload
        headers = {
            "Content-Length": str(payload.result_bytes()),
            "Liif-Result": json.dumps(payload.describe(job.answer)),
        }
        super().__init__(_aiter(payload.pieces()), headers=headers, media_type=payload.media_type)
        self.queue, self.job = queue, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the bytes, which stay until the last byte is read though the job be forgotten meanwhile."""
        self.job.readers += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.job.readers -= 1
            if self.job.is_forgotten and not self.job.readers:
                self.queue.forget(self.job)


def result_of(queue: Queue, job: Job) -> Response:
    """The answer to a request for a job's result: bytes, JSON for files, or 409 while or because there is none."""
    if job.state != "done":
        row: dict[str, Any] = job.as_dict()
        row.setdefault("error", error_dict(UsageError(f"the job is {job.state}", remedy="Follow its events.")))
        return Json(row, 409)
    if isinstance(job.payload, FilePayload):
        return Json(job.as_dict()["result"])
    return Result(queue, job)


async def _aiter(pieces: Iterator[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    for piece in pieces:
        yield piece
