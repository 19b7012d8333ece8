"""What watchdog says in its log alone: that the system's queue of events has overflowed."""

from __future__ import annotations

import logging
import threading


class Overflow(logging.Handler):
    """Hears of overflows, from `listen` to `leave`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen = threading.Event()
        logging.getLogger("watchdog.observers.inotify").addFilter(_is_news)

    def listen(self) -> None:
        """Begins to."""
        logging.getLogger("watchdog.observers").addHandler(self)

    def leave(self) -> None:
        """Ends it."""
        logging.getLogger("watchdog.observers").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Looks for the word."""
        if "overflow" in record.getMessage().lower():
            self._seen.set()

    def taken(self) -> bool:
        """Whether it happened since the last call."""
        if not self._seen.is_set():
            return False
        self._seen.clear()  # what comes from here on is the next call's
        return True


def _is_news(record: logging.LogRecord) -> bool:
    """False of the error that watchdog logs if a watch is ended while its thread is about to read; it was meant to."""
    return "when the thread is inactive" not in record.getMessage()
