"""``liif restore``: files that are named, by this process or by several workers, or a whole folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liif_engine.commands import named
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
    refuse_unknown,
    settings_from,
    show_logs,
    worker_settings,
)
from liif_engine.commands.report import Report, reports
from liif_engine.errors import UsageError
from liif_engine.target import Target, parse_size

if TYPE_CHECKING:
    from liif_engine.config import EngineSettings


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

    files = _each_once(files)
    with reports(as_json, files) as report:
        target = _target(scale, size, long_edge, megapixels)
        if out == Path("-"):  # what many programs take for it
            remedy = "Name a file or a folder with --out."
            raise UsageError("results are not written to standard output", path=out, remedy=remedy)
        given = {"model": model, "device": device, "precision": precision, "quality": quality, "workers": workers}
        settings = settings_from(config, **given)
        show_logs(log_json, verbose)
        refuse_unknown(model=settings.model, device=device, precision=precision)
        if folders := list(filter(is_folder, files)):
            options = {"overwrite": overwrite, "allow_truncated": allow_truncated, "consistent": consistent}
            options["again"] = again
            if format is not None:
                remedy = "In a folder each file keeps its format."
                raise UsageError("--format is for files that are named", remedy=remedy)
            words = {"verbose": verbose, "dry_run": dry_run}
            return _restore_folder(folders[0], files, out, target, settings, options, report, words)
        limits, suffix = limits_of(settings), named.format_of(format, out)
        job = named.Job(settings, limits, overwrite, allow_truncated, consistent, suffix, again)
        return named.restore_named(files, target, out, job, report, dry_run=dry_run)


def _each_once(files: list[Path]) -> list[Path]:
    """The files without those that were named before, as patterns of the shell that overlap name them.

    The folder is what the system takes it for; a link to a file is another name, whose result has another name too.
    """
    first: dict[tuple[str, str], Path] = {}
    for file in files:
        first.setdefault((os.path.realpath(file.parent), file.name), file)
    return list(first.values())


def _restore_folder(
    folder: Path,
    files: list[Path],
    out: Path | None,
    target: Target,
    settings: EngineSettings,
    options: dict[str, bool],
    report: Report,
    words: dict[str, bool],
) -> int:
    """`liif restore` on a folder, which may go at any moment."""
    from liif_engine import crew
    from liif_engine.archive.order import Order
    from liif_engine.commands.folder import restore_folder

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
    return restore_folder(order, chosen, worker_settings(settings, attempts=2), report, **words)


def _target(scale: float | None, size: str | None, long_edge: int | None, megapixels: float | None) -> Target:
    if scale is None and size is None and long_edge is None and megapixels is None:
        scale = 2
    given = {"--scale": scale, "--size": size, "--long-edge": long_edge, "--megapixels": megapixels}
    if len(named := [option for option, value in given.items() if value is not None]) > 1:
        raise UsageError(f"{' and '.join(named)} each say how large the result is to be", remedy="Give one of them.")
    return Target(scale, None if size is None else parse_size(size), long_edge, megapixels)
