"""Engines that fail on purpose, for tests of what surrounds them: the model's name says what happens.

A worker's process finds this by ``engine="faults:Faulty"`` with this folder on its path.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from liif_engine.errors import MemoryExhaustedError, ModelError, NonFiniteError
from liif_engine.workers.stand_in import Copying


class Panic(BaseException):
    """No `Exception`, as what libraries in Rust raise when they give up."""


class Faulty(Copying):
    """Copies pixels, after what its model's name asks for.

    Names: ``crash`` (SIGKILL), ``segv``, ``exit``, ``hang``, ``memory``, ``refuse``, ``bug``, ``panic``, ``end``,
    ``pipe``, ``broken`` (cannot be loaded), ``stuck`` (nor does its process end by itself), ``missing`` (there is no
    such model), ``slow:SECONDS`` (that long, in steps of 20 ms with progress), and any other for none of it.
    """

    def __init__(self, model: str = "copy", **rest: Any) -> None:
        if model == "stuck":
            threading.Thread(target=time.sleep, args=(3600,)).start()
        if model in {"broken", "stuck"}:
            raise ImportError("no such library")
        if model == "missing":
            raise ModelError("there is no model 'missing'")
        super().__init__(model, **rest)
        logging.getLogger(__name__).info("model %s", model)

    def restore(self, pixels: Any, **rest: Any) -> Any:
        """As `Copying.restore`."""
        self._before(rest.get("on_progress") or (lambda _: None))
        return super().restore(pixels, **rest)

    def restore_tile(self, *arguments: Any, **rest: Any) -> Any:
        """As `Copying.restore_tile`."""
        self._before(rest.get("on_progress") or (lambda _: None))
        return super().restore_tile(*arguments, **rest)

    def _before(self, on_progress: Callable[[float], None]) -> None:
        on_progress(0.1)
        self._fail(self.model_name)
        if self.model_name.startswith("slow:"):
            seconds = float(self.model_name[5:])
            started = time.monotonic()
            while (passed := time.monotonic() - started) < seconds:
                time.sleep(0.02)
                on_progress(0.1 + 0.8 * min(passed / seconds, 1))

    def _fail(self, how: str) -> None:
        if how == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif how == "exit":
            os._exit(3)
        elif how == "hang":
            time.sleep(3600)
        elif how == "memory":
            raise MemoryError("Unable to allocate 99.9 GiB")
        elif how == "refuse":
            raise NonFiniteError("the network gave infinities or not-a-numbers")
        elif how == "bug":
            raise ZeroDivisionError("division by zero")
        elif how == "panic":
            raise Panic("a library gave up")
        elif how == "end":
            raise EOFError("no more frames")
        elif how == "pipe":
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")


class Elsewhere(Copying):
    """On another device than the CPU; it computes while the gate is open, and counts how many pictures at once."""

    gate = threading.Event()
    computing = most = 0

    def __init__(self, model: str = "copy", **rest: Any) -> None:
        super().__init__(model, **rest)
        self.device = "elsewhere"

    def check_memory(self, *given: int, beside: int | None = None) -> None:
        """Where the model is ``narrow``, nothing fits while something is computed."""
        super().check_memory(*given, beside=beside)
        if self.model_name == "narrow" and Elsewhere.computing:
            raise MemoryExhaustedError("the result needs 2 MB of memory and 1 MB are free")

    def restore(self, pixels: Any, **rest: Any) -> Any:
        """As `Copying.restore`."""
        Elsewhere.computing += 1
        Elsewhere.most = max(Elsewhere.most, Elsewhere.computing)
        try:
            self.wait()
            return super().restore(pixels, **rest)
        finally:
            Elsewhere.computing -= 1

    @staticmethod
    def wait() -> None:
        """Until the gate is open."""
        assert Elsewhere.gate.wait(30)


class CrashesOnWide(Faulty):
    """Dies of pictures that are 99 pixels wide."""

    def restore(self, pixels: Any, **rest: Any) -> Any:
        """As `Copying.restore`."""
        if pixels.shape[1] == 99:
            self._fail("crash")
        return super().restore(pixels, **rest)


class DiesOnceAfterNaming(Copying):
    """Dies when a result has got its name and nobody was told; once, as the file named by LIIF_TEST_ONCE remembers."""

    def __init__(self, model: str = "copy", **rest: Any) -> None:
        super().__init__(model, **rest)
        from liif_engine.picture import atomic

        flush_folder = atomic.flush_folder

        def dies_once(folder: Path) -> None:
            flush_folder(folder)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(os.environ["LIIF_TEST_ONCE"], os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)

        atomic.flush_folder = dies_once
