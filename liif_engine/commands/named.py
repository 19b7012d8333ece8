"""``liif restore FILE...``: files that are named, by this process or by several workers."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from liif_engine.commands.options import lasting, make_engine, worker_settings
from liif_engine.errors import LiifError, OutputError, UsageError, combined_exit_code, fault, printable
from liif_engine.picture import new_folder
from liif_engine.target import Target

if TYPE_CHECKING:
    from liif_engine.commands.report import Report
    from liif_engine.config import EngineSettings
    from liif_engine.file import Outcome
    from liif_engine.picture.image_file import Limits
    from liif_engine.plan import Plan
    from liif_engine.terminal import Batch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What `liif restore` was asked for, beyond which files and how large.

    Attributes:
        settings: which model, on what, and how results are written.
        limits: of pictures.
        overwrite: whether results that exist are replaced.
        allow_truncated, consistent: as the options.
        format: the suffix of results, without its point; None for each file's own.
        again: whether results of liif-restore are restored without a warning.
    """

    settings: EngineSettings
    limits: Limits
    overwrite: bool
    allow_truncated: bool
    consistent: bool
    format: str | None
    again: bool


def restore_named(
    files: list[Path], target: Target, out: Path | None, job: Job, report: Report, *, dry_run: bool
) -> int:
    """Restores files, each by itself: one that fails stops no other.

    Args:
        files: none twice.
        target: how large.
        out: a file, a folder or None, as --out.
        job: how.
        report: told of each file.
        dry_run: say what would be done, and do nothing.

    Returns:
        The exit code.

    Raises:
        LiifError: nothing can be done like this.
    """
    folder = _folder_of(files, out)
    plans = list(_plans(files, target, out, folder, job, report))
    if dry_run:
        for plan in plans:
            report(plan.source, planned=plan)
    elif plans:
        with _made(folder):
            restore_plans = _restore_all if job.settings.workers is None else _restore_several
            restore_plans(plans, job, report)
    return combined_exit_code(report.failures)


def format_of(asked: str | None, out: Path | None) -> str | None:
    """The suffix that --format asks for, without its point.

    Raises:
        UsageError: there is no such format, or --out asks for another.
    """
    from liif_engine.picture.image_file import format_for, format_named
    from liif_engine.plan import is_folder

    if asked is None:
        return None
    asked = asked.removeprefix(".").lower()
    named = format_named(asked)
    if out is not None and out.suffix and not is_folder(out) and format_for(out) != named:
        raise UsageError(
            f"is no name of a {named} file", path=out, remedy="Leave --format out, or name --out otherwise."
        )
    return asked


def _folder_of(files: list[Path], out: Path | None) -> Path | None:
    """The folder of the results, which need not be there yet; None if --out names a file or nothing.

    Raises:
        UsageError: it names one file for several pictures.
    """
    from liif_engine.plan import is_folder

    # A name without a suffix says no format, so it can only be meant as a folder, even for one picture.
    if out is None or is_folder(out):
        return out
    if not out.suffix:
        if os.path.lexists(out):
            raise UsageError(
                "is no folder, and has no suffix to say a format", path=out, remedy="Choose another --out."
            )
        return out
    if len(files) > 1:
        remedy = "Name a folder, or restore them one by one."
        raise UsageError(f"names one file, but there are {len(files)} pictures", path=out, remedy=remedy)
    return None


@contextmanager
def _made(folder: Path | None) -> Iterator[None]:
    """Makes the folder of the results, if it is not there; what cannot be begun at all leaves none behind."""
    if folder is None:
        yield
        return
    try:
        made = new_folder.make(folder)
    except OSError as error:
        remedy = "Choose another --out."
        raise OutputError(f"cannot make the folder ({error.strerror})", path=folder, remedy=remedy) from error
    try:
        yield
    except LiifError:
        new_folder.unmake(made)
        raise


