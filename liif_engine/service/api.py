"""The HTTP API, version 1: docs/service.md says it in words."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

import liif_engine
from liif_engine import figures, memory
from liif_engine.errors import (
    Cancelled,
    LiifError,
    OutputError,
    TooLargeError,
    UsageError,
)
from liif_engine.model_names import plain
from liif_engine.network import card
from liif_engine.service import client
from liif_engine.service.answer import EventStream, Json, refusal, result_of
from liif_engine.service.body import TOO_LONG_REMEDY, Body
from liif_engine.service.job import Job
from liif_engine.service.metrics import Figures
from liif_engine.service.payload import FilePayload, ImagePayload, PixelPayload
from liif_engine.service.place import make_private
from liif_engine.service.queue import Queue
from liif_engine.service.request import REMEDY, Defaults, FileRequest, ImageRequest, PixelRequest, parse

#: A job given as JSON alone is never longer.
MAX_JSON_BYTES = 1 << 16

#: The header that says what is to be done with the body.
JOB_HEADER = b"liif-job"

KINDS = "application/json (paths), application/octet-stream (raw pixels) or image/* (an encoded picture)"


@dataclass(frozen=True)
class ApiLimits:
    """What a request may be.

    Attributes:
        max_pixels: of a picture.
        max_image_bytes: of an encoded picture.
        body_seconds: how long the next part of a body may take to arrive.
    """

    max_pixels: int
    max_image_bytes: int
    body_seconds: float


class Api:
    """The handlers of the routes.

    Args:
        queue: takes the jobs.
        scratch: a private folder for encoded pictures.
        limits: what is refused.
        defaults: for what a request leaves open.
    """

    def __init__(self, queue: Queue, scratch: Path, limits: ApiLimits, defaults: Defaults) -> None:
        self.queue, self.scratch, self.limits, self.defaults = queue, scratch, limits, defaults
        self.started = time.monotonic()

    def app(self) -> Starlette:
        """The routes."""

        def route(path: str, handler: Callable[[Request], Awaitable[Response]], method: str) -> Route:
            return Route(path, self._used(handler), methods=[method])

        handlers: dict[Any, Any] = {
            LiifError: _refused,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            Exception: _fault,
        }
        events = route("/v1/jobs/{id}/events", self.get_events, "GET")
        assert events.methods is not None
        events.methods.discard("HEAD")  # it would last as long as the job, and hanging up would cancel that
        routes = [
            route("/v1/jobs", self.post_job, "POST"),
            route("/v1/jobs/{id}", self.get_job, "GET"),
            route("/v1/jobs/{id}", self.delete_job, "DELETE"),
            events,
            route("/v1/jobs/{id}/result", self.get_result, "GET"),
            route("/v1/status", self.get_status, "GET"),
            route("/v1/models", self.get_models, "GET"),
            # Looking at the figures is no use of the service, which may end when idle all the same.
            Route("/metrics", self.get_metrics, methods=["GET"]),
        ]
        app = Starlette(routes=routes, exception_handlers=handlers)
        # A redirection has no words, and curl takes it for success.
        app.router.redirect_slashes = False
        return app

    async def post_job(self, request: Request) -> Response:
        """Takes a job: 201 with its state, or 4xx with the reason."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            job = await self._file_job(request)
        elif kind == "application/octet-stream":
            job = await self._pixel_job(request)
        elif kind.startswith("image/"):
            job = await self._image_job(request)
        else:
            await self._body(request).drain()
            return refusal(UsageError(f"the body's type is not one of {KINDS}", remedy=REMEDY), 415)
        self.queue.add(job)
        return Json(job.as_dict(), 201, headers={"Location": f"/v1/jobs/{job.id}"})

    async def get_job(self, request: Request) -> Response:
        """The job's state now."""
        job = self._job(request)
        job.followed = time.monotonic()
        return Json(job.as_dict())

    async def get_events(self, request: Request) -> Response:
        """The job's states as they come."""
        return EventStream(self.queue, self._job(request))

    async def get_result(self, request: Request) -> Response:
        """The job's result."""
        return result_of(self.queue, self._job(request))

    async def delete_job(self, request: Request) -> Response:
        """Cancels a job that is not over; forgets one that is."""
        job = self._job(request)
        if job.is_over:
            self.queue.forget(job)
            return Json(job.as_dict())
        self.queue.stop(job, Cancelled("cancelled"))
        return Json(job.as_dict(), 200 if job.is_over else 202)

    async def get_status(self, _: Request) -> Response:
        """What the service is and does."""
        queue = self.queue
        return Json(
            {
                "api": client.API,
                "version": liif_engine.__version__,
                "pid": os.getpid(),
                "python": sys.executable,
                "uptime_seconds": round(time.monotonic() - self.started, 1),
                "model": self.defaults.model,
                "workers": queue.workers.status(),
                "queue": {
                    "person": queue.waiting("person"),
                    "backlog": queue.waiting("backlog"),
                    "running": len(queue.running),
                    **queue.totals.counts,
                },
                "memory": {"held_bytes": queue.held_bytes, "available_bytes": memory.available_bytes()},
                "limits": {**asdict(queue.limits), **asdict(self.limits)},
            }
        )

    async def get_models(self, _: Request) -> Response:
        """The models that come with the package, with their cards."""
        loaded = {plain(name) for row in self.queue.workers.status() for name in row["models"]}
        cards = card.shipped_models().values()
        rows = [
            {"name": c.name, "bytes": c.size_bytes, "loaded": c.name in loaded, "card": dict(c.card)} for c in cards
        ]
        return Json({"default": self.defaults.model, "models": rows})

    async def get_metrics(self, _: Request) -> Response:
        """The figures for Prometheus."""
        return Response(figures.text_of(Figures(self.queue)), media_type=figures.MEDIA_TYPE)

    def _used(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Counts a request as use, for the end when idle."""

        async def handle(request: Request) -> Response:
            self.queue.last_used = time.monotonic()
            return await handler(request)

        return handle

    def _job(self, request: Request) -> Job:
        job = self.queue.jobs.get(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "there is no such job, or no longer")
        return job

    def _body(self, request: Request) -> Body:
        return Body(request, self.limits.body_seconds)

    async def _file_job(self, request: Request) -> Job:
        text = bytearray()
        async for piece in self._body(request).pieces(MAX_JSON_BYTES, REMEDY):
            text += piece
        asked = parse(FileRequest, bytes(text), self.defaults)
        self.queue.reserve(0, asked.priority)
        return Job(asked, FilePayload(asked, self.limits.max_pixels), 0)

    async def _pixel_job(self, request: Request) -> Job:
        body = self._body(request)
        async with body.not_yet():
            asked = parse(PixelRequest, _job_header(request), self.defaults)
            self._check_pixels(asked)
            length, held = asked.source_bytes, asked.source_bytes + asked.result_bytes
            if body.length not in {None, length}:
                raise UsageError(f"the body has {body.length} bytes; shape and dtype ask for {length}")
            self.queue.reserve(held, asked.priority)
        return await self._body_job(body, asked, held, lambda: PixelPayload(asked), length)

    async def _image_job(self, request: Request) -> Job:
        body, limit, most = self._body(request), self.limits.max_image_bytes, self.limits.max_pixels
        async with body.not_yet():
            asked = parse(ImageRequest, _job_header(request), self.defaults)
            held = body.length
            if held is None:
                # Room is set aside before the body comes, so its length must be known.
                raise UsageError("give the picture's length in Content-Length", remedy=REMEDY)
            if held > limit:
                words = f"the body, {memory.readable(held)}, is longer than {memory.readable(limit)}"
                raise TooLargeError(words, remedy=TOO_LONG_REMEDY)
            # Whoever cleans the folder for temporary files takes what has lain there for days.
            make_private(self.scratch)
            self.queue.reserve(held, asked.priority)
        return await self._body_job(body, asked, held, lambda: ImagePayload(asked, self.scratch, most), limit)

    async def _body_job(
        self, body: Body, asked: Any, held: int, make: Callable[[], PixelPayload | ImagePayload], limit: int
    ) -> Job:
        """A job from a body that goes, piece by piece, where the worker will find it; `held` bytes are reserved."""
        payload: PixelPayload | ImagePayload | None = None
        try:
            payload = make()
            if isinstance(payload, PixelPayload):
                await asyncio.to_thread(payload.source.reserve)
            async for piece in body.pieces(limit, TOO_LONG_REMEDY if isinstance(asked, ImageRequest) else REMEDY):
                payload.receive(piece)
            payload.complete()
        except BaseException as error:
            self.queue.release(held)
            if payload is not None:
                payload.close()
            if isinstance(error, OSError):
                raise OutputError(f"the picture cannot be kept ({error.strerror})", path=self.scratch) from error
            raise
        return Job(asked, payload, held)

    def _check_pixels(self, asked: PixelRequest) -> None:
        height, width, _ = asked.shape
        if height * width > self.limits.max_pixels:
            limit = self.limits.max_pixels / 1e6
            raise TooLargeError(f"{width}x{height} is more than {limit:g} megapixels")


def _job_header(request: Request) -> bytes:
    found = [value for name, value in request.scope["headers"] if name == JOB_HEADER]
    if len(found) != 1:
        raise UsageError("give one Liif-Job header, a JSON object that says what to do with the body", remedy=REMEDY)
    return bytes(found[0])


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, LiifError)
    return refusal(error)


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _fault(_: Request, __: Exception) -> Response:
    return refusal(LiifError("a fault of the service; its log says more"), 500)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is nothing at this path", 405: "this path does not take this method"}
    standard = HTTPStatus(error.status_code).phrase
    message = words.get(error.status_code, error.detail) if error.detail == standard else error.detail
    answer = refusal(UsageError(message, remedy=REMEDY), error.status_code)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # Starlette names those of one route alone
        answer.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return answer


def _methods(request: Request) -> set[str]:
    """What the path takes, by all of its routes."""
    found = set[str]()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods
    return found
