"""What several commands are asked for, and what becomes of it: settings, an engine, workers, logs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liif_engine import device_names
from liif_engine.crew import WORDS
from liif_engine.crew import parse as parse_crew
from liif_engine.model_names import names_a_file

if TYPE_CHECKING:
    from liif_engine.config import EngineSettings
    from liif_engine.picture.image_file import Limits
    from liif_engine.restore import Engine
    from liif_engine.workers import WorkerSettings

Model = Annotated[
    str | None,
    typer.Option(
        help="auto (the default), a shipped name (see `liif models`) or a checkpoint's path; + at its end: asked"
        " eight times."
    ),
]
Device = Annotated[str | None, typer.Option(help=f"{device_names.WORDS} (default: auto).")]
Precision = Annotated[
    str | None, typer.Option(help="auto (the default), fp32 or bf16; auto is bf16 for 8-bit pictures if it can.")
]
Config = Annotated[
    Path | None,
    # Not checked here: what cannot be read is a failure of its own, with an exit code of its own.
    typer.Option(help="A config.yaml, for its engine: section (default: the user's own).", readable=False),
]
Workers = Annotated[
    str | None, typer.Option(metavar=WORDS, help="Processes of this machine, one per GPU, or a Ray cluster.")
]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log as JSON lines on stderr, with each job's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]


def worker_settings(settings: EngineSettings, **rest: Any) -> WorkerSettings:
    """The settings as workers take them."""
    import logging

    from liif_engine.workers import WorkerSettings

    return WorkerSettings(
        device=settings.device,
        model=lasting(settings.model),
        precision=settings.precision,
        memory_bytes=settings.memory_bytes,
        log_level=logging.getLogger().getEffectiveLevel(),
        **rest,
    )


def lasting(model: str) -> str:
    """A model's path stays what it is here, whatever folder the workers are in."""
    return str(Path(model).absolute()) if names_a_file(model) else model


def show_logs(log_json: bool, verbose: bool) -> None:
    """Logs go to stderr, as words or as JSON."""
    import logging

    from liif_engine import log, terminal

    if log_json:
        log.show_json(level=logging.INFO if verbose else logging.WARNING)
    else:
        terminal.show_logs(verbose=verbose)


def make_engine(settings: EngineSettings) -> Engine:
    """An engine of this process."""
    from liif_engine import memory
    from liif_engine.restore import Engine

    engine = Engine(
        settings.model,
        device=settings.device,
        precision=settings.precision,
        memory_bytes=settings.memory_bytes,
    )
    memory.keep_loaded()
    return engine


def settings_from(path: Path | None, **given: Any) -> EngineSettings:
    """config.yaml's settings, with what the command line gives put over them."""
    from liif_engine import config

    settings = config.load(path)
    if given.get("workers") is not None:
        parse_crew(given["workers"])
    return settings.model_copy(update={key: value for key, value in given.items() if value is not None})


def refuse_unknown(*, model: str | None, device: str | None, precision: str | None) -> None:
    """Refuses what no worker could do, before there are any; whether this machine's can, only they know.

    Args:
        model, device, precision: as the command line gives them, if it does.

    Raises:
        ModelError: there is no such model.
        DeviceError: there is no such device or precision.
    """
    from liif_engine.errors import DeviceError
    from liif_engine.model_names import AUTO, plain
    from liif_engine.network import card

    if model is not None and plain(model) != AUTO:
        card.find(plain(model))
    if device is not None:
        device_names.check(device)
    if precision not in {None, "auto", "fp32", "bf16"}:
        raise DeviceError(f"there is no precision {precision!r}", remedy="Use auto, fp32 or bf16.")


def limits_of(settings: EngineSettings) -> Limits:
    """What is refused as too large."""
    from liif_engine.picture.image_file import Limits

    return Limits(max_pixels=settings.max_pixels)