def _plans(
    files: list[Path], target: Target, out: Path | None, folder: Path | None, job: Job, report: Report
) -> Iterator[Plan]:
    """A plan for each file that can be restored; the others are reported. No two plans write the same file."""
    from liif_engine.picture import image_file
    from liif_engine.plan import check_destination, is_folder
    from liif_engine.plan import plan as plan_of

    name = None if folder is not None else out
    taken: dict[Path, Path] = {}
    for file in files:
        try:
            plan = plan_of(file, target, out=name, format=job.format, limits=job.limits, consistent=job.consistent)
            if folder is not None:
                plan = replace(plan, destination=folder / plan.destination.name)
            if folder is None or is_folder(folder):
                check_destination(plan, may_exist=job.overwrite)
            if not job.again and image_file.marker_of(plan.probe) is not None:
                log.warning("%s is a result of liif-restore already, and is restored once more", printable(file))
            first = taken.setdefault(plan.destination.absolute(), file)
            if first is not file:
                message = f"its result would have the name of {first}'s, {plan.destination}"
                raise UsageError(message, path=file, remedy="Restore it in a run of its own, with another --out.")
        except LiifError as error:
            report(file, error=error)
        except Exception as error:
            if "LIIF_DEBUG" in os.environ:
                raise
            report(file, error=fault(error).at(file))
        else:
            yield plan


def _restore_all(plans: list[Plan], job: Job, report: Report) -> None:
    """Restores the files in turn; a failure is reported and the next file goes on."""
    from liif_engine.pipeline import Options, restore_files
    from liif_engine.terminal import Batch

    engine = make_engine(job.settings)
    with Batch(sum(map(_megapixels, plans)), len(plans)) as batch:
        report.say = batch.say
        options = Options(job.settings.quality, job.overwrite, job.allow_truncated, job.limits)
        restore_files(engine, plans, options, _Progress(report, batch))


@dataclass(frozen=True)
class _Progress:
    """What the pipeline tells, on the terminal."""

    report: Report
    batch: Batch

    def restored(self, outcome: Outcome) -> None:
        self.report(outcome.plan.source, outcome=outcome)

    def failed(self, plan: Plan, error: Exception) -> None:
        if not isinstance(error, LiifError):
            if "LIIF_DEBUG" in os.environ:
                raise error
            error = fault(error).at(plan.source)
        self.report(plan.source, error=error)

    def computing(self, plan: Plan) -> AbstractContextManager[Callable[[float], None]]:
        return self.batch.picture(plan.source.name, _megapixels(plan))


def _megapixels(plan: Plan) -> float:
    from liif_engine.terminal import MEGA

    return plan.width * plan.height * plan.probe.frames / MEGA


def _restore_several(plans: list[Plan], job: Job, report: Report) -> None:
    """Restores files by several workers; a failure is reported and the others go on."""
    from liif_engine import crew
    from liif_engine.commands.several import restore_several
    from liif_engine.terminal import Batch
    from liif_engine.workers import FileWork

    settings = job.settings

    def work_of(plan: Plan) -> FileWork:
        return FileWork(
            str(plan.source),
            str(plan.destination),
            Target(size=(plan.width, plan.height)),
            format=plan.format,
            quality=settings.quality,
            overwrite=job.overwrite,
            allow_truncated=job.allow_truncated,
            consistent=job.consistent,
            max_pixels=job.limits.max_pixels,
            result_pixels=plan.width * plan.height,
            model=lasting(settings.model),
            precision=settings.precision,
            job=str(plan.source),
        )

    def end(plan: Plan, outcome: Outcome | None, error: LiifError | None) -> None:
        report(plan.source, outcome=outcome, error=error)

    total = sum(map(_megapixels, plans))
    chosen, workers = crew.parse(settings.workers or "auto"), worker_settings(settings)
    with Batch(total, len(plans)) as batch:
        report.say = batch.say
        restore_several(plans, work_of, chosen, workers, batch, end)
