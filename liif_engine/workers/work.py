"""What a worker can be asked, what it answers, and who asks it; `messages.py` carries both between processes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from liif_engine.picture.tiles import Grid, Rect
from liif_engine.target import Target

#: Called with the share of the work done, 0 to 1. It is called from a thread of the workers' own.
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class PixelWork:
    """Pixels in shared memory become pixels in shared memory.

    Attributes:
        source: name of the segment that holds the picture: rows from the top, channels interleaved, little endian.
        result: name of the segment that takes the result, in the same format.
        shape: (H, W, C) of the picture, C from 1 to 4.
        dtype: ``u8``, ``u16``, ``f16`` or ``f32``; floats in [0, 1].
        size: (width, height) of the result in pixels.
        layout: ``CMYK``, or None to tell it from the channels.
        model, precision: as `Engine` takes them.
        job: the job's id, for the log.
    """

    source: str
    result: str
    shape: tuple[int, int, int]
    dtype: str
    size: tuple[int, int]
    layout: str | None = None
    model: str = "web"
    precision: str = "auto"
    job: str = ""


@dataclass(frozen=True)
class FileWork:
    """A picture file becomes a picture file.

    Attributes:
        source: path of the picture.
        destination: path of the result, of a folder for it, or None for ``name@2x.ext`` beside the source.
        target: how large.
        format: of the result, a name or suffix such as ``png``; None to tell it from the destination's suffix.
        quality: of a lossy result, 1 to 100.
        overwrite: whether an existing result may be replaced.
        resume: whether an existing file that has the result's very bytes is the result, as in `restore_file`.
        allow_truncated: whether to restore what is there of a picture that ends early.
        consistent: whether the result is moved into the JPEG's own quantisation intervals; at scale 1 only.
        max_pixels: larger sources are refused; None for the usual limit.
        result_pixels: of the result, where that is known; 0 where nobody counted.
        held_bytes: of the picture, its result and what writing that takes, likewise.
        model, precision: as `Engine` takes them.
        job: the job's id, for the log.
    """

    source: str
    destination: str | None
    target: Target
    format: str | None = None
    quality: int = 95
    overwrite: bool = False
    resume: bool = False
    allow_truncated: bool = False
    consistent: bool = False
    max_pixels: int | None = None
    result_pixels: int = 0
    held_bytes: int = 0
    model: str = "web"
    precision: str = "auto"
    job: str = ""


@dataclass(frozen=True)
class TileWork:
    """One tile of a picture: its window, in shared memory, becomes the pixels that its core answers for.

    Attributes:
        source: name of the segment that holds the window, as in `PixelWork`.
        result: name of the segment that takes the tile's output, in the same format.
        grid: the whole picture's sizes.
        core: of the tile.
        channels: 1 or 3, a group of `planes.NETWORK_GROUPS`.
        dtype: as in `PixelWork`, but no half floats.
        model, precision: as `Engine` takes them, but a model of its own, not ``auto``.
        job: the job's id, for the log.
    """

    source: str
    result: str
    grid: Grid
    core: Rect
    channels: int
    dtype: str
    model: str = "web"
    precision: str = "auto"
    job: str = ""


@dataclass(frozen=True)
class LookWork:
    """Loads a model and says what cutting a picture into tiles for it needs: `Answer.halo` and `Answer.core`.

    Attributes:
        bits: of the picture's channels, which decide the precision.
        model, precision: as `Engine` takes them, but a model of its own, not ``auto``.
        job: the job's id, for the log.
    """

    bits: int = 8
    model: str = "web"
    precision: str = "auto"
    job: str = ""


Work = PixelWork | FileWork | TileWork | LookWork


@dataclass(frozen=True)
class Answer:
    """What was done.

    Attributes:
        model: the model's name.
        precision: fp32 or bf16.
        device: cpu, cuda:0, ...
        seconds: of work, without waiting for other jobs.
        width, height: of the result in pixels.
        destination: the result's path, for files.
        format: the result's format, for files.
        source_sha256: of the file that was read, in hexadecimal, for files.
        notes: what the result could not carry and the user should know.
        stages: seconds by stage: ``read``, ``restore``, ``write``, and ``carry`` for the way to another machine.
        source_pixels: of the picture, all frames together; 0 where nobody counted.
        halo, core: of tiles, in input pixels; only of `LookWork`.
    """

    model: str
    precision: str
    device: str
    seconds: float
    width: int
    height: int
    destination: str | None = None
    format: str | None = None
    source_sha256: str = ""
    notes: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    source_pixels: int = 0
    halo: int = 0
    core: int = 0


@dataclass(frozen=True)
class WorkerSettings:
    """How workers are made.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; ``auto`` is every GPU, or the CPU.
        model: loaded at the start, so that the first job need not wait for it.
        precision: of that model.
        memory_bytes: the most that work on the CPU may take; None for what the system allows.
        model_bytes: models beyond this much memory are dropped, the least recently used first.
        patience_seconds: a worker that gives no sign of life for so long while it computes is taken to hang.
        begin_patience_seconds: the same while it has work that it has not begun, and nothing else to do: it says at
            once that it begins, before it loads a model.
        slow_patience_seconds: the same while it starts, reads or writes files, which gives no signs in between.
        release_after_seconds: an idle worker is ended after so long, which frees its memory; None for never.
        engine: ``module:name`` of what makes an engine; tests and measurements put a stand-in here.
        threads: of a worker's process on the CPU; None for one a core. The bytes of a result do not depend on it.
        attempts: how often work may be begun: if its worker dies, another one is given it until then.
        log_level: records from this level on are sent to the server's process.
    """

    device: str = "auto"
    model: str = "web"
    precision: str = "auto"
    memory_bytes: int | None = None
    model_bytes: int = 512 << 20
    patience_seconds: float = 60
    begin_patience_seconds: float = 60
    slow_patience_seconds: float = 600
    release_after_seconds: float | None = None
    engine: str = "liif_engine.restore:Engine"
    threads: int | None = None
    attempts: int = 1
    log_level: int = 30


class Ticket(Future[Answer]):
    """The future of one piece of work: `concurrent.futures.Future`, which can also be stopped while it runs.

    Args:
        work: what is asked.
        on_progress: called with the share done.
        urgent: whether a person waits for it; it then goes ahead of ordinary work at the next batch of tiles.

    Attributes:
        attempts: how often a worker was given it.
        losses: how often it was taken from a worker that died or could not be started, whether given it or not.
        is_stopped: whether it is not wanted any more, whatever becomes of the worker that was told so.
    """

    _numbers = count(1)

    def __init__(self, work: Work, on_progress: OnProgress | None, urgent: bool) -> None:
        super().__init__()
        self.number = next(self._numbers)
        self.work, self.on_progress, self.urgent = work, on_progress, urgent
        self.attempts, self.losses, self.is_stopped = 0, 0, False
        self.on_stop: Callable[[Ticket], None] = lambda _: None

    def stop(self) -> None:
        """Ends the work at the next batch of tiles; the future then raises `Cancelled`."""
        # First, since whoever takes the work over looks at it after having put itself in `on_stop`.
        self.is_stopped = True
        self.on_stop(self)

    def cancel(self) -> bool:
        """As `stop`; False, since the work ends later, not now."""
        self.stop()
        return False


class Workers(Protocol):
    """A place where work is done. All methods may be called from any thread."""

    def room(self, *, urgent: bool) -> bool:
        """Whether work submitted now would start now, or at the running work's next batch if it is urgent."""

    def submit(self, work: Work, *, on_progress: OnProgress | None = None, urgent: bool = False) -> Ticket:
        """Starts work.

        Raises:
            BusyError: there is no room.
        """

    def status(self) -> list[dict[str, Any]]:
        """One row a worker, for people and monitors."""

    def close(self) -> None:
        """Ends all workers; work that runs fails with `Cancelled`."""
