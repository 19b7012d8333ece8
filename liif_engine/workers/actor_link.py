"""A worker on another machine: a Ray actor, and what travels to it and back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from liif_engine.errors import Cancelled, LiifError, WorkerError
from liif_engine.model_names import plain
from liif_engine.workers.actor import Actor, Brought, Checkpoint
from liif_engine.workers.failures import in_words
from liif_engine.workers.file_work import LEAVE_SECONDS
from liif_engine.workers.freight import Load, Parcel
from liif_engine.workers.messages import Do, Ended, FromWorker, Ready, Report, ToWorker
from liif_engine.workers.work import WorkerSettings

log = logging.getLogger(__name__)

#: How long one call waits for news of a worker; the next call follows at once. [s]
HEAR_SECONDS = 5.0

#: How often it is looked for what was read or written here, of which Ray does not tell. [s]
LOOK_SECONDS = 0.02

#: How long a worker that is to be ended may take to remove what it was sent. [s]
TIDY_SECONDS = 2.0

#: Characters of an error whose first line leads to others; Ray may add all that it knows.
LONGEST_WORDS = 300


@dataclass(frozen=True)
class Slot:
    """Where one worker runs.

    Attributes:
        node: Ray's id of the machine.
        index: of the worker on it.
        cpus, gpus: that are the worker's own.
    """

    node: str
    index: int
    cpus: int
    gpus: int


@dataclass
class _Errand:
    """A piece of work from its being read here to its result's being written here.

    Attributes:
        started: when.
        parcel: None as long as it is read.
        is_back: whether its result is written now.
        stopped: when it was told that it is not wanted.
    """

    started: float
    parcel: Parcel | None = None
    is_back: bool = False
    stopped: float = float("inf")

    def give_up(self) -> None:
        """Its result is not wanted any more, if it is not there yet."""
        if self.parcel is not None:
            self.parcel.is_wanted = False


class ActorLink:
    """A worker that is a Ray actor. A `Link`.

    Files are read and written in threads of their own: a file system that hangs holds up neither other work, nor the
    news that the work is not wanted any more.

    Args:
        ray: the library.
        slot: where it runs.
        settings: how to work.
        models: gives checkpoints for the way.
        run: tells the folders of this run's workers from those of others.
    """

    #: Its process is another machine's.
    pid: int | None = None

    def __init__(self, ray: Any, slot: Slot, settings: WorkerSettings, models: Models, run: str) -> None:
        self._ray, self._slot, self._models = ray, slot, models
        device = "cpu" if settings.device == "cpu" or not slot.gpus else "cuda"
        placed = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(slot.node, soft=False)
        kind = ray.remote(
            num_cpus=slot.cpus,
            num_gpus=slot.gpus,
            scheduling_strategy=placed,
            # A call each way at a time, in the order of the calls.
            concurrency_groups={"tell": 1, "hear": 1, "tidy": 1},
            max_restarts=0,
        )(Actor)
        prefix = f"liif-restore-{run}-{slot.node[:8]}-{slot.index}-"
        self._actor = kind.remote(settings, device, prefix, models.get(settings.model))
        self._hearing = self._call("hear", HEAR_SECONDS)
        self._arrived: SimpleQueue[FromWorker] = SimpleQueue()
        self._errands: dict[int, _Errand] = {}
        self._changing = threading.Lock()
        self._outbox: SimpleQueue[ToWorker | Brought | None] = SimpleQueue()
        self._fault, self._report = "", Report()
        self._dead = self._killed = False
        threading.Thread(target=self._send_for_ever, name="courier", daemon=True).start()

    def send(self, message: ToWorker) -> None:
        """As `Link.send`; from a thread of its own, since Ray may take long."""
        if isinstance(message, Do):
            errand = _Errand(time.monotonic())
            with self._changing:
                self._errands[message.number] = errand
            _aside(self._set_out, message, errand)
            return
        with self._changing:
            if message.number in self._errands:
                self._errands[message.number].stopped = time.monotonic()
            # Behind the work itself, unless that is still read: then it never goes on its way.
            self._outbox.put(message)

    def receive(self, seconds: float) -> FromWorker | None:
        """As `Link.receive`."""
        is_busy = self._is_busy_here()
        with suppress(Empty):
            return self._arrived.get(timeout=min(seconds, LOOK_SECONDS) if is_busy else 0)
        try:
            ready, _ = self._ray.wait([self._hearing], timeout=0 if is_busy else seconds)
            if not ready:
                return None
            for message, data in self._ray.get(self._hearing):
                self._take(message, data)
            self._hearing = self._call("hear", HEAR_SECONDS)
        except self._ray.exceptions.RayError as error:
            self._dead, self._fault = True, first_line(error)
            # What has arrived counts, whatever became of its worker since.
            if self._killed or not any(errand.is_back for errand in self._on_errands()):
                raise EOFError from None
        with suppress(Empty):
            return self._arrived.get_nowait()
        return None

    def kill(self) -> None:
        """As `Link.kill`."""
        self._dead = self._killed = True
        try:
            if any(errand.parcel for errand in self._on_errands()):
                # Ray kills as SIGKILL does, and would leave the user's picture on that machine's disk.
                self._ray.wait([self._call("tidy")], timeout=TIDY_SECONDS)
            self._ray.kill(self._actor)
        except Exception as error:  # it has gone already, or the cluster has
            log.debug("a worker could not be killed (%s)", error)

    def is_alive(self) -> bool:
        """As `Link.is_alive`, as far as is known here."""
        return not self._dead

    def is_for_good(self) -> bool:
        """Whether its node has gone."""
        try:
            return not any(node["NodeID"] == self._slot.node and node["Alive"] for node in self._ray.nodes())
        except Exception:
            return True

    def close(self) -> str:
        """As `Link.close`."""
        self.kill()
        self._outbox.put(None)
        for errand in self._on_errands():
            errand.give_up()
        with self._changing:
            self._errands.clear()
        return f"a worker on the cluster was lost ({self._fault or 'ended'})"

    def memory_bytes(self) -> int | None:
        """It reports that itself."""
        return None

    def _call(self, name: str, *arguments: Any) -> Any:
        return getattr(self._actor, name).options(concurrency_group=name).remote(*arguments)

    def _send_for_ever(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._call("tell", message)
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._fault = first_line(error)
        self.kill()

    def _on_errands(self) -> list[_Errand]:
        with self._changing:
            return list(self._errands.values())

    def _is_busy_here(self) -> bool:
        """Whether files are read or written here; what was stopped amid that, and hangs, is left to it."""
        now = time.monotonic()
        with self._changing:
            here = [(number, one) for number, one in self._errands.items() if one.parcel is None or one.is_back]
        for number, one in here:
            if now - one.stopped > (LEAVE_SECONDS if one.is_back else 0):
                self._end(Ended(number, self._report, None, Cancelled("stopped")))
        return bool(here)

    def _set_out(self, message: Do, errand: _Errand) -> None:
        """Reads what the work needs, and sends both on their way."""
        try:
            parcel, model = Parcel(message.work), self._models.get(message.work.model)
        except self._ray.exceptions.RayError as error:
            self._fail(error)
            return
        except Exception as error:  # of this work alone, whose pixels go as soon as nobody waits for them any more
            self._end(Ended(message.number, self._report, None, in_words(error)))
            return
        # What the names mean is known here alone.
        bare = replace(message, work=replace(parcel.freight.work))
        with self._changing:
            is_wanted = self._errands.get(message.number) is errand and errand.stopped == float("inf")
            if is_wanted:
                errand.parcel = parcel
                self._outbox.put(Brought(bare, parcel.freight, model))
        if not is_wanted:
            self._end(Ended(message.number, self._report, None, Cancelled("stopped")))

    def _take(self, message: FromWorker, data: Load) -> None:
        """A message from the worker; a result is put where it belongs before anybody hears of it."""
        if isinstance(message, Ready | Ended):
            self._report = message.report
        if not isinstance(message, Ended):
            self._arrived.put(message)
            return
        with self._changing:
            errand = self._errands.get(message.number)
        if errand is None or errand.parcel is None:
            return  # it was left
        if message.answer is not None:
            errand.is_back = True
            _aside(self._unpack, message, data, errand.parcel, errand.started)
        else:
            self._end(replace(message, error=message.error and errand.parcel.name(message.error)))

    def _unpack(self, message: Ended, data: Load, parcel: Parcel, started: float) -> None:
        """Puts a result where it belongs, and says so."""
        assert message.answer is not None  # it is a result
        try:
            answer = parcel.unpack(message.answer, data)
            carried = max(0.0, time.monotonic() - started - answer.seconds)
            message = replace(message, answer=replace(answer, stages={**answer.stages, "carry": carried}))
        except LiifError as error:
            message = replace(message, answer=None, error=error)
        except Exception as error:
            words = WorkerError(f"unexpected {type(error).__name__}: {first_line(error)}")
            message = replace(message, answer=None, error=words)
        self._end(message)

    def _end(self, message: Ended) -> None:
        """Says how work ended, once."""
        with self._changing:
            errand = self._errands.pop(message.number, None)
        if errand is not None:
            errand.give_up()
            self._arrived.put(message)


class Models:
    """Checkpoints in Ray's store, put there once each."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._kept: dict[str, tuple[tuple[int, int, int] | None, Any]] = {}

    def get(self, model: str) -> Any:
        """Ray's reference to what travels for a model; None if it is a shipped one, or no file.

        Args:
            model: a name or an absolute path.
        """
        model = plain(model)
        path = Path(model)
        try:
            found = path.stat() if path.is_absolute() else None
        except OSError:
            found = None
        if found is None:
            return None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._kept.get(model, (None, None))[0] != stamp:
            self._kept[model] = stamp, self._ray.put(Checkpoint(path.name, path.read_bytes()))
        return self._kept[model][1]


def _aside(call: Callable[..., None], *arguments: Any) -> None:
    """Calls in a thread of its own, a daemon: a file system that hangs must not keep this process from ending."""
    try:
        threading.Thread(target=call, args=arguments, name="carrier", daemon=True).start()
    except RuntimeError:  # there are no more threads
        call(*arguments)


def first_line(error: BaseException) -> str:
    """Of an error's words, which with Ray's are many; with what follows if it says nothing by itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines)[:LONGEST_WORDS] if lines[0].endswith(":") else lines[0]
