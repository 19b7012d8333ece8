"""``liif restore SRC_FOLDER --out DST_FOLDER``: the archive case."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liif_engine import terminal
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.archive.summary import Summary
from liif_engine.commands.report import Report
from liif_engine.crew import Crew
from liif_engine.errors import ExitCode, LiifError, combined_exit_code, printable
from liif_engine.workers import Answer, WorkerSettings

#: Files that are named with one and the same failure; of an archive whose disk is full, or that was restored otherwise
#: before, thousands may fail alike.
NAMED_WITH_A_FAILURE = 10


def restore_folder(
    order: Order, crew: Crew, settings: WorkerSettings, report: Report, *, verbose: bool, dry_run: bool
) -> ExitCode:
    """Restores a folder, says what became of each file that failed, and ends with a summary.

    Args:
        order: what is to be done.
        crew: which workers.
        settings: how they work.
        report: prints the summary, if that is to be JSON.
        verbose: a line for each file that was restored too.
        dry_run: say what would be done, and do nothing.

    Raises:
        LiifError: nothing can be done like this.
    """
    with _watch(order, report, verbose=verbose, dry=dry_run) as archive:
        if dry_run:
            archive.summary.would = 0
            for relative, planned in archive.plans():
                archive.summary.would += 1
                if report.as_json:
                    archive.summary.planned.append((relative, planned.width, planned.height))
                else:
                    print(f"{printable(relative)}  {planned.width}x{planned.height} (dry run)")
        else:
            archive.run(crew, settings)
    return combined_exit_code([error for _, error in archive.summary.failures])


@contextmanager
def _watch(order: Order, report: Report, *, verbose: bool, dry: bool) -> Iterator[Archive]:
    """A run with a line of figures on a terminal, and its summary however it ends."""
    status = terminal.busy("looking at the folder")
    alike: Counter[str] = Counter()  # failures, in words that name no file

    def on_end(relative: Path, answer: Answer | None, error: LiifError | None) -> None:
        if error is not None:
            alike[error.message] += 1
            if verbose or alike[error.message] <= NAMED_WITH_A_FAILURE:
                terminal.show_error(error)
        elif verbose and answer is not None and not report.as_json:
            size = f"{answer.width}x{answer.height}"
            terminal.tell(f"{printable(relative)}  {size}, {answer.model}, {answer.seconds:.1f} s")
            for note in answer.notes:
                terminal.tell(f"  note: {note}")
        status.update(_figures(archive.summary))

    archive = Archive(order, on_end, dry=dry)
    report.summary = archive.summary
    if terminal.console.is_terminal:
        status.start()
    try:
        with archive:
            yield archive
    finally:
        status.stop()
        for message, count in alike.items() if not verbose else ():
            if count > NAMED_WITH_A_FAILURE:
                more = f"and {count - NAMED_WITH_A_FAILURE:,} more"
                print(f"liif: {more}: {message} (--verbose names them)", file=sys.stderr)
        if not report.as_json:
            print("\n".join(archive.summary.lines(verbose=verbose)), file=sys.stderr)


def _figures(summary: Summary) -> str:
    failed = f", {len(summary.failures)} failed" if summary.failures else ""
    kept = f", {summary.kept} done before" if summary.kept else ""
    return f"{summary.restored} restored{kept}{failed}"
