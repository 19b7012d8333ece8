"""The inside of a worker on a Ray cluster: the same as that of a process, but messages come and go by calls."""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from liif_engine.errors import WorkerError
from liif_engine.model_names import like
from liif_engine.workers.failures import in_words
from liif_engine.workers.freight import Freight, Load, remove_left, unpacked
from liif_engine.workers.inside import Inside
from liif_engine.workers.messages import Broken, Do, Ended, FromWorker, ToWorker
from liif_engine.workers.work import Answer, WorkerSettings


@dataclass(frozen=True)
class Checkpoint:
    """A model that is no shipped one; it travels, since the other machine need not have the file.

    Attributes:
        name: of the file.
        data: its bytes.
    """

    name: str
    data: bytes


@dataclass(frozen=True)
class Brought:
    """A message with freight.

    Attributes:
        do: the message.
        freight: in place of the work.
        model: the checkpoint, if the work's model is one; as Ray's reference until it is needed.
    """

    do: Do
    freight: Freight
    model: Any = None


#: A message and the bytes that come with it.
Sent = tuple[FromWorker, Load]


class Actor:
    """One worker. Ray makes it in a process of its own and calls its methods, `hear` in another thread than `tell`.

    Args:
        settings: how to work.
        device: the worker's.
        prefix: of the names of its folders for files and of its shared memory; it and its predecessors alone have it.
        model: the settings' own model, if it is a checkpoint.
    """

    def __init__(self, settings: WorkerSettings, device: str, prefix: str, model: Checkpoint | None = None) -> None:
        self.prefix = prefix
        self.inbox: SimpleQueue[ToWorker | Brought] = SimpleQueue()
        self.outbox: SimpleQueue[Sent] = SimpleQueue()
        self._settings, self._device, self._model = settings, device, model
        threading.Thread(target=self._live, name="worker", daemon=True).start()

    def tell(self, message: ToWorker | Brought) -> None:
        """A message for the worker."""
        self.inbox.put(message)

    def hear(self, seconds: float) -> list[Sent]:
        """What the worker has said since the last call; waits for something, but not for long."""
        try:
            found = [self.outbox.get(timeout=seconds)]
        except Empty:
            return []
        while not self.outbox.empty():
            found.append(self.outbox.get_nowait())
        return found

    def tidy(self) -> None:
        """Removes what lies on this machine's disk and in its memory of the pictures that this worker or a predecessor
        was sent."""
        remove_left(self.prefix)

    def _live(self) -> None:
        settings = self._settings
        self.tidy()
        try:
            if self._model is not None:
                settings = replace(settings, model=like(settings.model, unpack_model(self._model)))
            worker = _Inside(self, settings, self._device)
            worker.start()
        except Exception as error:
            self.outbox.put((Broken(in_words(error)), b""))
            return
        try:
            worker.serve()
        except Exception as error:  # a fault of ours: the supervisor starts another one
            self.outbox.put((Broken(in_words(error)), b""))


class _Inside(Inside):
    """The inside of any worker, with freight.

    Args:
        actor: through which it hears and speaks.
        settings: how to work.
        device: the worker's.
    """

    def __init__(self, actor: Actor, settings: WorkerSettings, device: str) -> None:
        self._brought: dict[int, Brought] = {}
        self._results: dict[int, Load] = {}
        self._models: dict[str, str] = {}
        self._outbox, self._prefix = actor.outbox, actor.prefix
        super().__init__(_Mouth(actor, self._brought), settings, device, platform.node())

    def send(self, message: FromWorker) -> None:
        """As `Inside.send`; a result takes its bytes along."""
        data = self._results.pop(message.number, b"") if isinstance(message, Ended) else b""
        self._outbox.put((message, data))

    def _work(self, do: Do) -> Answer:
        brought = self._brought.pop(do.number)
        with unpacked(brought.freight, self._prefix) as (work, collect):
            if brought.model is not None:
                work = replace(work, model=like(work.model, self._path_of(brought.model)))
            answer = super()._work(replace(do, work=work))
            self._results[do.number] = collect()
        return answer

    def _path_of(self, model: Any) -> str:
        """Where the checkpoint of a reference lies here; fetched once."""
        key = model.hex()
        if key not in self._models:
            import ray

            self._models[key] = unpack_model(ray.get(model))
        return self._models[key]


class _Mouth:
    """Takes messages from the actor's inbox, freight apart."""

    def __init__(self, actor: Actor, brought: dict[int, Brought]) -> None:
        self._actor, self._kept = actor, brought

    def send(self, message: FromWorker) -> None:
        """Not used: `_Inside.send` puts them into the outbox."""
        raise AssertionError(message)

    def recv(self) -> ToWorker:
        """The next message."""
        message = self._actor.inbox.get()
        if not isinstance(message, Brought):
            return message
        self._kept[message.do.number] = message
        return message.do

    def poll(self) -> bool:
        """Whether there is one."""
        return not self._actor.inbox.empty()


def unpack_model(model: Checkpoint) -> str:
    """A checkpoint's path on this machine, written there unless it is there with the same content.

    Raises:
        WorkerError: another user could put something else there.
    """
    digest = hashlib.sha256(model.data).hexdigest()
    user = os.getuid() if hasattr(os, "getuid") else 0
    base = Path(tempfile.gettempdir()) / f"liif-restore-models-{user}"
    base.mkdir(exist_ok=True, mode=0o700)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and (found.st_uid != user or found.st_mode & 0o022)):
        raise WorkerError(f"{base} on {platform.node()} is not a folder of this user alone", remedy="Delete it.")
    folder = base / digest
    path = folder / model.name
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        folder.mkdir(exist_ok=True, mode=0o700)
        new = path.with_name(f"{model.name}.{os.getpid()}.new")
        new.write_bytes(model.data)
        new.replace(path)
    return str(path)
