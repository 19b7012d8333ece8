"""The ``liif`` command. Heavy imports wait inside the commands, so that ``liif --help`` answers at once."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import liif_engine
from liif_engine.crew import WORDS
from liif_engine.crew import parse as parse_crew
from liif_engine.errors import Cancelled, ExitCode, LiifError, UsageError, combined_exit_code, printable
from liif_engine.lab import explain_command
from liif_engine.lab.bench.command import bench
from liif_engine.target import Target, parse_size

if TYPE_CHECKING:
    from liif_engine.config import EngineSettings
    from liif_engine.file import Outcome, Plan
    from liif_engine.picture.image_file import Limits
    from liif_engine.restore import Engine
    from liif_engine.terminal import Batch
    from liif_engine.workers import FileWork, WorkerSettings

app = typer.Typer(
    name="liif",
    help="Restores compressed pictures: removes the damage and upscales at any scale, with EDSR-LIIF.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[str | None, typer.Option(help="auto, a shipped name (see `liif models`) or a checkpoint's path.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[str | None, typer.Option(help="auto, fp32 or bf16; auto is bf16 for 8-bit pictures if it can.")]
Config = Annotated[Path | None, typer.Option(help="A config.yaml; its engine: section gives the defaults.")]
Workers = Annotated[
    str | None, typer.Option(metavar=WORDS, help="Processes of this machine, one per GPU, or a Ray cluster.")
]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log as JSON lines on stderr, with each job's id.")]
INDENT: dict[str, Any] = {"initial_indent": "  ", "subsequent_indent": "    "}

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]


def main() -> NoReturn:
    """The entry point: one place turns errors into words and exit codes."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(standalone_mode=False) or ExitCode.OK
    except LiifError as error:
        _show(error)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    except Exception as error:
        if not _is_usage_error(error):
            raise
        error.show()  # type: ignore[attr-defined]
        code = ExitCode.USAGE
    if code == ExitCode.INTERRUPTED:  # typer turns Ctrl+C into this code too
        _show(Cancelled("stopped; nothing is half-written"))
    sys.exit(int(code))


@app.callback(invoke_without_command=True)
def _global(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"liif-restore {liif_engine.__version__}")
        raise typer.Exit


@app.command()
def restore(
    files: Annotated[list[Path], typer.Argument(help="Pictures to restore.", metavar="FILE...", show_default=False)],
    scale: Annotated[float | None, typer.Option(help="Output per input pixel, at least 1 (default: 2).")] = None,
    size: Annotated[str | None, typer.Option(help="Size of the result, WIDTHxHEIGHT.")] = None,
    long_edge: Annotated[int | None, typer.Option(help="Longer side of the result in pixels.")] = None,
    megapixels: Annotated[float | None, typer.Option(help="Size of the result in millions of pixels.")] = None,
    out: Annotated[Path | None, typer.Option(help="A file, or a folder (default: name@2x.ext beside FILE).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a result that exists.")] = False,
    model: Model = None,
    device: Device = None,
    precision: Precision = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="Of JPEG and WebP results.")] = None,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Restore what is there of a picture that ends early.")
    ] = False,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Keep results inside their JPEGs' own intervals; --scale 1 only.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Json = False,
    config: Config = None,
    workers: Workers = None,
    log_json: LogJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what happens.")] = False,
) -> int:
    """Restores pictures: removes compression damage and upscales, keeping metadata and colour.

    FILE may be a folder: all of it is restored into the folder --out, and a run that was stopped goes on.
    """
    target = _target(scale, size, long_edge, megapixels)
    given = {"model": model, "device": device, "precision": precision, "quality": quality, "workers": workers}
    settings = _settings(config, **given)
    _show_logs(log_json, verbose)
    if any(file.is_dir() for file in files):
        options = {"overwrite": overwrite, "allow_truncated": allow_truncated, "consistent": consistent}
        words = {"as_json": as_json, "verbose": verbose, "dry_run": dry_run}
        return _restore_folder(files, out, target, settings, options, words)
    limits = _limits(settings)
    job = _Job(settings, limits, overwrite, allow_truncated, consistent)
    with _reports(as_json) as report:
        plans = list(_plans(files, target, out, job, report))
        if dry_run:
            for plan in plans:
                report(plan.source, planned=plan)
        elif plans:
            _restore_all(plans, job, report) if settings.workers is None else _restore_several(plans, job, report)
    return combined_exit_code(report.failures)


