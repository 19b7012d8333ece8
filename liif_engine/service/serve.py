"""`liif serve`: the service from its first breath to its last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import liif_engine
from liif_engine import figures, memory, web
from liif_engine.crew import Crew
from liif_engine.errors import ExitCode
from liif_engine.service import client
from liif_engine.service.api import Api, ApiLimits
from liif_engine.service.guard import Guard, OwnerOnly
from liif_engine.service.limits import Limits
from liif_engine.service.metrics import Figures
from liif_engine.service.place import Place, occupy
from liif_engine.service.queue import Queue
from liif_engine.service.request import Defaults
from liif_engine.workers import Workers, WorkerSettings, start

log = logging.getLogger(__name__)

#: How often jobs that nobody follows, takes too long or is old are looked for. [s]
SWEEP_SECONDS = 0.5

#: How long callers that still read may take when the service ends. [s]
FAREWELL_SECONDS = 3

#: How long their tasks then take to end, at most; uvicorn would cancel them, with a traceback for each. [s]
HANG_UP_SECONDS = 3

#: Header of a request, with the job in it; above it the answer is 400. [bytes]
MAX_HEADER_BYTES = 1 << 16

#: Open files, for that many callers and as many jobs as may wait.
MAX_FILES = 8192

#: Callers at once; more are answered with 503.
MAX_CONNECTIONS = 1000


@dataclass(frozen=True)
class ServeSettings:
    """How to serve.

    Attributes:
        folder: for the socket; None for the user's runtime folder.
        loopback: whether to listen on a loopback port, with a token, as well as on the socket.
        exit_when_idle: end when nobody has used the service for so long; None for never. [s]
        max_pixels: larger pictures are refused.
        max_image_bytes: longer encoded pictures are refused.
        header_seconds: how long a caller may take to say what it wants.
        body_seconds: how long the next part of a body may take to arrive.
        send_seconds: how long a caller may read nothing of an answer that is under way.
        quality: of lossy results, where a request does not say.
        limits: of the queue; None for as much memory as half of what is free now.
        workers: how the work is done: device, model, precision, memory, release when idle.
        crew: which workers do it.
        metrics: where else to show the figures for Prometheus, ``[HOST:]PORT``; None for nowhere.
    """

    folder: Path | None = None
    loopback: bool = False
    exit_when_idle: float | None = None
    max_pixels: int = 250_000_000
    max_image_bytes: int = 1 << 30
    header_seconds: float = 10
    body_seconds: float = 30
    send_seconds: float = 60
    quality: int = 95
    limits: Limits | None = None
    workers: WorkerSettings = field(default_factory=WorkerSettings)
    crew: Crew = field(default_factory=lambda: Crew("processes"))
    metrics: str | None = None


def serve(settings: ServeSettings) -> int:
    """Serves until it is told to end (SIGTERM, SIGINT) or has been idle for long enough.

    Returns:
        The exit code.

    Raises:
        ServiceError: another service runs already, or the folder is not private.
    """
    _raise_file_limit()
    with occupy(settings.folder, loopback=settings.loopback) as place:
        client.record_interpreter(sys.executable, liif_engine.__version__)
        asyncio.run(_serve(settings, place))
    return ExitCode.OK


def _raise_file_limit() -> None:
    """Lets this process open as many files as it may: each caller is one, and each waiting picture two."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
        with contextlib.suppress(OSError, ValueError):
            if soft != resource.RLIM_INFINITY and soft < wanted:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(settings: ServeSettings, place: Place) -> None:
    # Whoever reaches the port could fill the log with uvicorn's warnings about what is not HTTP.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # And asyncio has one for each piece of a result whose caller has gone.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    limits = settings.limits or Limits(max_held_bytes=memory.available_bytes() // 2)

    def make_workers(on_room: Callable[[], None]) -> Workers:
        return start(settings.crew, settings.workers, on_room=on_room)

    queue = Queue(make_workers, limits)
    try:
        if settings.metrics is not None:
            figures.show(settings.metrics, Figures(queue))
        api = Api(
            queue,
            place.scratch,
            ApiLimits(settings.max_pixels, settings.max_image_bytes, settings.body_seconds),
            Defaults(settings.workers.model, settings.workers.precision, settings.quality),
        )
        server = Server(Guard(api.app(), place.token), queue, settings, place)
        await server.serve(sockets=place.sockets)
    finally:
        await queue.close()
        queue.free_all()


class Server(web.Server):
    """A server that also sweeps the queue, bounds its log, and ends when idle.

    Args:
        app: what is served.
        queue: the jobs.
        settings: how to serve.
        place: closed first when the service ends, so that nobody finds it any more.
    """

    def __init__(self, app: Any, queue: Queue, settings: ServeSettings, place: Place) -> None:
        super().__init__(
            app,
            http=type(
                "Protocol",
                (OwnerOnly,),
                {"header_seconds": settings.header_seconds, "send_seconds": settings.send_seconds},
            ),
            date_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=settings.header_seconds,  # uvicorn's own 5 s would come before ours
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_graceful_shutdown=FAREWELL_SECONDS + HANG_UP_SECONDS,
        )
        self.queue, self.exit_when_idle, self.place = queue, settings.exit_when_idle, place
        self._swept = 0.0

    async def startup(self, sockets: Any = None) -> None:
        """Says that it serves when it listens: whoever waits for that calls at once."""
        await super().startup(sockets)
        port = "" if self.place.port is None else f" and 127.0.0.1:{self.place.port}"
        print(f"liif: serving in {self.place.folder}{port}", file=sys.stderr, flush=True)

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        now = time.monotonic()
        if now - self._swept > SWEEP_SECONDS:
            self._swept = now
            self.queue.sweep()
            _bound_log(self.place.folder)
            self.should_exit |= self._is_idle(now) or self._is_lost()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        """Ends the jobs first, so that those who follow them hear of it and hang up."""
        self.place.close()
        await self.queue.close()
        asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._hang_up)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        """Ends the connections of those who read no more."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    def _is_idle(self, now: float) -> bool:
        after = self.exit_when_idle
        if after is None or now - self.queue.last_used < after or not self.queue.is_idle():
            return False
        log.info("idle for %g s: ending", after)
        return True

    def _is_lost(self) -> bool:
        """Whether nobody can find it any more, and it has no work: it would keep another one from its place."""
        if not self.place.is_lost() or not self.queue.is_idle():
            return False
        log.warning("%s: somebody has removed the socket: ending", self.place.folder)
        return True


def _bound_log(folder: Path) -> None:
    """Puts a log that has become long aside and begins it anew, if the client had stderr lead there.

    It is emptied, not replaced: the workers write to the same open file.
    """
    path, stderr = folder / client.LOG_NAME, 2
    with contextlib.suppress(OSError):
        found = os.fstat(stderr)
        if found.st_size > client.LOG_BYTES and os.path.samestat(found, path.stat()):
            shutil.copyfile(path, f"{path}.old")
            os.ftruncate(stderr, 0)
