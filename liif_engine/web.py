"""uvicorn, as both of our services run it: quiet, and with a clean end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import uvicorn


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

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end it with exit code 0; uvicorn's own way raises them again afterwards."""
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
