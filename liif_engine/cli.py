"""The ``liif`` command. Heavy imports wait inside the commands, so that ``liif --help`` answers at once."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import liif_engine
from liif_engine import entry, memory, threads
from liif_engine.commands.options import (
    Config,
    Device,
    Json,
    LogJson,
    Model,
    Precision,
    Workers,
    make_engine,
    refuse_unknown,
    settings_from,
    worker_settings,
)
from liif_engine.commands.restore import restore
from liif_engine.errors import Cancelled, ExitCode, UsageError
from liif_engine.lab import explain_command
from liif_engine.lab.bench.command import bench

#: Hashes stay whole, to be copied.
INDENT: dict[str, Any] = {"initial_indent": "  ", "subsequent_indent": "    ", "break_long_words": False}

app = typer.Typer(
    name="liif",
    help="Restores compressed pictures: removes the damage and enlarges to any scale, with EDSR-LIIF.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """The entry point."""
    signal.signal(signal.SIGTERM, _interrupt)
    # Its terminal was closed; under nohup that is ignored, and stays so.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _interrupt)
    memory.keep_freed()
    threads.settle()
    entry.run(app)


@app.callback(invoke_without_command=True)
def _global(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"liif-restore {liif_engine.__version__}")
        raise typer.Exit


app.command()(restore)


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
    with suppress(KeyboardInterrupt):  # told to end while it is still being loaded: as later, that is no failure
        refuse_unknown(model=model, device=device, precision=precision)
        settings = settings_from(config, model=model, device=device, precision=precision, workers=workers)

        import logging

        from liif_engine import crew, log
        from liif_engine.service.serve import ServeSettings, serve

        # Plain lines with their time: this is read in a log file days later, not on a terminal.
        level = logging.INFO if verbose else logging.WARNING
        if log_json:
            log.show_json(level=level)
        else:
            log.show_lines("liif: %(asctime)s %(message)s", level=level)
        return serve(
            ServeSettings(
                loopback=loopback,
                exit_when_idle=exit_when_idle,
                max_pixels=settings.max_pixels,
                quality=settings.quality,
                workers=worker_settings(settings, release_after_seconds=release_when_idle),
                crew=crew.parse(settings.workers or "auto"),
                metrics=metrics,
            )
        )
    return ExitCode.OK


@app.command()
def models(as_json: Json = False) -> None:
    """Lists the models that come with liif-restore."""
    from liif_engine.network import card

    cards = card.shipped_models()
    if as_json:
        print(json.dumps([{**c.card, "name": c.name, "bytes": c.size_bytes} for c in cards.values()], indent=2))
        return
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)

    def say(words: str) -> None:
        print(textwrap.fill(words, width, **INDENT))

    print("auto, the default")
    say("web or published, whichever suits a picture's damage; --verbose says which and why")
    print("\nNAME+, as in auto+ or web+")
    say("the mean of a model's answers to the picture turned and mirrored in all eight ways: better, slower")
    print()
    for c in cards.values():
        print(f"{c.name}  ({c.size_bytes / 1e6:.1f} MB)")
        for key in ("task", "trained_for", "teacher", "started_from", "paper", "repository", "license"):
            if key in c.card:
                say(f"{key.replace('_', ' ')}: {c.card[key]}")
        print()


@app.command()
def evaluate(
    images: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, metavar="FOLDER", help="A folder of ground-truth pictures."),
    ] = None,
    scale: Annotated[float | None, typer.Option(help="At least 1; 1 scores artifact removal alone.")] = None,
    jpeg_quality: Annotated[
        list[int] | None,
        typer.Option(metavar="<int>", help="Damage the input by JPEG of this quality; may be repeated."),
    ] = None,
    model: Annotated[str, typer.Option(help="As for restore, or `bicubic`.")] = "auto",
    device: Device = None,
    precision: Precision = None,
    as_json: Json = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Compare bf16 and every other reduced form with fp32, tile by tile.")
    ] = False,
    sheet: Annotated[Path | None, typer.Option(help="With --audit: a PNG of the worst tiles.")] = None,
    side: Annotated[
        int | None, typer.Option(help="With --audit: pixels on a side of the drawn pictures (default: 128).")
    ] = None,
) -> int:
    """Scores a model on pictures with ground truth: PSNR on Y and RGB, SSIM, PSNR-B; or audits its arithmetic."""
    from liif_engine import terminal
    from liif_engine.lab import evaluate as judge

    terminal.show_logs(verbose=False)
    meant = {"--jpeg-quality": jpeg_quality, "--precision": precision} if audit else {"--sheet": sheet, "--side": side}
    if idle := [name for name, value in meant.items() if value is not None]:
        raise UsageError(f"{idle[0]} means nothing {'with' if audit else 'without'} --audit", remedy="Leave one out.")
    if audit:
        from liif_engine.lab import audit_command

        return audit_command.run(
            model,
            images or [],
            scale=2 if scale is None else scale,
            side=128 if side is None else side,
            device=device or "auto",
            sheet_file=sheet,
            as_json=as_json,
        )
    if scale is None or images is None or len(images) != 1:
        raise UsageError("needs one folder of pictures and a scale", remedy="Give --images FOLDER --scale NUMBER.")
    restorer: judge.Restorer
    if model == "bicubic":
        restorer = judge.Bicubic()
    else:
        restorer = make_engine(settings_from(None, model=model, device=device, precision=precision))
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

    try:
        result = school.train(chosen)
    except KeyboardInterrupt:
        stopped = Cancelled("stopped; nothing is half-written, and the same command goes on")
        entry.show(stopped)
        sys.exit(int(stopped.exit_code))  # past those who would say that it stopped without saying how it goes on
    state = "finished" if result.finished else "stopped; the same command goes on"
    before = "" if not result.start_scores else f", started from {result.start_scores['mean']:.2f}"
    print(f"{result.model}: {result.scores['mean']:.2f} dB on held-out pictures{before}; step {result.steps}, {state}")


app.command(name="explain")(explain_command.explain)


def _interrupt(*_: object) -> NoReturn:
    """SIGTERM and SIGHUP end the work as Ctrl+C does: temporary files are removed."""
    raise KeyboardInterrupt
