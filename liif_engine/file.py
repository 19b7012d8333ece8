"""One picture file becomes one restored picture file."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import liif_engine
from liif_engine.errors import InputError, LiifError, UsageError
from liif_engine.picture import coefficients, consistency, image_file
from liif_engine.picture.atomic import mode_like
from liif_engine.picture.image_file import Limits, Marker, Picture
from liif_engine.plan import NO_INTERVALS, Plan, check_destination, plan
from liif_engine.progress import check_callable
from liif_engine.restorer import Restorer
from liif_engine.target import Target

if TYPE_CHECKING:
    # Planning and dry runs need no torch.
    from liif_engine.progress import OnProgress
    from liif_engine.restore import Pixels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What was done.

    Attributes:
        plan: what was planned.
        model: the model's name.
        precision: fp32 or bf16.
        seconds: from opening the source to the result's name.
        source_sha256: of the file that was read, in hexadecimal.
        notes: what the result's format could not carry and the user should know.
        stages: seconds spent on ``read``, ``restore`` (the network) and ``write`` (encoding, checking, flushing).
    """

    plan: Plan
    model: str
    precision: str
    seconds: float
    source_sha256: str = ""
    notes: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)


class Clock:
    """Seconds by stage of one piece of work.

    Attributes:
        laps: seconds by the stage's name.
    """

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        """A stage has ended; the next begins."""
        now = time.monotonic()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self._last
        self._last = now


