"""Workers on a Ray cluster: one for each GPU, or for each share of a node's cores, also on nodes that come later.

Ray starts and places them and carries bytes; who does what, and what becomes of work that is lost, is decided by the
same code as for the processes of one machine.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from liif_engine.errors import LiifError, WorkerError
from liif_engine.workers.actor import Actor, Brought, Checkpoint
from liif_engine.workers.freight import Parcel
from liif_engine.workers.pool import Pool
from liif_engine.workers.process import Worker
from liif_engine.workers.work import Do, Ended, FromWorker, Report, ToWorker, WorkerSettings

log = logging.getLogger(__name__)

#: Cores of a worker on a node without GPUs: enough for one large picture, few enough for many small ones.
CPU_SHARE = 4

#: How often it is looked which nodes there are. [s]
LOOK_SECONDS = 1.0

#: How long one call waits for news of a worker; the next call follows at once. [s]
HEAR_SECONDS = 5.0

#: How long a cluster may take to accept a connection. [s]
CONNECT_SECONDS = 5.0

NAMESPACE = "liif-restore"


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


class RayWorkers(Pool):
    """Workers on a Ray cluster. A `Workers`.

    Args:
        settings: how to work.
        address: ``host:port`` of the cluster, or ``auto`` for the one that this machine belongs to; None to join that
            one or, if there is none, to start one of this machine alone, which ends with this process.
        on_room: as in `Pool`.

    Raises:
        WorkerError: Ray is not installed, or the cluster cannot be joined.
    """

    def __init__(
        self, settings: WorkerSettings, address: str | None = None, *, on_room: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(settings, on_room=on_room)
        self._ray, self._joined = _join(address)
        self._models = _Models(self._ray)
        self._slots: dict[Slot, Worker] = {}
        self._ending = threading.Event()
        self._look()
        self._keeper = threading.Thread(target=self._keep, name="cluster", daemon=True)
        self._keeper.start()

    def close(self) -> None:
        """As `Workers.close`; a cluster that was joined goes on without us."""
        self._ending.set()
        self._keeper.join()
        super().close()
        if self._joined:
            self._ray.shutdown()

    def _keep(self) -> None:
        """The thread that looks after nodes."""
        while not self._ending.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception as error:
                log.warning("the cluster does not answer (%s)", _first_line(error))

    def _look(self) -> None:
        """Takes in nodes that have come, and lets go of those that have gone."""
        slots = {slot for node in self._ray.nodes() if node["Alive"] for slot in slots_of(node, self.settings.device)}
        for slot, worker in list(self._slots.items()):
            if slot not in slots:
                worker.lose()
            if worker.is_gone():
                del self._slots[slot]
        for slot in sorted(slots - self._slots.keys(), key=lambda one: (one.node, one.index)):
            launch = partial(self._launch, slot)
            self._slots[slot] = Worker(
                self.settings, f"{slot.node[:8]}/{slot.index}", self._on_report, on_lost=self._take_back, launch=launch
            )
        self._workers = list(self._slots.values())

    def _launch(self, slot: Slot, settings: WorkerSettings, _: str) -> ActorLink:
        return ActorLink(self._ray, slot, settings, self._models)

    def _on_report(self, _: Report) -> None:
        self.on_room()


class ActorLink:
    """A worker that is a Ray actor. A `Link`.

    Args:
        ray: the library.
        slot: where it runs.
        settings: how to work.
        models: gives checkpoints for the way.
    """

    #: Its process is another machine's.
    pid: int | None = None

    def __init__(self, ray: Any, slot: Slot, settings: WorkerSettings, models: _Models) -> None:
        self._ray, self._slot, self._models = ray, slot, models
        device = "cpu" if settings.device == "cpu" or not slot.gpus else "cuda"
        placed = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(slot.node, soft=False)
        kind = ray.remote(
            num_cpus=slot.cpus,
            num_gpus=slot.gpus,
            scheduling_strategy=placed,
            # A call each way at a time, in the order of the calls.
            concurrency_groups={"tell": 1, "hear": 1},
            max_restarts=0,
        )(Actor)
        self._actor = kind.remote(settings, device, models.get(settings.model))
        self._hearing = self._call("hear", HEAR_SECONDS)
        self._arrived: deque[tuple[FromWorker, Any]] = deque()
        self._parcels: dict[int, tuple[Parcel, float]] = {}
        self._outbox: SimpleQueue[ToWorker | None] = SimpleQueue()
        self._fault = ""
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
                self._dead, self._fault = True, _first_line(error)
                raise EOFError from None
        return self._open(*self._arrived.popleft()) if self._arrived else None

    def kill(self) -> None:
        """As `Link.kill`."""
        self._dead = True
        try:
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
                self._call("tell", self._packed(message) if isinstance(message, Do) else message)
            except LiifError as error:
                if isinstance(message, Do):
                    self._answer(message.number, error)
            except Exception as error:
                self._fault = _first_line(error)
                self.kill()

    def _packed(self, message: Do) -> Brought:
        started = time.monotonic()
        parcel = Parcel(message.work)
        self._parcels[message.number] = parcel, started
        freight = parcel.freight
        # What the names mean is known here alone.
        bare = replace(message, work=replace(freight.work))
        return Brought(bare, freight, self._models.get(message.work.model))

    def _answer(self, number: int, error: LiifError) -> None:
        """Ends work here that never went on its way."""
        self._arrived.append((Ended(number, Report(), None, error), None))

    def _open(self, message: FromWorker, data: Any) -> FromWorker:
        """A message as the supervisor expects it; a result is put where it belongs first."""
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
            words = WorkerError(f"unexpected {type(error).__name__}: {_first_line(error)}")
            return replace(message, answer=None, error=words)
        carried = max(0.0, time.monotonic() - started - answer.seconds)
        return replace(message, answer=replace(answer, stages={**answer.stages, "carry": carried}))


class _Models:
    """Checkpoints in Ray's store, put there once each."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._kept: dict[str, tuple[Any, Any]] = {}

    def get(self, model: str) -> Any:
        """Ray's reference to what travels for a model; None if it is a shipped one, or no file.

        Args:
            model: a name or an absolute path.
        """
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