@app.command()
def serve(
    model: Model = None,
    device: Device = None,
    precision: Precision = None,
    exit_when_idle: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="End when nobody has used it for so long.")
    ] = None,
    release_when_idle: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Free the GPU's memory when idle for so long.")
    ] = None,
    loopback: Annotated[
        bool, typer.Option("--loopback", help="Also listen on a port of 127.0.0.1, which asks for a token.")
    ] = False,
    config: Config = None,
    workers: Workers = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="[HOST:]PORT", help="Also show the figures for Prometheus there.")
    ] = None,
    log_json: LogJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what happens.")] = False,
) -> int:
    """Keeps the engine warm for this user's programs: GIMP, the daemon, curl (docs/service.md)."""
    settings = _settings(config, model=model, device=device, precision=precision, workers=workers)

    import logging

    from liif_engine import crew, log
    from liif_engine.service.serve import ServeSettings, serve

    # Plain lines with their time: this is read in a log file days later, not on a terminal.
    level = logging.INFO if verbose else logging.WARNING
    if log_json:
        log.show_json(level=level)
    else:
        logging.basicConfig(level=level, format="liif: %(asctime)s %(message)s", force=True)
    return serve(
        ServeSettings(
            loopback=loopback,
            exit_when_idle=exit_when_idle,
            max_pixels=int(settings.max_megapixels * 1e6),
            quality=settings.quality,
            workers=_worker_settings(settings, release_after_seconds=release_when_idle),
            crew=crew.parse(settings.workers or "auto"),
            metrics=metrics,
        )
    )


@app.command()
def models(as_json: Json = False) -> None:
    """Lists the models that come with liif-restore."""
    from liif_engine.network import card

    cards = card.shipped_models()
    if as_json:
        print(json.dumps([{**c.card, "name": c.name, "bytes": c.size_bytes} for c in cards.values()], indent=2))
        return
    print("auto, the default\n  web or published, whichever suits a picture's damage; --verbose says which and why\n")
    for c in cards.values():
        print(f"{c.name}  ({c.size_bytes / 1e6:.1f} MB)")
        for key in ("task", "trained_for", "paper", "repository", "license"):
            print(textwrap.fill(f"{key.replace('_', ' ')}: {c.card.get(key, '')}", 100, **INDENT))
        print()


