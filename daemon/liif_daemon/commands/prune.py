"""``liif-daemon prune``: originals leave the store; what was promised to stay longer goes only if a person agrees."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from liif_daemon.commands.options import Config, DryRun, opened
from liif_engine import entry
from liif_engine.errors import UsageError


def prune(
    older_than: Annotated[str | None, typer.Option(help="Also originals kept for longer than, like `90 days`.")] = None,
    reviewed: Annotated[
        bool, typer.Option("--reviewed", help="Also those whose results you kept on the review page.")
    ] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree that originals go before their time is over.")] = False,
    config: Config = None,
) -> None:
    """Lets go of originals whose time is over."""
    from liif_daemon import asked
    from liif_daemon.prune import prune as prune_all
    from liif_daemon.status import as_bytes
    from liif_daemon.store import Store
    from liif_engine.words import counted

    with opened(config, making=not dry_run) as (settings, ledger):
        days = None if older_than is None else (time.time() - asked.moment(older_than)) / 86400
        also = ledger.reviewed_originals() if reviewed else frozenset[str]()
        store = Store(settings.daemon.originals_folder, ledger.originals.owner())
        if days is not None and not (dry_run or yes):
            whole = prune_all(ledger, store, older_than_days=days, also=also, dry_run=True)
            over = prune_all(ledger, store, also=also, dry_run=True)
            _agree_to_lose(whole.count - over.count, as_bytes(whole.size - over.size))
        gone = prune_all(ledger, store, older_than_days=days, also=also, dry_run=dry_run)
    print(f"{counted(gone.count, 'original')} let go, {as_bytes(gone.size)}{' (dry run)' if dry_run else ''}")


def _agree_to_lose(count: int, size: str) -> None:
    """Asks before originals go that were promised to be kept for longer.

    Raises:
        UsageError: nobody agreed.
    """
    if not count:
        return
    from liif_engine.words import counted

    said = f"{counted(count, 'original')}, {size}, would go before their time is over, and no undo brings them back"
    if not sys.stdin.isatty():
        raise UsageError(said, remedy="If that is meant, run it again with --yes; --dry-run only counts them.")
    if not entry.confirm(f"{said}. Delete them?"):
        raise UsageError("not agreed to; nothing was deleted")
