"""``liif restore``: files that are named, by this process or by several workers, or a whole folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liif_engine.commands.options import (
    Config,
    Device,
    Json,
    LogJson,
    Model,
    Precision,
    Workers,
    lasting,
    limits_of,
    make_engine,
    refuse_unknown,
    settings_from,
    show_logs,
    worker_settings,
)
from liif_engine.commands.report import Report, reports
from liif_engine.errors import LiifError, OutputError, UsageError, combined_exit_code, fault, printable
from liif_engine.target import Target, parse_size

if TYPE_CHECKING:
    from liif_engine.config import EngineSettings
    from liif_engine.file import Outcome
    from liif_engine.picture.image_file import Limits
    from liif_engine.plan import Plan
    from liif_engine.terminal import Batch

log = logging.getLogger(__name__)


def restore(
    files: Annotated[
        # Not checked here: one that cannot be read fails by itself, as any other bad file.
        list[Path],
        typer.Argument(help="Pictures to restore, or folders.", metavar="FILE", show_default=False, readable=False),
    ],
    scale: Annotated[float | None, typer.Option(help="Output per input pixel, at least 1 (default: 2).")] = None,
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the result in pixels.")] = None,
    long_edge: Annotated[int | None, typer.Option(help="Longer side of the result in pixels.")] = None,
    megapixels: Annotated[float | None, typer.Option(help="Size of the result in millions of pixels.")] = None,
    out: Annotated[Path | None, typer.Option(help="A file, or a folder (default: name@2x.ext beside FILE).")] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="SUFFIX", help="Of results, such as png (default: FILE's own, or as --out says)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result that exists.")] = False,
    model: Model = None,
    device: Device = None,
    precision: Precision = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of JPEG, WebP, AVIF, HEIC (default: 95).")
    ] = None,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Restore what is there of a picture that ends early.")
    ] = False,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Keep results inside their JPEGs' own intervals; --scale 1 only.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Results of liif-restore too: those in a folder, and named ones without a warning."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Json = False,
    config: Config = None,
    workers: Workers = None,
    log_json: LogJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what happens.")] = False,
) -> int:
    """Restores pictures: removes compression damage and enlarges, keeping metadata and colour.

    FILE may be a folder: all of it is restored into the folder --out, and a run that was stopped goes on.
    """
    from liif_engine.plan import is_folder

    target = _target(scale, size, long_edge, megapixels)
    files = _each_once(files)
    if out == Path("-"):  # what many programs take for it
        remedy = "Name a file or a folder with --out."
        raise UsageError("results are not written to standard output", path=out, remedy=remedy)
    given = {"model": model, "device": device, "precision": precision, "quality": quality, "workers": workers}
    settings = settings_from(config, **given)
    show_logs(log_json, verbose)
    refuse_unknown(model=settings.model, device=device, precision=precision)
    if any(map(is_folder, files)):
        options = {"overwrite": overwrite, "allow_truncated": allow_truncated, "consistent": consistent}
        options["again"] = again
        if format is not None:
            raise UsageError("--format is for files that are named", remedy="In a folder each file keeps its format.")
        words = {"as_json": as_json, "verbose": verbose, "dry_run": dry_run}
        return _restore_folder(files, out, target, settings, options, words)
    limits = limits_of(settings)
    job = _Job(settings, limits, overwrite, allow_truncated, consistent, _format(format, out), again)
    folder = _folder_of(files, out)
    with reports(as_json) as report:
        plans = list(_plans(files, target, out, folder, job, report))
        if dry_run:
            for plan in plans:
                report(plan.source, planned=plan)
        elif plans:
            _make(folder)
            _restore_all(plans, job, report) if settings.workers is None else _restore_several(plans, job, report)
    return combined_exit_code(report.failures)


def _each_once(files: list[Path]) -> list[Path]:
    """The files without those that were named before, as patterns of the shell that overlap name them."""
    first: dict[Path, Path] = {}
    for file in files:
        first.setdefault(file.absolute(), file)
    return list(first.values())


@dataclass(frozen=True)
class _Job:
    """What `liif restore` was asked for, beyond which files and how large."""

    settings: EngineSettings
    limits: Limits
    overwrite: bool
    allow_truncated: bool
    consistent: bool
    format: str | None
    again: bool


def _format(asked: str | None, out: Path | None) -> str | None:
    """The suffix that --format asks for, without its point.

    Raises:
        UsageError: there is no such format, or --out asks for another.
    """
    from liif_engine.picture.image_file import FORMATS, format_for
    from liif_engine.plan import is_folder

    if asked is None:
        return None
    asked = asked.removeprefix(".").lower()
    try:
        named = format_for(Path(f"result.{asked}"))
    except UsageError as error:
        remedy = f"There are {', '.join(FORMATS).lower()}."
        raise UsageError(f"there is no format {asked!r} of results", remedy=remedy) from error
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


def _make(folder: Path | None) -> None:
    """Makes the folder of the results, if it is not there."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = "Choose another --out."
            raise OutputError(f"cannot make the folder ({error.strerror})", path=folder, remedy=remedy) from error


def _plans(
    files: list[Path], target: Target, out: Path | None, folder: Path | None, job: _Job, report: Report
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


def _restore_all(plans: list[Plan], job: _Job, report: Report) -> None:
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


def _restore_several(plans: list[Plan], job: _Job, report: Report) -> None:
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


def _restore_folder(
    files: list[Path],
    out: Path | None,
    target: Target,
    settings: EngineSettings,
    options: dict[str, bool],
    words: dict[str, bool],
) -> int:
    """`liif restore` on a folder."""
    from liif_engine import crew
    from liif_engine.archive.order import Order
    from liif_engine.commands.folder import restore_folder
    from liif_engine.plan import is_folder

    folder = next(filter(is_folder, files))
    if len(files) > 1:
        raise UsageError(
            "is a folder; restore it in a run of its own", path=folder, remedy="Name one folder, or files alone."
        )
    if out is None:
        raise UsageError("is a folder", path=folder, remedy="Name the folder of the results with --out.")
    order = Order(
        folder,
        out,
        target,
        model=lasting(settings.model),
        precision=settings.precision,
        quality=settings.quality,
        max_pixels=settings.max_pixels,
        **options,
    )
    chosen = crew.Crew("here") if settings.workers is None else crew.parse(settings.workers)
    # Of a million files, some kill their worker by chance; the same file twice is no chance.
    return restore_folder(order, chosen, worker_settings(settings, attempts=2), **words)


def _target(scale: float | None, size: str | None, long_edge: int | None, megapixels: float | None) -> Target:
    if scale is None and size is None and long_edge is None and megapixels is None:
        scale = 2
    given = {"--scale": scale, "--size": size, "--long-edge": long_edge, "--megapixels": megapixels}
    if len(named := [option for option, value in given.items() if value is not None]) > 1:
        raise UsageError(f"{' and '.join(named)} each say how large the result is to be", remedy="Give one of them.")
    return Target(scale, None if size is None else parse_size(size), long_edge, megapixels)
