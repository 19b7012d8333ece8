"""``liif explain``: the report as a page, the facts as JSON, and progress for people and programs.

Another program may run it as a child: with ``--progress json`` stderr holds one JSON object a line, ``{"share": 0.42,
"step": "..."}`` while it works and, last, ``{"done": true, "out": "..."}`` or ``{"error": "...", "remedy": "...",
"exit_code": 3}``. A line that is no JSON is a warning in words. A child that is stopped leaves nothing half-written.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from liif_engine.errors import Cancelled, LiifError, OutputError, OutputExistsError, UsageError, fault

#: Less than this is not worth a line or a movement of the bar.
LEAST_SHARE = 0.005


class ProgressKind(StrEnum):
    """How progress is shown on stderr."""

    AUTO = "auto"
    JSON = "json"
    NONE = "none"


def explain(
    file: Annotated[
        # Not checked here, nor is --config: what cannot be read is told as any other failure, to programs too.
        Path, typer.Argument(help="The picture to explain.", metavar="FILE", show_default=False, readable=False)
    ],
    at: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="Where to look, in the picture's pixels (default: worst hit).")
    ] = None,
    scale: Annotated[float, typer.Option(help="Output per input pixel, 1 to 16.")] = 2.0,
    model: Annotated[
        str | None, typer.Option(help="auto (the default), a shipped name (see `liif models`) or a checkpoint's path.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps; restores the picture.")] = None,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Keep the result inside the JPEG's own intervals; --scale 1 only.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The page (default: NAME.evidence.html beside FILE; none with --json).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON on stdout.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="On stderr: a bar, lines of JSON, or nothing.")] = (
        ProgressKind.AUTO
    ),
    config: Annotated[
        Path | None,
        typer.Option(help="A config.yaml, for its engine: section (default: the user's own).", readable=False),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what happens.")] = False,
) -> int:
    """Shows what compression destroyed in a picture, and which clues rebuilt it: one page, for people."""
    try:
        place = None if at is None else parse_place(at)
        if out is None and not as_json:
            out = file.with_name(f"{file.stem}.evidence.html")
        if out is not None:
            check_out(out, file, overwrite=overwrite)
        from liif_engine import terminal

        terminal.show_logs(verbose=verbose)
        with _progress(progress, file) as report:
            story = _explain(file, place, scale, consistent, config, model, device, report)
            page = None if out is None else story.html()
        if out is not None and page is not None:
            _write(out, page, file, overwrite=overwrite)
    except (Exception, KeyboardInterrupt) as error:
        if progress is not ProgressKind.JSON:
            raise
        reason = _in_words(error, file)
        _line({"error": str(reason), "remedy": reason.remedy, "exit_code": int(reason.exit_code)})
        sys.exit(int(reason.exit_code))  # past those who would say it again in words
    if as_json:
        print(json.dumps(story.as_dict(), indent=2))
    elif out is not None:
        print(out)
    if progress is ProgressKind.JSON:
        _line({"done": True, "out": None if out is None else str(out)})
    return 0


def parse_place(text: str) -> tuple[int, int, int, int]:
    """``40,30,64,48`` to (40, 30, 64, 48).

    Raises:
        UsageError: not of that form, or without extent.
    """
    match = re.fullmatch(r"\s*(-?\d{1,6})\s*,\s*(-?\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*", text)
    if match is None:
        raise UsageError(f"--at is X,Y,WIDTH,HEIGHT in pixels, like 40,30,64,48, not {text!r}")
    x, y, width, height = (int(number) for number in match.groups())
    if min(width, height) < 1:
        raise UsageError(f"--at needs a width and a height of at least one pixel, not {text!r}")
    return x, y, width, height


def check_out(out: Path, file: Path, *, overwrite: bool) -> None:
    """Refuses, before any work, a page that could not be written.

    Raises:
        OutputExistsError, OutputError, UsageError: in words.
    """
    if out == Path("-"):  # what many programs take for standard output
        remedy = "Name a file, such as report.html; --json prints the facts."
        raise UsageError("the page is not written to standard output", path=out, remedy=remedy)
    try:
        exists = out.exists()
        if exists and file.exists() and out.samefile(file):
            raise UsageError("the page would replace the picture", path=out, remedy="Choose another --out.")
        if out.is_dir():
            raise OutputError("is a folder", path=out, remedy="Name the page, such as report.html.")
        folder = out.parent.is_dir()
    except OSError as error:
        message = f"cannot be written ({error.strerror})"
        raise OutputError(message, path=out, remedy="Choose another --out.") from error
    if exists and not overwrite:
        raise OutputExistsError("already exists", path=out)
    if not folder:
        raise OutputError("its folder does not exist", path=out, remedy="Make the folder first, or choose another.")


def _explain(
    file: Path,
    place: tuple[int, int, int, int] | None,
    scale: float,
    consistent: bool,
    config: Path | None,
    model: str | None,
    device: str | None,
    report: Callable[[float, str], None],
) -> Any:
    """The heavy part, with the settings of config.yaml."""
    from liif_engine import config as settings_file
    from liif_engine.picture.image_file import Limits

    settings = settings_file.load(config)
    report(0.0, "Starting")
    from liif_engine.lab.explain import explain
    from liif_engine.restore import Engine

    engine = Engine(
        model or settings.model,
        device=device or settings.device,
        precision=settings.precision,
        memory_bytes=settings.memory_bytes,
    )
    limits = Limits(max_pixels=settings.max_pixels)
    return explain(file, at=place, scale=scale, engine=engine, consistent=consistent, limits=limits, on_progress=report)


def _in_words(error: Exception | KeyboardInterrupt, file: Path) -> LiifError:
    """Whatever ended the work, as an error that a following program can show."""
    if isinstance(error, LiifError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("stopped; nothing is half-written")
    return fault(error).at(file)


def _write(out: Path, page: str, file: Path, *, overwrite: bool) -> None:
    """The page shows the picture: who may not read that may not read this."""
    from liif_engine.picture.atomic import mode_like, write_atomically

    with write_atomically(out, overwrite=overwrite, mode=mode_like(file)) as temporary:
        temporary.write_text(page, encoding="utf-8")


@contextmanager
def _progress(kind: ProgressKind, file: Path) -> Iterator[Callable[[float, str], None]]:
    """Something to call with a share and a step."""
    if kind is ProgressKind.JSON:
        yield _Lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    from liif_engine.terminal import console

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    elapsed = TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7))  # whole, however narrow the terminal
    hidden = kind is ProgressKind.NONE or not console.is_terminal
    with Progress(*columns, elapsed, console=console, transient=True, disable=hidden) as bar:
        work = bar.add_task(file.name, total=1.0)
        yield lambda share, step: bar.update(work, completed=share, description=step)


class _Lines:
    """Progress as lines of JSON; a new step always gets one."""

    def __init__(self) -> None:
        self._share, self._step = -1.0, ""

    def __call__(self, share: float, step: str) -> None:
        if step != self._step or share >= self._share + LEAST_SHARE:
            self._share, self._step = share, step
            _line({"share": round(share, 4), "step": step})


def _line(values: dict[str, Any]) -> None:
    print(json.dumps(values), file=sys.stderr, flush=True)
