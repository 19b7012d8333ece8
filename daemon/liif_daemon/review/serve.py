"""`liif-daemon review` from its first breath to its last: a port of this machine, a link, a browser."""

from __future__ import annotations

import contextlib
import socket
import threading
import webbrowser
from collections.abc import Iterator

from liif_daemon.ledger.review import ReviewLedger
from liif_daemon.review.guard import OPEN, Keys
from liif_daemon.review.pages import Pages
from liif_daemon.settings import Settings
from liif_engine.errors import OutputError
from liif_engine.web import Server

#: Only programs on this machine reach it.
ADDRESS = "127.0.0.1"

#: Requests at once; a browser sends six. More are answered with 503.
MAX_CONNECTIONS = 64

#: How long pictures on their way may take when the page ends. [s]
FAREWELL_SECONDS = 2


def serve(settings: Settings, ledger: ReviewLedger, *, port: int = 0, browser: bool = True) -> None:
    """Serves the page until it is told to end (Ctrl+C, SIGTERM), beside a running daemon or without one.

    Args:
        settings: where the daemon's files are.
        ledger: open.
        port: 0 for one that is free.
        browser: whether to open the page.

    Raises:
        OutputError: the port is taken.
    """
    keys = Keys()
    pages = Pages(settings, ledger, keys)
    pages.warm()
    server = Server(
        pages.app(), http="h11", limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=FAREWELL_SECONDS
    )
    # From here on a signal ends it cleanly, also one that comes before the server runs.
    with _listen(port) as one, server.capture_signals():
        link = f"http://{ADDRESS}:{one.getsockname()[1]}{OPEN}{keys.link}"
        print(f"The review page, until Ctrl+C. This link opens it once, in one browser:\n{link}", flush=True)
        if browser:
            # Beside the server: a browser in the terminal only returns when it is left.
            threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
        try:
            server.run(sockets=[one])
        finally:
            pages.evidence.close()


@contextlib.contextmanager
def _listen(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        try:
            one.bind((ADDRESS, port))
        except (OSError, OverflowError) as error:
            message = f"port {port} of {ADDRESS} cannot be used ({error})"
            raise OutputError(message, remedy="Give another --port, or none.") from error
        one.listen()
        yield one
