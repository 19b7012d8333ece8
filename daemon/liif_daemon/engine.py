"""The engine as the daemon sees it: a file in, a file out, and failures sorted by what to do about them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from liif_daemon.store import Changed
from liif_engine.service import client
from liif_engine.target import Target

log = logging.getLogger(__name__)

#: The picture is at fault: it is not tried again until it changes.
REFUSALS = frozenset({"InputError", "TruncatedError", "UnsupportedError", "TooLargeError", "UsageError"})

#: The surroundings are at fault - disk, settings, an engine that cannot start or was told to end: every picture waits,
#: none is blamed.
SURROUNDINGS = frozenset(
    {"OutputError", "BusyError", "ModelError", "UnsafeCheckpointError", "DeviceError", "ConfigError", "AccessError"}
    | {"ServiceError"}
)


class EngineError(Exception):
    """A picture was not restored.

    Attributes:
        reason: in words, with what to do.
        kind: ``refused`` (for good), ``again`` (a failed try, which counts) or ``wait`` (does not count).
        cause: the kind of error, for the figures.
    """

    def __init__(self, reason: str, kind: str, cause: str = "EngineError") -> None:
        super().__init__(reason)
        self.reason, self.kind, self.cause = reason, kind, cause


class NoEngineError(EngineError):
    """None could be started, or one of another version runs: so it is for every picture, and none was sent."""

    def __init__(self, reason: str, cause: str = "NotRunning") -> None:
        super().__init__(reason, "wait", cause)


class Stopped(Exception):  # noqa: N818 - what was asked for
    """The daemon is ending."""


@dataclass(frozen=True)
class Order:
    """What the engine is asked for.

    Attributes:
        source, destination: files; the destination is not there yet.
        target: how large.
        model: a name or an absolute path.
        quality: of a lossy result.
        precision: auto, fp32 or bf16.
        seconds: the most time that the work may take.
        job: its name in the logs.
        sha256: of the source, if it is known: what is read must be that.
    """

    source: Path
    destination: Path
    target: Target
    model: str
    quality: int
    precision: str
    seconds: float
    job: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Made:
    """A result.

    Attributes:
        model: that made it.
        seconds: of the engine's work; nothing that was waited for, such as its start.
    """

    model: str
    seconds: float


class Engine(Protocol):
    """Restores files."""

    def restore(self, order: Order, on_progress: Callable[[float], None]) -> Made:
        """Does what is ordered.

        Args:
            order: what is asked for.
            on_progress: called at least every second with the share done; what it raises ends the work.

        Raises:
            EngineError: there is no result.
            Changed: what was read is not the source that was meant.
        """
        ...


class ServiceEngine:
    """`liif serve`, found or started, and started again when it has ended.

    Args:
        folder: of its socket; None for the user's own.
        config: the config.yaml whose engine: section a service started here reads; None for the default place's.
        arguments: more words of `liif serve` for a service started here.
    """

    def __init__(self, folder: str | None = None, config: Path | None = None, arguments: tuple[str, ...] = ()) -> None:
        arguments += () if config is None else ("--config", str(config.absolute()))
        self.client = client.Client(folder, name="liif-daemon", arguments=arguments)

    def restore(self, order: Order, on_progress: Callable[[float], None]) -> Made:
        """As `Engine.restore`."""
        try:
            self.client.ensure_running()
        except client.ServiceError as error:  # nothing was sent yet, so no picture is to blame
            if isinstance(error, client.NotRunning | client.WrongVersion):
                raise NoEngineError(error.explain(), error.kind) from error
            raise EngineError(_words(error, order), "wait", error.kind) from error
        try:
            job = self.client.submit_file(
                order.source,
                order.destination,
                quality=order.quality,
                model=order.model,
                precision=order.precision,
                priority="backlog",
                reference=order.job,
                timeout_seconds=order.seconds,
                **_size(order.target),
            )
        except client.ServiceError as error:
            waits = isinstance(error, client.WrongVersion) or error.kind in SURROUNDINGS
            if isinstance(error, client.NotRunning):
                # One that can be started has died of what it was sent, and once more when it was sent that again.
                waits = not self._can_be_started()
            raise EngineError(_words(error, order), "wait" if waits else _kind(error), error.kind) from error
        try:
            last = job.wait(lambda _, share: on_progress(share))
        except client.ServiceError as error:
            raise EngineError(_words(error, order), _kind(error), error.kind) from error
        finally:
            job.forget()
        result = last["result"]
        # Not all formats carry a marker that would tell; the file may look by now as it did before.
        if order.sha256 and result.get("source_sha256", order.sha256) != order.sha256:
            raise Changed("changed while it was being read", path=order.source)
        for note in result.get("notes", ()):  # what the result could not carry
            log.info("%s: %s", order.source, note)
        return Made(str(result["model"]), float(result["work_seconds"]))

    def _can_be_started(self) -> bool:
        try:
            self.client.ensure_running()
        except client.ServiceError:
            return False
        return True

    def rate(self, model: str, targets: tuple[Target, ...], megapixels: float) -> float:
        """Input megapixels per second that the engine does now, measured on one small patch for each target.

        Raises:
            EngineError: it cannot be measured.
        """
        side = 128
        total = 0.0
        for target in targets:
            # A size asked for means another scale for each picture: that of a picture of the usual size counts.
            usual = math.sqrt(megapixels * 1e6)
            scale = max(1.0, target.size_of_result(round(usual), round(usual))[0] / usual)
            try:
                self.client.restore_pixels(bytes(side * side * 3), (side, side, 3), "u8", scale=scale, model=model)
                started = time.monotonic()
                self.client.restore_pixels(bytes(side * side * 3), (side, side, 3), "u8", scale=scale, model=model)
            except client.ServiceError as error:
                raise EngineError(error.explain(), "wait") from error
            total += time.monotonic() - started
        return side * side / 1e6 / total

    def trial(self, model: str, precision: str) -> dict[str, Any]:
        """Has a patch of 16x16 pixels restored, which loads the model; what the service says of the result.

        Raises:
            EngineError: it cannot be done.
        """
        side = 16
        try:
            job = self.client.submit_pixels(
                bytes(side * side * 3), (side, side, 3), "u8", scale=2, model=model, precision=precision
            )
        except client.ServiceError as error:
            raise EngineError(error.explain(), "wait", error.kind) from error
        try:
            return dict(job.wait()["result"])
        except client.ServiceError as error:
            raise EngineError(error.explain(), "wait", error.kind) from error
        finally:
            job.forget()

    def status(self) -> dict[str, Any] | None:
        """What the service says of itself, None if it does not run; starts nothing."""
        try:
            return client.Client(self.client.folder, start=False).status()
        except client.ServiceError:
            return None


def _words(error: client.ServiceError, order: Order) -> str:
    """The error without the paths, which its reader knows, and without advice that only the command line can follow."""
    message = error.message.removeprefix(f"{order.source}: ").removeprefix(f"{order.destination}: ")
    remedy = "Fetch the file again." if error.kind == "TruncatedError" else error.remedy
    return f"{message}. {remedy}" if remedy else message


def _kind(error: client.ServiceError) -> str:
    if isinstance(error, client.Cancelled):
        return "wait"  # somebody else did
    return "refused" if error.kind in REFUSALS else "wait" if error.kind in SURROUNDINGS else "again"


def _size(target: Target) -> dict[str, Any]:
    found = {"scale": target.scale, "size": target.size}
    return {**found, "long_edge": target.long_edge, "megapixels": target.megapixels}