@app.command()
def evaluate(
    images: Annotated[
        list[Path] | None, typer.Option(exists=True, file_okay=False, help="A folder of ground-truth pictures.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="At least 1; 1 scores artifact removal alone.")] = None,
    jpeg_quality: Annotated[
        list[int] | None, typer.Option(help="Damage the input by JPEG of this quality; may be repeated.")
    ] = None,
    model: Annotated[str, typer.Option(help="As for restore, or `bicubic`.")] = "auto",
    device: Device = None,
    precision: Precision = None,
    as_json: Json = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Compare bf16 and every other reduced form with fp32, tile by tile.")
    ] = False,
    sheet: Annotated[Path | None, typer.Option(help="With --audit: a PNG of the worst tiles.")] = None,
    side: Annotated[int, typer.Option(help="With --audit: pixels on a side of the drawn pictures.")] = 128,
) -> int:
    """Scores a model on pictures with ground truth: PSNR on Y and RGB, SSIM, PSNR-B; or audits its arithmetic."""
    from liif_engine import terminal
    from liif_engine.lab import evaluate as judge

    terminal.show_logs(verbose=False)
    if audit:
        from liif_engine.lab import audit_command

        place = device or "auto"
        return audit_command.run(
            model, images or [], scale=scale or 2, side=side, device=place, sheet_file=sheet, as_json=as_json
        )
    if scale is None or images is None or len(images) != 1:
        raise UsageError("needs one folder of pictures and a scale", remedy="Give --images FOLDER --scale NUMBER.")
    restorer: judge.Restorer
    if model == "bicubic":
        restorer = judge.Bicubic()
    else:
        restorer = _engine(_settings(None, model=model, device=device, precision=precision))
    rows = []
    for scores in judge.evaluate(restorer, images[0], scale=scale, qualities=jpeg_quality or [None]):
        rows.append(scores.as_dict())
        quality = "clean" if scores.quality is None else f"quality {scores.quality}"
        line = (
            f"x{scale:g} {quality}: PSNR-Y {scores.psnr_y:.3f}  PSNR-RGB {scores.psnr_rgb:.3f}"
            f"  SSIM {scores.ssim:.4f}  PSNR-B {scores.psnr_b:.3f}  ({scores.images} images)"
        )
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)
    if as_json:
        print(json.dumps(rows))
    return ExitCode.OK


app.command()(bench)


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def train(context: typer.Context) -> None:
    """Trains a model on a folder of clean pictures; the same command again goes on. See `liif train --help`."""
    from liif_engine.lab import settings

    chosen = settings.parse(context.args, prog="liif train")

    from liif_engine.lab import train as school

    result = school.train(chosen)
    state = "finished" if result.finished else "stopped; the same command goes on"
    before = "" if not result.start_scores else f", started from {result.start_scores['mean']:.2f}"
    print(f"{result.model}: {result.scores['mean']:.2f} dB on held-out pictures{before}; step {result.steps}, {state}")


app.command(name="explain")(explain_command.explain)


@dataclass(frozen=True)
class _Job:
    """What `liif restore` was asked for, beyond which files and how large."""

    settings: EngineSettings
    limits: Limits
    overwrite: bool
    allow_truncated: bool
    consistent: bool


