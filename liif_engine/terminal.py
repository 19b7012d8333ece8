"""How the commands speak: progress bars on a terminal, plain lines elsewhere, errors in words."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.table import Column
from rich.text import Text

from liif_engine.errors import LiifError, OutputError, printable
from liif_engine.streams import STDOUT

#: For people: progress, warnings, errors. Results for programs go to stdout. A file called :smile:.jpg is no emoji.
console = Console(stderr=True, highlight=False, emoji=False)

#: Megapixels: the unit of progress, so that a large picture counts for more than a small one.
MEGA = 1e6


#: A terminal of fewer columns has no room for everything.
NARROW = 72


class Rate(ProgressColumn):
    """Megapixels done, of how many, and how fast."""

    def render(self, task: Task) -> Text:
        """One task's figures."""
        speed = task.finished_speed or task.speed
        pace = "" if speed is None else f"  {speed:.2f} MP/s"
        return Text(f"{task.completed:.1f}/{task.total or 0:.1f} MP{pace}", style="progress.download")


class Batch:
    """Progress over several pictures: a bar for the picture at work and, if there are several, one for all.

    Args:
        megapixels: of all results together.
        pictures: how many.
    """

    def __init__(self, megapixels: float, pictures: int) -> None:
        # On a narrow terminal the rate goes: what counts is how far it is.
        rate = [Rate(table_column=Column(no_wrap=True))] if console.width >= NARROW else []
        self.bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True, min_width=4)),
            *rate,
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True, min_width=5)),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )
        self.several = pictures > 1
        self.all = self.bars.add_task("all", total=megapixels, visible=self.several)
        self.pictures, self.finished, self.done = pictures, 0, 0.0
        self.at_work: dict[TaskID, float] = {}

    def __enter__(self) -> Batch:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    @contextmanager
    def picture(self, name: str, megapixels: float) -> Iterator[Callable[[float], None]]:
        """Progress of one picture; it counts as done for all when the block ends, however it ends."""
        bar = self.bars.add_task(_shortened(printable(name), min(32, console.width // 3)), total=megapixels)

        def report(share: float) -> None:
            self.at_work[bar] = share * megapixels
            self.bars.update(bar, completed=self.at_work[bar])
            self.bars.update(self.all, completed=self._completed())

        try:
            yield report
        finally:
            self.done += megapixels
            self.finished += 1
            self.at_work.pop(bar, None)
            words = f"all ({self.finished} of {self.pictures})"
            self.bars.update(self.all, completed=self._completed(), description=words)
            self.bars.remove_task(bar)

    def _completed(self) -> float:
        """Megapixels of all pictures; workers may be at several."""
        return self.done + sum(list(self.at_work.values()))  # a copy, since each worker has a thread

    def say(self, line: str) -> None:
        """A lasting line above the bars, on stdout, where a script may read it."""
        if console.is_terminal and sys.stdout is not None and sys.stdout.isatty():
            self.bars.console.print(line, markup=False, soft_wrap=True)
        else:
            tell(line)


def busy(words: str) -> Status:
    """A line of words that change, with a sign of life; as a context it is shown."""
    return console.status(words, spinner="line" if console.options.ascii_only else "dots")


def tell(line: str) -> None:
    """A line on stdout. Once nobody reads it any more, as after `| head`, or it cannot be written, the work goes on."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        leave_stdout()
    except OSError as error:
        leave_stdout()
        reason = f"cannot be written to ({error.strerror})"
        show_error(OutputError(reason, path=STDOUT, remedy="The work goes on; no more is said there."))


def leave_stdout() -> None:
    """What is still written to stdout goes nowhere: whoever read it has left, or it cannot be written to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_error(error: LiifError) -> None:
    """One line on stderr: what happened, to which file, what to do."""
    console.print(f"liif: {error.explain()}", markup=False, style="red", soft_wrap=True)


def show_logs(*, verbose: bool) -> None:
    """Sends log records to stderr without breaking the bars; warnings only, unless `verbose`."""
    handler = _Lines()
    handler.setFormatter(logging.Formatter("liif: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)


class _Lines(logging.Handler):
    """Each record on a line of its own, above the bars, however narrow the terminal is or whatever reads it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            # A line is one line, whatever a name in it holds; a traceback is several.
            console.print(text if record.exc_info else printable(text), markup=False, soft_wrap=True)
        except Exception:
            self.handleError(record)


def _shortened(name: str, width: int) -> str:
    """Its beginning and its end, in so many columns at most: a letter of some scripts takes two."""
    if cell_len(name) <= width:
        return name
    first, last = len(name) // 2, len(name) // 2
    while cell_len(name[:first]) > (width - 1) // 2:
        first -= 1
    while cell_len(name[last:]) > width // 2:
        last += 1
    return f"{name[:first]}…{name[last:]}"
