"""The inside of a worker's process: does one piece of work at a time, and urgent work amid it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Protocol

from liif_engine import log, memory, threads
from liif_engine.errors import Cancelled, ModelError
from liif_engine.workers import pixel_work, tile_work
from liif_engine.workers.engine import WorkerEngine
from liif_engine.workers.engines import Engines
from liif_engine.workers.failures import in_words
from liif_engine.workers.messages import Begun, Broken, Do, Ended, FromWorker, Progress, Ready, Report, Said, ToWorker
from liif_engine.workers.work import Answer, LookWork, OnProgress, PixelWork, TileWork, Work, WorkerSettings

logger = logging.getLogger(__name__)

#: Progress is sent no more often, to spare the server. [s]
REPORT_SECONDS = 0.05


class Gone(EOFError):  # noqa: N818 - a signal inside this file
    """The server's process has gone; work may fail with errors of the same kinds, which are its own."""


class Mouth(Protocol):
    """What a worker hears and speaks through: `multiprocessing`'s connection, or another of the same kind."""

    def send(self, message: FromWorker, /) -> None:
        """Sends a message to the server's process."""

    def recv(self) -> ToWorker:
        """The next message from there, waited for; raises EOFError or OSError when that process has gone."""

    def poll(self) -> bool:
        """Whether there is one."""


def main(connection: Connection, settings: WorkerSettings, device: str) -> None:
    """Runs a worker until the server's process ends or closes the connection."""
    if settings.threads is not None:
        # Before torch is loaded, which reads it once.
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    threads.settle()
    # Ctrl+C reaches every process of a terminal, and systemd stops all of a unit; the server alone decides what ends.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Inside(connection, settings, device)
    try:
        worker.start()
    except Exception as error:
        connection.send(Broken(in_words(error)))
        return
    try:
        worker.serve()
    except Gone:
        return  # nobody waits for an answer


