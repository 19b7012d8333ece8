"""A worker on another machine: a Ray actor, and what travels to it and back."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from liif_engine.errors import LiifError, WorkerError
from liif_engine.model_names import plain
from liif_engine.workers.actor import Actor, Brought, Checkpoint, Sent
from liif_engine.workers.failures import in_words
from liif_engine.workers.freight import Load, Parcel
from liif_engine.workers.work import Do, Ended, FromWorker, Ready, Report, ToWorker, WorkerSettings

log = logging.getLogger(__name__)

#: How long one call waits for news of a worker; the next call follows at once. [s]
HEAR_SECONDS = 5.0

#: How long a worker that is to be ended may take to remove what it was sent. [s]
TIDY_SECONDS = 2.0


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


class ActorLink:
    """A worker that is a Ray actor. A `Link`.

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
        self._arrived: deque[Sent] = deque()
        self._parcels: dict[int, tuple[Parcel, float]] = {}
        self._outbox: SimpleQueue[ToWorker | None] = SimpleQueue()
        self._fault, self._report = "", Report()
        self._dead = False
        threading.Thread(target=self._send_for_ever, name="courier", daemon=True).start()

    def send(self, message: ToWorker) -> None:
        """As `Link.send`; from a thread of its own, since files are read for it."""
        self._outbox.put(message)

    def receive(self, seconds: float) -> FromWorker | None:
        """As `Link.receive`."""
        if not self._arrived:
            try:
                ready, _ = self._ray.wait([self._hearing], timeout=seconds)
                if not ready:
                    return None
                self._arrived += self._ray.get(self._hearing)
                self._hearing = self._call("hear", HEAR_SECONDS)
            except self._ray.exceptions.RayError as error:
                self._dead, self._fault = True, first_line(error)
                raise EOFError from None
        return self._open(*self._arrived.popleft()) if self._arrived else None

    def kill(self) -> None:
        """As `Link.kill`."""
        self._dead = True
        try:
            if self._parcels:
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
        self._parcels.clear()
        return f"a worker on the cluster was lost ({self._fault or 'ended'})"

    def memory_bytes(self) -> int | None:
        """It reports that itself."""
        return None

    def _call(self, name: str, *arguments: Any) -> Any:
        return getattr(self._actor, name).options(concurrency_group=name).remote(*arguments)

    def _send_for_ever(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                sent = self._packed(message) if isinstance(message, Do) else message
                if sent is not None:
                    self._call("tell", sent)
            except Exception as error:
                self._fault = first_line(error)
                self.kill()

    def _packed(self, message: Do) -> Brought | None:
        """A message with its freight; None for work that is answered here, since it never goes on its way."""
        started = time.monotonic()
        try:
            parcel = Parcel(message.work)
        except Exception as error:  # of this work alone, whose pixels go as soon as nobody waits for them any more
            self._arrived.append((Ended(message.number, self._report, None, in_words(error)), b""))
            return None
        self._parcels[message.number] = parcel, started
        freight = parcel.freight
        # What the names mean is known here alone.
        bare = replace(message, work=replace(freight.work))
        return Brought(bare, freight, self._models.get(message.work.model))

    def _open(self, message: FromWorker, data: Load) -> FromWorker:
        """A message as the supervisor expects it; a result is put where it belongs first."""
        if isinstance(message, Ready | Ended):
            self._report = message.report
        if not isinstance(message, Ended):
            return message
        parcel, started = self._parcels.pop(message.number, (None, 0.0))
        if parcel is None:
            return message
        if message.answer is None:
            return replace(message, error=parcel.name(message.error)) if message.error else message
        try:
            answer = parcel.unpack(message.answer, data)
        except LiifError as error:
            return replace(message, answer=None, error=error)
        except Exception as error:
            words = WorkerError(f"unexpected {type(error).__name__}: {first_line(error)}")
            return replace(message, answer=None, error=words)
        carried = max(0.0, time.monotonic() - started - answer.seconds)
        return replace(message, answer=replace(answer, stages={**answer.stages, "carry": carried}))


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


def first_line(error: BaseException) -> str:
    """Of an error's words, which with Ray's are many."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