class _Report:
    """Collects what happened to each file, and says it: words, or JSON at the end."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.failures: list[LiifError] = []
        self.rows: list[dict[str, Any]] = []
        self.say: Callable[[str], None] = print
        self.restored = 0

    def __call__(
        self,
        source: Path,
        *,
        planned: Plan | None = None,
        outcome: Outcome | None = None,
        error: LiifError | None = None,
    ) -> None:
        row: dict[str, Any] = {"source": str(source)}
        if error is not None:
            self.failures.append(error)
            row |= {"status": "failed", "error": str(error), "remedy": error.remedy, "exit_code": int(error.exit_code)}
            _show(error)
        elif outcome is not None:
            self.restored += 1
            seconds = round(outcome.seconds, 3)
            row |= {"status": "restored", **_plan_fields(outcome.plan), "model": outcome.model}
            row |= {"precision": outcome.precision, "seconds": seconds, "notes": list(outcome.notes)}
            notes = "".join(f"\n  note: {note}" for note in outcome.notes)
            self._line(f"{_arrow(outcome.plan)}, {outcome.model}, {seconds:.1f} s{notes}")
        elif planned is not None:
            row |= {"status": "planned", **_plan_fields(planned)}
            self._line(f"{_arrow(planned)} (dry run)")
        self.rows.append(row)

    def _line(self, line: str) -> None:
        if not self.as_json:
            self.say(line)

    def close(self) -> None:
        """The summary, or the JSON."""
        if self.as_json:
            print(json.dumps(self.rows, indent=2))
        elif len(self.rows) > 1:
            failed = f", {len(self.failures)} failed" if self.failures else ""
            print(f"{self.restored} of {len(self.rows)} restored{failed}", file=sys.stderr)


@contextmanager
def _reports(as_json: bool) -> Iterator[_Report]:
    """A report whose summary is printed however the work ends."""
    report = _Report(as_json)
    try:
        yield report
    finally:
        report.close()


def _plan_fields(plan: Plan) -> dict[str, Any]:
    return {
        "destination": str(plan.destination),
        "format": plan.format,
        "width": plan.probe.width,
        "height": plan.probe.height,
        "out_width": plan.width,
        "out_height": plan.height,
        "frames": plan.probe.frames,
    }


def _arrow(plan: Plan) -> str:
    before, after = f"{plan.probe.width}x{plan.probe.height}", f"{plan.width}x{plan.height}"
    return f"{printable(plan.source)} -> {printable(plan.destination)}  {before} -> {after}"


def _plans(files: list[Path], target: Target, out: Path | None, job: _Job, report: _Report) -> Iterator[Plan]:
    """A plan for each file that can be restored; the others are reported. No two plans write the same file."""
    from liif_engine import file as picture_file

    # A name without a suffix says no format, so it can only be meant as a folder, even for one picture.
    if out is not None and (len(files) > 1 or not out.suffix) and not out.is_dir():
        if out.suffix:
            remedy = "Name a folder, or restore them one by one."
            raise UsageError(f"names one file, but there are {len(files)} pictures", path=out, remedy=remedy)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = "Choose another --out."
            raise UsageError(f"cannot make the folder ({error.strerror})", path=out, remedy=remedy) from error
    taken: dict[Path, Path] = {}
    for file in files:
        try:
            plan = picture_file.plan(file, target, out=out, limits=job.limits, consistent=job.consistent)
            picture_file.check_destination(plan, overwrite=job.overwrite)
            first = taken.setdefault(plan.destination.absolute(), file)
            if first is not file:
                message = f"its result would have the name of {first}'s, {plan.destination}"
                raise UsageError(message, path=file, remedy="Restore it in a run of its own, with another --out.")
        except LiifError as error:
            report(file, error=error)
        except Exception as error:
            if "LIIF_DEBUG" in os.environ:
                raise
            report(file, error=_fault(error).at(file))
        else:
            yield plan


def _restore_all(plans: list[Plan], job: _Job, report: _Report) -> None:
    """Restores the files in turn; a failure is reported and the next file goes on."""
    from liif_engine.pipeline import Options, restore_files
    from liif_engine.terminal import Batch

    engine = _engine(job.settings)
    with Batch(sum(map(_megapixels, plans)), len(plans)) as batch:
        report.say = batch.say
        options = Options(job.settings.quality, job.overwrite, job.allow_truncated, job.limits)
        restore_files(engine, plans, options, _Progress(report, batch))


@dataclass(frozen=True)
class _Progress:
    """What the pipeline tells, on the terminal."""

    report: _Report
    batch: Batch

    def restored(self, outcome: Outcome) -> None:
        self.report(outcome.plan.source, outcome=outcome)

    def failed(self, plan: Plan, error: Exception) -> None:
        if not isinstance(error, LiifError):
            if "LIIF_DEBUG" in os.environ:
                raise error
            error = _fault(error).at(plan.source)
        self.report(plan.source, error=error)

    def computing(self, plan: Plan) -> AbstractContextManager[Callable[[float], None]]:
        return self.batch.picture(plan.source.name, _megapixels(plan))


def _megapixels(plan: Plan) -> float:
    from liif_engine.terminal import MEGA

    return plan.width * plan.height * plan.probe.frames / MEGA


def _restore_several(plans: list[Plan], job: _Job, report: _Report) -> None:
    """Restores files by several workers; a failure is reported and the others go on."""
    from liif_engine import crew
    from liif_engine.commands.several import restore_several
    from liif_engine.terminal import MEGA, Batch
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
            model=_lasting(settings.model),
            precision=settings.precision,
            job=str(plan.source),
        )

    def end(plan: Plan, outcome: Outcome | None, error: LiifError | None) -> None:
        report(plan.source, outcome=outcome, error=error)

    total = sum(plan.width * plan.height * plan.probe.frames / MEGA for plan in plans)
    chosen, workers = crew.parse(settings.workers or "auto"), _worker_settings(settings)
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
    from liif_engine.archive.restore import Order
    from liif_engine.commands.folder import restore_folder

    folder = next(file for file in files if file.is_dir())
    if len(files) > 1:
        raise UsageError("is a folder; restore it in a run of its own", path=folder, remedy="Name one folder.")
    if out is None:
        raise UsageError("is a folder", path=folder, remedy="Name the folder of the results with --out.")
    order = Order(
        folder,
        out,
        target,
        model=_lasting(settings.model),
        precision=settings.precision,
        quality=settings.quality,
        max_pixels=int(settings.max_megapixels * 1e6),
        **options,
    )
    chosen = crew.Crew("here") if settings.workers is None else crew.parse(settings.workers)
    # Of a million files, some kill their worker by chance; the same file twice is no chance.
    return restore_folder(order, chosen, _worker_settings(settings, attempts=2), **words)


def _worker_settings(settings: EngineSettings, **rest: Any) -> WorkerSettings:
    import logging

    from liif_engine.workers import WorkerSettings

    megabytes = settings.memory_megabytes
    return WorkerSettings(
        device=settings.device,
        model=_lasting(settings.model),
        precision=settings.precision,
        memory_bytes=None if megabytes is None else megabytes * 1_000_000,
        log_level=logging.getLogger().getEffectiveLevel(),
        **rest,
    )


def _lasting(model: str) -> str:
    """A model's path stays what it is here, whatever folder the workers are in."""
    return str(Path(model).absolute()) if Path(model).suffix else model


