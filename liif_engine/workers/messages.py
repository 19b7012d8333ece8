"""The messages between the server's process and a worker's."""

from __future__ import annotations

from dataclasses import dataclass, field

from liif_engine.errors import LiifError
from liif_engine.workers.work import Answer, Work

# Messages from the server's process to a worker's.


@dataclass(frozen=True)
class Do:
    """Do this work; urgent work before and amid other."""

    number: int
    work: Work
    urgent: bool


@dataclass(frozen=True)
class Stop:
    """End that work at the next batch."""

    number: int


# Messages from a worker's process to the server's. Each is a sign of life.


@dataclass(frozen=True)
class Report:
    """What a worker says of itself.

    Attributes:
        device: cpu, cuda:0, ...
        device_name: the hardware's name.
        gpus: how many CUDA GPUs there are.
        device_bytes: memory held on the GPU; 0 on the CPU.
        models: names of the models loaded.
        pid: of the worker's process.
        host: its machine, where that may be another one.
        memory_bytes, peak_bytes: memory that the process holds, and the most that it ever held; 0 where the system does
            not tell.
    """

    device: str = ""
    device_name: str = ""
    gpus: int = 0
    device_bytes: int = 0
    models: tuple[str, ...] = ()
    pid: int = 0
    host: str = ""
    memory_bytes: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True)
class Ready:
    """The worker has started."""

    report: Report


@dataclass(frozen=True)
class Broken:
    """The worker cannot start, and ends."""

    error: LiifError


@dataclass(frozen=True)
class Begun:
    """That work runs now; what ran before it waits."""

    number: int


@dataclass(frozen=True)
class Progress:
    """That work has come so far."""

    number: int
    share: float


@dataclass(frozen=True)
class Said:
    """A record for the log, about the job at work."""

    name: str
    level: int
    text: str
    job: str


@dataclass(frozen=True)
class Ended:
    """That work is over: one of `answer` and `error` is set."""

    number: int
    report: Report
    answer: Answer | None = None
    error: LiifError | None = field(default=None)


ToWorker = Do | Stop
FromWorker = Ready | Broken | Begun | Progress | Said | Ended
