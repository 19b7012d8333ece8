"""A folder of pictures into another folder, under the same names; the next run does what this one did not."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liif_engine import log as logs
from liif_engine.archive import folders
from liif_engine.archive.feed import Feed
from liif_engine.archive.journal import Glance, Journal, Row
from liif_engine.archive.order import Order
from liif_engine.archive.summary import Summary
from liif_engine.archive.walk import Walk, is_of_results
from liif_engine.crew import Crew
from liif_engine.errors import (
    Cancelled,
    DeviceError,
    InputError,
    LargerAlreadyError,
    LiifError,
    ModelError,
    OutputError,
    OutputExistsError,
    printable,
)
from liif_engine.file import sha256_of
from liif_engine.picture import image_file
from liif_engine.picture.atomic import remove_left
from liif_engine.picture.image_file import Limits, Marker
from liif_engine.picture.new_folder import make
from liif_engine.plan import Plan, check_destination, is_folder, plan
from liif_engine.words import counted
from liif_engine.workers import Answer, FileWork, WorkerSettings

log = logging.getLogger(__name__)

#: Called in the run's thread when a file is over: its path below the folder, the answer or the error.
OnEnd = Callable[[Path, Answer | None, LiifError | None], None]


class Archive:
    """One run. ``with Archive(order) as archive: archive.run(crew, settings)``; `summary` tells what it did.

    Args:
        order: what is to be done.
        on_end: told of each file.
        dry: whether nothing is to be written.

    Raises:
        UsageError: the folders are the same, one is missing, or the results would lie among the originals' parents.
        OutputError: the folder of the results cannot be used.
    """

    def __init__(self, order: Order, on_end: OnEnd = lambda *_: None, *, dry: bool = False) -> None:
        self.order, self.on_end, self.dry = order, on_end, dry
        self.summary = Summary()
        self._started = time.monotonic()
        self._limits = Limits() if order.max_pixels is None else Limits(max_pixels=order.max_pixels)
        self._made = folders.prepare(order, dry=dry)
        # Who names a folder of results wants them restored.
        self._again = order.again or is_of_results(order.source)
        self.journal = Journal(order.destination, dry=dry)
        self._tidied = set[Path]()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.summary.seconds = time.monotonic() - self._started
        self.journal.close()
        if self._made and isinstance(error, LiifError):
            with suppress(OSError):  # which would be told in place of what ended the run
                folders.remove_if_empty(self.order.destination, self._made, ours={self.journal.path})

    def run(self, crew: Crew, settings: WorkerSettings) -> None:
        """Restores what is not done. What is raised here, Ctrl+C too, leaves a folder that the next run goes on with.

        Raises:
            ModelError, DeviceError: nothing can be restored like this.
            OutputError: the journal cannot be written.
            WorkerError: the workers cannot be started.
        """
        with Feed[_File](crew, settings) as feed:
            try:
                feed.run(self._works(), self._end)
            finally:
                self.summary.begun_again = feed.workers.lost

    def plans(self) -> Iterator[tuple[Path, Plan]]:
        """What a run would restore now; failures go to the summary."""
        for one, work in self._works():
            del work
            yield one.relative, one.plan

    def _works(self) -> Iterator[tuple[_File, FileWork]]:
        for number, relative in enumerate(Walk(self.order, self.summary, self._fail)):
            with logs.about(str(number)):
                found = self._look(relative)
            if found is None:
                continue
            one = found
            work = FileWork(
                str(one.plan.source),
                str(one.plan.destination),
                self.order.target,
                quality=self.order.quality,
                overwrite=self.order.overwrite,
                resume=one.resume,
                allow_truncated=self.order.allow_truncated,
                consistent=self.order.consistent,
                max_pixels=self.order.max_pixels,
                result_pixels=one.plan.width * one.plan.height,
                held_bytes=one.plan.source_bytes + one.plan.result_bytes + one.plan.writing_bytes,
                model=self.order.model,
                precision=self.order.precision,
                job=str(number),
            )
            yield one, work

    def _look(self, relative: Path) -> _File | None:
        """A file that is to be restored; None if it is done already or cannot be, which is told."""
        order = self.order
        source, destination = order.source / relative, order.destination / relative
        try:
            glance = Glance.at(source)
        except FileNotFoundError:
            self.summary.gone += 1
            log.info("%s: gone since its folder was read", printable(relative))
            return None
        except OSError as error:
            self._fail(relative, InputError(f"cannot be read ({error.strerror})"))
            return None
        if not self.dry:
            self._tidy(destination.parent)
        row = self.journal.find(relative)
        same = row is not None and row.settings == order.settings and row.source == glance
        if row is not None and same and row.state == "done" and row.result == Glance.of(destination):
            self.summary.kept += 1
            return None
        try:
            if is_folder(destination):
                remedy = "Rename it, or choose another --out."
                raise OutputError("is a folder that has the result's name", path=destination, remedy=remedy)
            planned = plan(source, order.target, out=destination, limits=self._limits, consistent=order.consistent)
            if not self._again and image_file.marker_of(planned.probe) is not None:
                self._leave_result(source)
                return None
            if not self.dry:
                make(destination.parent)
            # A run that was killed may have left the result under its name, or somebody another file since.
            begun = row is not None and same and row.state == "begun"
            known = row is None or begun or self._leaves_it_open(row, destination)
            digest = self._digest_of_ours(planned) if known and destination.exists() and not order.overwrite else None
            begun = begun or (digest is None and known and row is not None and _is_of_a_copy(row, planned))
            if digest is None and (destination.parent.is_dir() or not self.dry):
                self._check(planned, row, may_exist=order.overwrite or begun)
        except OSError as error:
            self._fail(relative, OutputError(f"cannot be written ({error.strerror})", path=destination), glance)
            return None
        except LiifError as error:
            if not self._again and _marker_of(source) is not None:
                self._leave_result(source)
                return None
            if isinstance(error, LargerAlreadyError):
                self.summary.larger += 1
                log.info("%s: left alone: %s", printable(relative), error.message)
                return None
            # The row of a result that exists stays: it tells what that was made with.
            self._fail(relative, error, None if os.path.lexists(destination) else glance)
            return None
        if digest is not None:
            # It got its name only when it was complete and had been decoded again.
            if (result := Glance.of(destination)) is not None:
                self.journal.done(relative, order.settings, glance, result, digest)
            self.summary.kept += 1
            return None
        self.journal.begin(relative, order.settings, glance)
        return _File(relative, planned, glance, begun)

    def _tidy(self, folder: Path) -> None:
        """Once for each folder of results: what a killed run left half written there, no other would ever remove."""
        if folder not in self._tidied:
            self._tidied.add(folder)
            if count := remove_left(folder):
                log.info("%s: removed %s that a killed run left", printable(folder), counted(count, "temporary file"))

    def _leaves_it_open(self, row: Row, destination: Path) -> bool:
        """Whether the marker of what exists tells more than a row does: that of a failure tells nothing of it.

        Nor does that of a file that was begun, or of a result whose size is as it was: files copied have other times.
        """
        found = Glance.of(destination)
        is_like_it = found is not None and found.size == row.result.size and row.settings == self.order.settings
        return row.state in {"begun", "failed"} or (row.state == "done" and is_like_it)

    def _leave_result(self, source: Path) -> None:
        self.summary.results += 1
        words = "its metadata says that it is a result of liif-restore"
        log.info("%s: left alone: %s", printable(source.relative_to(self.order.source)), words)

    def _digest_of_ours(self, planned: Plan) -> str | None:
        """The original's SHA-256 if what has the result's name is its result, whose row the journal has lost."""
        marker = image_file.read_marker(planned.destination)
        if marker is None or not self._is_as_asked(planned, marker):
            return None
        digest = sha256_of(planned.source)
        return digest if marker.source_sha256 == digest else None

    def _check(self, planned: Plan, row: Row | None, *, may_exist: bool) -> None:
        """As `check_destination`; of a result of ours that exists and may not, it is said why it is not this one."""
        try:
            check_destination(planned, may_exist=may_exist)
        except OutputExistsError as error:
            if why := self._why_another(planned, row):
                remedy = "Use --overwrite to make it anew, or choose another --out."
                raise OutputExistsError(f"{error.message}, {why}", path=error.path, remedy=remedy) from error
            raise

    def _why_another(self, planned: Plan, row: Row | None) -> str:
        """Why what has the result's name is a result of ours, but not the one asked for; empty if it is not known."""
        others = "made with other settings"
        if row is not None and row.state == "done" and row.result == Glance.of(planned.destination):
            return others if row.settings != self.order.settings else "made of the original before it changed"
        marker = _marker_of(planned.destination)
        return others if marker is not None and not self._is_as_asked(planned, marker) else ""

    def _is_as_asked(self, planned: Plan, marker: Marker) -> bool:
        """Whether a result with this marker has the size and the settings that are asked for."""
        found = image_file.probe(planned.destination)
        return self.order.may_have_made(marker) and (found.width, found.height) == (planned.width, planned.height)

    def _end(self, one: _File, answer: Answer | None, error: LiifError | None) -> None:
        """What became of a file."""
        if error is not None or answer is None:
            if isinstance(error, ModelError | DeviceError):
                # Every other file would fail of it too: it is the run's, whose caller tells it.
                self.journal.failed(one.relative, self.order.settings, one.glance, error.message)
                raise error
            self._fail(one.relative, error or Cancelled("stopped"), one.glance)
            return
        result = Glance.of(one.plan.destination)
        if result is not None:  # else it is begun still, and so known by what it says of itself
            self.journal.done(one.relative, self.order.settings, one.glance, result, answer.source_sha256)
        self.summary.restored += 1
        self.summary.source_pixels += answer.source_pixels
        self.summary.result_pixels += answer.width * answer.height
        self.summary.stages.update(answer.stages)
        self.summary.notes.update(set(answer.notes))
        self.on_end(one.relative, answer, None)

    def _fail(self, relative: Path, error: LiifError, glance: Glance | None = None) -> None:
        if isinstance(error, Cancelled):
            return  # the next run does it
        if glance is not None:
            self.journal.failed(relative, self.order.settings, glance, error.message)
        self.summary.failures.append((relative, error))
        self.on_end(relative, None, error.at(self.order.source / relative))


def _is_of_a_copy(row: Row, planned: Plan) -> bool:
    """Whether a result that cannot say it, as a BMP, may be the one that a row tells of: files copied have new times.

    Whether it is, only its bytes tell, once the original was restored again.
    """
    return (
        row.state == "done"
        and planned.destination.is_file()
        and image_file.read_marker(planned.destination) is None
        and sha256_of(planned.source) == row.source_sha256
    )


@dataclass(frozen=True)
class _File:
    """One file on its way."""

    relative: Path
    plan: Plan
    glance: Glance
    resume: bool


def _marker_of(path: Path) -> Marker | None:
    try:
        return image_file.read_marker(path)
    except LiifError:
        return None