def _show_logs(log_json: bool, verbose: bool) -> None:
    import logging

    from liif_engine import log, terminal

    if log_json:
        log.show_json(level=logging.INFO if verbose else logging.WARNING)
    else:
        terminal.show_logs(verbose=verbose)


def _fault(error: Exception) -> LiifError:
    """An error that nobody foresaw, in words; one file's fault must not end the others."""
    remedy = "This is a fault of liif-restore: please report it, with what LIIF_DEBUG=1 prints."
    return LiifError(f"unexpected {type(error).__name__}: {error}", remedy=remedy)


def _engine(settings: EngineSettings) -> Engine:
    from liif_engine.restore import Engine

    megabytes = settings.memory_megabytes
    return Engine(
        settings.model,
        device=settings.device,
        precision=settings.precision,
        memory_bytes=None if megabytes is None else megabytes * 1_000_000,
    )


def _target(scale: float | None, size: str | None, long_edge: int | None, megapixels: float | None) -> Target:
    if scale is None and size is None and long_edge is None and megapixels is None:
        scale = 2
    return Target(scale, None if size is None else parse_size(size), long_edge, megapixels)


def _settings(path: Path | None, **given: Any) -> EngineSettings:
    """config.yaml's settings, with what the command line gives put over them."""
    from liif_engine import config

    settings = config.load(path)
    if given.get("workers") is not None:
        parse_crew(given["workers"])
    return settings.model_copy(update={key: value for key, value in given.items() if value is not None})


def _limits(settings: EngineSettings) -> Limits:
    from liif_engine.picture.image_file import Limits

    return Limits(max_pixels=int(settings.max_megapixels * 1e6))


def _show(error: LiifError) -> None:
    from liif_engine import terminal

    terminal.show_error(error)


def _is_usage_error(error: Exception) -> bool:
    """Whether typer found the command line wrong; its own exception classes are not public."""
    return hasattr(error, "show") and hasattr(error, "exit_code")


def _interrupt(*_: object) -> NoReturn:
    """SIGTERM ends the work as Ctrl+C does: temporary files are removed."""
    raise KeyboardInterrupt
