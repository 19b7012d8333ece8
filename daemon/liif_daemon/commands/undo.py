"""``liif-daemon undo`` and ``retry``: the way back, and forth again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from liif_daemon.commands.options import Config, DryRun, opened, when
from liif_engine import entry
from liif_engine.errors import LiifError, OutputError, UsageError, combined_exit_code, printable
from liif_engine.words import counted


def undo(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders.", metavar="FILE", readable=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="What was restored since: `2 hours`, `3 days`, or a date like 2026-01-31.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what was changed since, or only a lost ledger knew; stored first.")
    ] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to many at once.")] = False,
    config: Config = None,
) -> int:
    """Brings originals back; they stay until `retry`. A result that was renamed since goes."""
    from liif_daemon import asked
    from liif_daemon.failures import in_words
    from liif_daemon.ledger import Job
    from liif_daemon.renamed import bring_back, elsewhere, told
    from liif_daemon.store import Store
    from liif_daemon.undo import check
    from liif_daemon.undoable import older, undoable, why_nothing
    from liif_daemon.unknown import Unknown, adopt, unknown
    from liif_engine.terminal import tell

    if not files and since is None:
        raise UsageError("say what to undo", remedy="Name files or folders, or give --since.")
    failures: list[LiifError] = []
    back = 0

    def failed(error: LiifError) -> None:
        failures.append(error)
        entry.show(error)

    # A slip in a folder's entry is no reason to go without.
    with opened(config, forgiving=True, making=not dry_run) as (settings, ledger):
        after = 0.0 if since is None else asked.moment(since)
        store = Store(settings.daemon.originals_folder, ledger.originals.owner())
        for path in [asked.as_watched(asked.absolute(file), settings, ledger) for file in files or []] or [
            Path(os.sep)
        ]:
            try:
                jobs = undoable(path, ledger, since=after)
                if force and not jobs:
                    jobs = [job for job in older(path, ledger) if job.changed >= after]
                known = {job.path for job in jobs}
                lost = unknown(path, ledger, store, known) if force and since is None else []
                places = elsewhere(jobs, ledger)
            except OSError as error:
                failed(OutputError(f"cannot be read ({error.strerror})", path=path))
                continue
            if not jobs and not lost and files:
                if since is not None and undoable(path, ledger):
                    remedy = "Name an earlier time, or leave --since out."
                    failed(UsageError(f"nothing was restored there since {since}", path=path, remedy=remedy))
                else:
                    failed(why_nothing(path, ledger, store))
            elif not jobs and not lost:
                print(f"nothing was restored since {since}")
            try:
                if not (dry_run or yes):
                    _agree(path, len(jobs) + len(lost), settings.daemon.ask_above)
            except UsageError as error:
                failed(error)
                continue
            # A result that was given another's name goes first, and then comes the one whose name that was: otherwise
            # its original would come back there, and not the other's.
            jobs.sort(key=lambda job: not (job.id in places and places[job.id].result))
            every: list[Job | Unknown] = [*jobs, *lost]
            while every:
                found, more = every.pop(0), ""
                try:
                    said = "the original is back" + ("" if found.path.exists() else "; there was no file any more")
                    result = places.get(found.id) if isinstance(found, Job) else None
                    if result is None and isinstance(found, Job) and not dry_run:
                        result = elsewhere([found], ledger).get(found.id)  # what lay in its place has just gone
                    if result and (freed := result.result):
                        every.sort(key=lambda one: one.path != freed)
                    if dry_run and isinstance(found, Job):
                        check(found, ledger, store, force=force)
                        more = told(result, dry_run=True)
                    elif not dry_run:
                        watched = settings.folder_of(found.path)
                        place = watched.path if watched else found.path.parent
                        job = found if isinstance(found, Job) else adopt(found, place, ledger, store)
                        more = bring_back(job, result, ledger, store, force=force)
                    tell(f"{printable(found.path)}{' (dry run)' if dry_run else f': {said}'}{more}")
                    back += 1
                except LiifError as error:
                    failed(error.at(found.path))
                except OSError as error:
                    failed(OutputError(in_words(error, store)[0], path=found.path))
    if back + len(failures) > 1:  # what failed may stand far above
        verb = "would come back" if dry_run else "is back" if back == 1 else "are back"
        print(f"{counted(back, 'original')} {verb}" + (f", {len(failures)} failed" if failures else ""))
    return combined_exit_code(failures)


def _agree(path: Path, count: int, most: int) -> None:
    """Asks who sits at a terminal before more than `most` files change; a script says at once what it means.

    Raises:
        UsageError: it was not agreed to.
    """
    if count <= most or not sys.stdin.isatty():
        return
    question = (
        f"{printable(path)}: {counted(count, 'original')} would come back in the place of their results. Undo them?"
    )
    if not entry.confirm(question):
        raise UsageError("not agreed to; nothing was undone there", path=path, remedy="--dry-run lists what would be.")


def retry(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders.", metavar="FILE", readable=False)
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Everything that failed.")] = False,
    config: Config = None,
) -> int:
    """Queues again what failed, was left alone or was undone."""
    from liif_daemon import asked
    from liif_daemon.ledger import by_file

    if not files and not failed:
        raise UsageError("say what to try again", remedy="Name files or folders, or give --failed.")
    with opened(config) as (settings, ledger):
        jobs = ledger.jobs(state="failed") if failed else []
        failures: list[LiifError] = []
        for path in [asked.as_watched(asked.absolute(file), settings, ledger) for file in files or []]:
            found = ledger.below(path) if path.is_dir() else ledger.jobs(path=path)
            if not found:
                failures.append(UsageError("nothing is known of it", path=path, remedy="Try `liif-daemon why FILE`."))
                entry.show(failures[-1])
            jobs += found
        with ledger.together():
            count = sum(ledger.retry(one) > 0 for one in by_file({job.id: job for job in jobs}.values()))
        print(f"{count} queued{when(settings) if count else ''}")
    return combined_exit_code(failures)