def restore_file(
    engine: Restorer,
    source: str | Path,
    destination: str | Path | None = None,
    *,
    target: Target | None = None,
    format: str | None = None,
    quality: int = 95,
    overwrite: bool = False,
    resume: bool = False,
    allow_truncated: bool = False,
    consistent: bool = False,
    limits: Limits | None = None,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Restores a picture file; what the file carried, the result carries.

    Args:
        engine: the model to use.
        source: a picture file.
        destination: a file, whose suffix sets the format if the source has another, or a folder; by default
            ``name@2x.ext`` beside the source.
        target: how large; by default twice.
        format: of the result, as in `plan`.
        quality: of a lossy result, 1 to 100.
        overwrite: whether an existing file may be replaced.
        resume: whether an existing file that has the very bytes of the result is the result, of a run that was killed;
            one that has others is left alone, as any.
        allow_truncated: whether to restore what is there of a picture whose data ends early.
        consistent: whether to move the result into the JPEG's own quantisation intervals; at scale 1 only.
        limits: what is refused as too large.
        on_progress: called with the share of the work done; what it raises ends the work, and nothing is written.

    Raises:
        LiifError: nothing was written; the error names the file and what to do.
    """
    started = time.monotonic()
    _check_switches(overwrite=overwrite, resume=resume, allow_truncated=allow_truncated, consistent=consistent)
    planned = plan(
        _path("a source", source),
        Target(scale=2) if target is None else target,
        out=None if destination is None else _path("a destination", destination),
        format=format,
        limits=limits,
        consistent=consistent,
    )
    return run(
        engine,
        planned,
        quality=quality,
        overwrite=overwrite,
        resume=resume,
        allow_truncated=allow_truncated,
        limits=limits,
        on_progress=on_progress,
        started=started,
    )


def run(
    engine: Restorer,
    planned: Plan,
    *,
    quality: int = 95,
    overwrite: bool = False,
    resume: bool = False,
    allow_truncated: bool = False,
    limits: Limits | None = None,
    on_progress: OnProgress | None = None,
    started: float | None = None,
) -> Outcome:
    """Carries out a plan; arguments and errors as in `restore_file`."""
    started = time.monotonic() if started is None else started
    with _naming(planned.source):
        image_file.check_quality(quality)
        check_callable(on_progress)
        if isinstance(engine, type) or not callable(getattr(engine, "restore", None)):
            raise UsageError(f"an engine is an Engine, such as Engine('web'), not {engine!r}")
    clock = Clock()
    may_exist = overwrite or resume
    picture = read(engine, planned, may_exist=may_exist, allow_truncated=allow_truncated, limits=limits)
    clock.lap("read")
    computed = compute(engine, planned, picture, on_progress=on_progress)
    clock.lap("restore")
    notes = write(planned, picture, computed, quality=quality, overwrite=overwrite, resume=resume)
    clock.lap("write")
    return outcome(planned, picture, computed, notes, seconds=time.monotonic() - started, stages=clock.laps)


@dataclass(frozen=True)
class Computed:
    """What a picture became.

    Attributes:
        frames: their pixels, in the picture's layout and dtype.
        model, precision: that computed them.
    """

    frames: list[Pixels]
    model: str
    precision: str


def read(
    engine: Restorer, planned: Plan, *, may_exist: bool, allow_truncated: bool = False, limits: Limits | None = None
) -> Picture:
    """The first part of `run`: the picture, if its result can be written and fits in memory. Any thread may call it.

    Raises:
        LiifError: naming the file.
    """
    with _naming(planned.source):
        check_destination(planned, may_exist=may_exist)
        probe = planned.probe
        height, beside = planned.height * probe.frames, planned.source_bytes + planned.writing_bytes
        engine.check_memory(planned.width, height, len(probe.layout), probe.bits, beside=beside)
        picture = image_file.read(planned.source, limits=limits or Limits(), allow_truncated=allow_truncated)
        if (picture.width, picture.height) != (probe.width, probe.height):
            raise UsageError("the file changed while it was being read", path=planned.source, remedy="Run it again.")
        return picture


def compute(engine: Restorer, planned: Plan, picture: Picture, *, on_progress: OnProgress | None = None) -> Computed:
    """The second part of `run`: what the network makes of the picture's frames.

    Raises:
        LiifError: naming the file.
    """
    with _naming(planned.source):
        stored = _intervals(planned.source, picture) if planned.consistent else None
        chosen = engine.for_picture(picture.frames[0].pixels, planned.source)
        frames = [
            chosen.restore(
                frame.pixels,
                size=(planned.width, planned.height),
                layout=picture.layout,
                on_progress=_share(on_progress, index, len(picture.frames)),
            )
            for index, frame in enumerate(picture.frames)
        ]
        if stored is not None:
            frames = [consistency.project(stored, frame) for frame in frames]
        return Computed(frames, chosen.model_name, engine.precision_for(planned.probe.bits))


def _intervals(source: Path, picture: Picture) -> coefficients.Coefficients:
    stored = coefficients.of_picture(source, picture)
    if stored is None:
        raise UsageError(NO_INTERVALS, remedy="Leave --consistent out.")
    return stored


def write(
    planned: Plan, picture: Picture, computed: Computed, *, quality: int, overwrite: bool, resume: bool = False
) -> tuple[str, ...]:
    """The third part of `run`: the result's file; gives what it could not carry. Any thread may call it.

    Raises:
        LiifError: naming the file; nothing was written.
    """
    with _naming(planned.source):
        marker = Marker(
            software="liif-restore",
            version=liif_engine.__version__,
            model=computed.model,
            scale_x=planned.width / planned.probe.width,
            scale_y=planned.height / planned.probe.height,
            source_sha256=picture.sha256,
            quality=quality,
            consistent=planned.consistent,
            precision=computed.precision,
        )
        notes = image_file.write(
            planned.destination,
            picture,
            computed.frames,
            format=planned.format,
            quality=quality,
            marker=marker,
            overwrite=overwrite,
            resume=resume,
            mode=mode_like(planned.source),
        )
        return tuple(notes or ())


def outcome(
    planned: Plan,
    picture: Picture,
    computed: Computed,
    notes: tuple[str, ...],
    *,
    seconds: float,
    stages: dict[str, float],
) -> Outcome:
    """What to say of a file whose parts are all done."""
    return Outcome(planned, computed.model, computed.precision, seconds, picture.sha256, notes, stages)


@contextmanager
def _naming(source: Path) -> Iterator[None]:
    """Errors inside name the file."""
    try:
        yield
    except LiifError as error:
        raise error.at(source) from error.__cause__


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from error


def _share(on_progress: OnProgress | None, index: int, count: int) -> Callable[[float], None] | None:
    """Progress of one frame as progress of the file."""
    if on_progress is None:
        return None
    return lambda done: on_progress((index + done) / count)


def _check_switches(**asked: Any) -> None:
    for name, value in asked.items():
        if not isinstance(value, bool | np.bool_):  # or "no" would mean yes
            raise UsageError(f"{name} is True or False, not {value!r}")


def _path(what: str, asked: Any) -> Path:
    if asked == "":  # which pathlib takes for the folder that we are in
        raise UsageError(f"{what} is a path, not ''")
    try:
        os.lstat(path := Path(asked))
    except TypeError as error:
        raise UsageError(f"{what} is a path, not {asked!r}") from error
    except ValueError as error:  # such as a NUL in it
        raise UsageError(f"{what} is a path, and {asked!r} is none ({error})") from error
    except OSError:
        pass  # of one that is not there, or cannot be seen, it is said where it is needed
    return path
