"""`liif-daemon scan`: every file of the folders looked at now; with `--again`, results of other settings are redone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from liif_daemon import asking
from liif_daemon.examine import Verdict, examine, record
from liif_daemon.ledger import Glance, Job, Ledger
from liif_daemon.names import pictures
from liif_daemon.settings import FolderSettings, Settings, target_name
from liif_daemon.store import Store
from liif_daemon.undo import check, undo
from liif_daemon.undoable import undoable
from liif_engine.errors import LiifError, OutputError
from liif_engine.model_names import AUTO, makers


def scan(
    settings: Settings, ledger: Ledger, *, again: bool, dry_run: bool, say: Callable[[str], None]
) -> dict[str, int]:
    """Looks at all files and queues what is to be restored; a running daemon does the rest.

    Args:
        settings: whose folders to look at.
        ledger: open.
        again: puts back, and queues, originals whose results other settings made.
        dry_run: changes nothing.
        say: takes one line for each file that something is to be done about.

    Returns:
        How many files were found of each kind.
    """
    store, counts = Store(settings.daemon.originals_folder, ledger.originals.owner()), Counter[str]()

    def closed(place: Path, error: OSError) -> None:
        counts["not to be read"] += 1
        say(f"{place}: cannot be read ({error.strerror})")

    silent = asking.silent(folder.path for folder in settings.folders)
    for folder in settings.folders:
        if folder.path in silent:
            counts["not to be read"] += 1
            say(f"{folder.path}: {asking.SILENT_WORDS}")
            continue
        if not folder.path.is_dir():
            counts["not to be read"] += 1
            say(f"{folder.path}: there is no such folder")
            continue
        for path in pictures(folder, folder.path, on_closed=closed):
            try:
                kind, reason = _look(path, folder, settings, ledger, store, again=again, dry_run=dry_run)
            except OSError as error:
                closed(path, error)
                continue
            except LiifError as error:
                kind, reason = "failed", error.message if error.path == path else str(error)
            counts[_WORDS[kind]] += 1
            if kind in {"job", "failed", "skipped"}:
                say(f"{path}: {'to be restored' if kind == 'job' else reason}{' (dry run)' if dry_run else ''}")
    return dict(counts)


_WORDS = {
    "job": "to be restored",
    "skipped": "left as they are",
    "failed": "failed",
    "ours": "restored already",
    "undone": "undone",
    "known": "known",
}


def _look(
    path: Path, folder: FolderSettings, settings: Settings, ledger: Ledger, store: Store, *, again: bool, dry_run: bool
) -> tuple[str, str]:
    if again and (job := _made_otherwise(path, folder, settings, ledger)):
        try:
            if dry_run:
                check(job, ledger, store, force=False)
                return "job", ""
            undo(job, ledger, store)
        except OSError as error:
            raise OutputError(f"its original cannot be brought back ({error.strerror})", path=path) from error
        verdict = Verdict("job", "", job.source_sha256, Glance.of(path), job.width, job.height)
        with ledger.together():
            for row in ledger.jobs(path=path, sha256=job.source_sha256, state="undone"):
                ledger.finish(row, "skipped", "redone with other settings")  # this file's; the result may be a copy
            record(path, folder, settings, ledger, verdict)
        return "job", ""
    if not again and ledger.looks.knows(path, Glance.of(path), folder.rules):
        rows = ledger.jobs(path=path)
        return ("ours", "") if rows and rows[-1].state == "done" else ("known", "")
    verdict = examine(path, folder, settings, ledger)
    if not dry_run:
        record(path, folder, settings, ledger, verdict)
    return verdict.kind, verdict.reason


def _made_otherwise(path: Path, folder: FolderSettings, settings: Settings, ledger: Ledger) -> Job | None:
    """The job whose result lies here, if the settings now ask for another size or model."""
    model = folder.model or settings.engine.model
    for job in undoable(path, ledger):
        same_model = model == AUTO or job.model in {model, *makers(model)}
        if job.state == "done" and not (job.target == target_name(folder.targets[0]) and same_model):
            return job
    return None
