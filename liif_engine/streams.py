"""The standard streams of a command, however it was started: closed, on a full disk, or read by nobody any more."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

#: How an error names the stream that it happened to.
STDOUT = "standard output"


class _Results(io.TextIOWrapper):
    """Standard output: what goes wrong with it names it."""

    def write(self, text: str) -> int:
        """As any text file.

        Raises:
            OSError: it cannot be written to.
        """
        try:
            return super().write(text)
        except OSError as error:
            error.filename = STDOUT
            raise

    def flush(self) -> None:
        """As any text file.

        Raises:
            OSError: it cannot be written to.
        """
        try:
            super().flush()
        except OSError as error:
            error.filename = STDOUT
            raise


class _Words(io.TextIOWrapper):
    """Standard error: where it cannot be written to there is nobody left to tell, and the work goes on."""

    def write(self, text: str) -> int:
        """As any text file, but for errors, of which there are none."""
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """As any text file, but for errors, of which there are none."""
        with suppress(OSError):
            super().flush()


def mend() -> None:
    """Makes sure that this process has three streams, and that a stream which fails does not end the work unnamed.

    Streams that somebody put in place of Python's own stay as they are.
    """
    _open_closed()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = _again(_Results, sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _again(_Words, sys.stderr, 2)
    # A name that the terminal's encoding lacks is shown escaped: a result must not count as failed for it.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _open_closed() -> None:
    """A closed stream's number would go to the next file that is opened, and what libraries say would end up there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free


def _again(kind: type[io.TextIOWrapper], stream: TextIO | None, number: int) -> io.TextIOWrapper:
    """A stream of this kind in place of Python's own."""
    if not isinstance(stream, io.TextIOWrapper):  # it was closed
        return kind(open(number, "wb", closefd=False), encoding="utf-8", errors="backslashreplace")
    return kind(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