class Inside:
    """One worker: its engines, what it works at, and what waits.

    Args:
        connection: to the server's process.
        settings: how to work.
        device: this worker's own device.
        host: the name of its machine, if that may be another one than the server's.
    """

    def __init__(self, connection: Mouth, settings: WorkerSettings, device: str, host: str = "") -> None:
        self.connection, self.settings, self.device, self.host = connection, settings, device, host
        self.engines = Engines(settings, device)
        self.waiting: list[Do] = []
        self.running: set[int] = set()
        self.stopped: set[int] = set()
        # A file's thread may log while the network computes.
        self._speaking = threading.Lock()
        logging.basicConfig(level=settings.log_level, handlers=[Saying(self.send)], force=True)

    def start(self) -> None:
        """Loads the settings' model, so that the first job finds it; one that cannot be had fails who asks for it."""
        memory.keep_freed()
        with suppress(ModelError):  # whoever names another model is not to suffer for it
            self.engines.get(self.settings.model, self.settings.precision)
        self.send(Ready(self.report()))

    def send(self, message: FromWorker) -> None:
        """Says something to the server's process; may be called from any thread.

        Raises:
            Gone: there is none any more.
        """
        with self._speaking, _to_server():
            self.connection.send(message)

    def serve(self) -> None:
        """Does what arrives, for ever."""
        while True:
            while not self.waiting:
                self._take(self._hear())
            self._run(self._next())

    def report(self) -> Report:
        """What there is to say of this worker now."""
        resident, peak = memory.own_bytes()
        return Report(
            models=self.engines.names(),
            pid=os.getpid(),
            host=self.host,
            memory_bytes=resident,
            peak_bytes=peak,
            **self.engines.hardware(),
        )

    def _hear(self) -> ToWorker:
        with _to_server():
            return self.connection.recv()

    def _is_spoken_to(self) -> bool:
        with _to_server():
            return self.connection.poll()

    def _next(self) -> Do:
        urgent = next((one for one in self.waiting if one.urgent), self.waiting[0])
        self.waiting.remove(urgent)
        return urgent

    def _take(self, message: ToWorker) -> None:
        if isinstance(message, Do):
            self.waiting.append(message)
        elif message.number in {*self.running, *(one.number for one in self.waiting)}:
            self.stopped.add(message.number)
        # Any other has ended while the message was on its way: nobody would ever take its number out again.

    def _run(self, do: Do) -> None:
        """Does one piece of work and answers; no error of the work gets past here."""
        self.running.add(do.number)
        self.send(Begun(do.number))
        answer, error = None, None
        try:
            with log.about(do.work.job):
                answer = self._work(do)
                words = do.work.job or type(do.work).__name__, answer.width, answer.height, answer.model, answer.seconds
                logger.info("%s: %dx%d by %s in %.2f s", *words)
        except Gone:
            raise
        except BaseException as failure:  # a library's panic is no Exception
            error = in_words(failure)
        self.running.discard(do.number)
        self.stopped.discard(do.number)
        self.send(Ended(do.number, self.report(), answer, error))
        if error is not None:
            # The failure's traceback and the work's futures hold each other, and the pictures with them.
            gc.collect()

    def _beat(self, do: Do) -> OnProgress:
        """What the engine calls after each strip: a sign of life, and the moment at which others get a word in."""
        sent, last = float("-inf"), -1.0

        def beat(share: float) -> None:
            nonlocal sent, last
            now = time.monotonic()
            # That computing begins or ends is told at once: how long silence is borne depends on it.
            if now - sent >= REPORT_SECONDS or share >= 1 or last <= 0 < share:
                self.send(Progress(do.number, share))
                sent, last = now, share
            self._look(do)

        return beat

    def _look(self, do: Do) -> None:
        """Amid the work `do`: takes messages, runs urgent work, and raises `Cancelled` if `do` is not wanted."""
        while self._is_spoken_to():
            self._take(self._hear())
        # In this call's own frame, so that the running work stays as it is until the urgent one is done.
        while do.number not in self.stopped and not do.urgent and any(one.urgent for one in self.waiting):
            self._run(self._next())
        if do.number in self.stopped:
            raise Cancelled("stopped")

    def _work(self, do: Do) -> Answer:
        work, beat = do.work, self._beat(do)
        beat(0.0)  # so that work stopped while it waited loads no model
        engine = self.engines.get(work.model, work.precision)
        return perform(engine, work, on_progress=beat, look=lambda: self._look(do))


def perform(engine: WorkerEngine, work: Work, *, on_progress: OnProgress, look: Callable[[], None]) -> Answer:
    """Does one piece of work with an engine of its model.

    Args:
        engine: of the work's model.
        work: what is asked.
        on_progress: called with the share done; what it raises ends the work.
        look: called often while a file is read or written; what it raises ends the work before it computes more.

    Raises:
        LiifError: as `Engine.restore` and `restore_file`.
    """
    if isinstance(work, PixelWork):
        return pixel_work.run(engine, work, on_progress=on_progress)
    if isinstance(work, TileWork):
        return tile_work.run(engine, work, on_progress=on_progress)
    if isinstance(work, LookWork):
        precision, device = engine.precision_for(work.bits), str(engine.device)
        return Answer(engine.model_name, precision, device, 0.0, 0, 0, halo=engine.halo, core=engine.tile_core())
    # It may concern no file at all, and reading files loads much.
    from liif_engine.workers import file_work

    return file_work.run(engine, work, on_progress=on_progress, look=look)


class Saying(logging.Handler):
    """Sends log records to the server's process, which knows where they belong.

    Args:
        send: takes a message.
    """

    def __init__(self, send: Callable[[Said], None]) -> None:
        super().__init__()
        self.say = send

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record; where nobody listens any more it is lost."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
        with suppress(Gone):
            self.say(Said(record.name, record.levelno, text, log.job()))


@contextmanager
def _to_server() -> Iterator[None]:
    """What fails inside is the line to the server's process."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise Gone from error


def _end_with_parent() -> None:
    """Ends this process when the server's is killed, also in the middle of work that never looks up."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
