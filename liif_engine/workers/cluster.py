"""Workers on a Ray cluster: one for each GPU, or for each share of a node's cores, also on nodes that come later.

Ray starts and places them and carries bytes; who does what, and what becomes of work that is lost, is decided by the
same code as for the processes of one machine.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from liif_engine.errors import WorkerError
from liif_engine.workers.actor_link import ActorLink, Models, Slot, first_line
from liif_engine.workers.link import END_SECONDS
from liif_engine.workers.messages import Report
from liif_engine.workers.pool import Pool
from liif_engine.workers.process import Worker
from liif_engine.workers.work import WorkerSettings

log = logging.getLogger(__name__)

#: Cores of a worker on a node without GPUs: enough for one large picture, few enough for many small ones.
CPU_SHARE = 4

#: How often it is looked which nodes there are. [s]
LOOK_SECONDS = 1.0

#: How long a cluster may take to accept a connection. [s]
CONNECT_SECONDS = 5.0

NAMESPACE = "liif-restore"


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
        self._models, self._run = Models(self._ray), secrets.token_hex(6)
        self._slots: dict[Slot, Worker] = {}
        self._ending = threading.Event()
        self._look()
        self._keeper = threading.Thread(target=self._keep, name="cluster", daemon=True)
        self._keeper.start()

    def close(self) -> None:
        """As `Workers.close`; a cluster that was joined goes on without us."""
        self._ending.set()
        # A cluster whose head has gone may not answer for a minute.
        self._keeper.join(END_SECONDS)
        super().close()
        if self._joined:
            self._ray.shutdown()

    def _keep(self) -> None:
        """The thread that looks after nodes."""
        while not self._ending.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception as error:
                log.warning("the cluster does not answer (%s)", first_line(error))

    def _look(self) -> None:
        """Takes in nodes that have come, and lets go of those that have gone."""
        slots = {slot for node in self._ray.nodes() if node["Alive"] for slot in slots_of(node, self.settings.device)}
        if self._ending.is_set():
            return
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
        return ActorLink(self._ray, slot, settings, self._models, self._run)

    def _on_report(self, _: Report) -> None:
        self.on_room()


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
        raise WorkerError(f"the Ray cluster cannot be joined ({first_line(error)})", remedy=remedy) from error
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
