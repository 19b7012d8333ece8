"""uvicorn, as both of our services run it: quiet, and with a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

log = logging.getLogger(__name__)

#: What accepting a caller fails with where there is no room for one more.
NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

#: That callers wait for room is said again after so long. [s]
SAY_AGAIN_SECONDS = 60


class Server(uvicorn.Server):
    """uvicorn, which here ends cleanly when told to.

    Args:
        app: what is served.
        options: uvicorn's own.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        quiet: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False}
        plain: dict[str, Any] = {"ws": "none", "loop": "asyncio", "lifespan": "off", "proxy_headers": False}
        super().__init__(uvicorn.Config(app, **quiet, **plain, **options))
        self._said = float("-inf")

    async def serve(self, sockets: Any = None) -> None:
        """Serves until it is told to end."""
        asyncio.get_running_loop().set_exception_handler(self._hear)
        await super().serve(sockets)

    def _hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Of what went wrong in the loop: all but accepting, for which asyncio has thousands of tracebacks a second."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in NO_ROOM and "socket" in context):
            loop.default_exception_handler(context)
        elif time.monotonic() - self._said > SAY_AGAIN_SECONDS:
            self._said = time.monotonic()
            log.warning("no room for one more caller (%s): callers wait until others have gone", error.strerror)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end it with exit code 0; uvicorn's own way raises them again afterwards."""
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