def slots_of(node: dict[str, Any], device: str) -> list[Slot]:
    """The workers that a node has room for: one a GPU, else one for each share of its cores.

    Args:
        node: as `ray.nodes` tells it.
        device: of the settings; ``cpu`` leaves GPUs alone.
    """
    resources = node.get("Resources", {})
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0)) if device != "cpu" else 0
    if gpus:
        return [Slot(node["NodeID"], index, min(1, cpus // gpus), 1) for index in range(gpus)]
    share = min(CPU_SHARE, cpus)
    return [Slot(node["NodeID"], index, share, 0) for index in range(cpus // share if share else 0)]


def _join(address: str | None) -> tuple[Any, bool]:
    """Ray, connected to a cluster; and whether that was done here."""
    # Nothing is sent to anybody, and no banner is printed.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise WorkerError("Ray is not installed", remedy="pip install 'liif-restore[ray]'") from error
    _hush(ray)
    if ray.is_initialized():
        return ray, False
    # Ray takes SIGTERM for itself; here it means what the command makes of it.
    before = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        found = _found(ray) if address in {None, "auto"} else address
        if found is not None:
            ray.init(address=_reachable(found), **options)
        elif address == "auto":
            raise ConnectionError("this machine belongs to none")
        else:
            ray.init(address="local", include_dashboard=False, **options)
    except Exception as error:
        remedy = "Check that `ray status` works there, with the same versions of Ray and Python."
        raise WorkerError(f"the Ray cluster cannot be joined ({_first_line(error)})", remedy=remedy) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    return ray, True


def _found(ray: Any) -> str | None:
    """The address of the cluster that this machine belongs to, if there is one that answers."""
    found = os.environ.get("RAY_ADDRESS")
    if found is None:
        with suppress(Exception):  # of Ray's inside; what it leaves when it crashes leads nowhere
            found = _reachable(ray._private.utils.read_ray_address())
    return found or None


def _reachable(address: str) -> str:
    """The address, if somebody listens there: Ray itself would try for minutes.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    with socket.create_connection((host, int(port)), CONNECT_SECONDS):
        return address


def _hush(ray: Any) -> None:
    """Keeps Ray from printing the last words of a node that died on stdout, where a program expects JSON.

    It has no public switch for that; where this one is gone, Ray prints again.
    """
    if hasattr(ray._private.worker, "_worker_logs_enabled"):
        ray._private.worker._worker_logs_enabled = False


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
