"""What several commands share: options, and the settings and the ledger that they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liif_engine import entry
from liif_engine.errors import ConfigError

if TYPE_CHECKING:
    from liif_daemon.ledger.review import ReviewLedger
    from liif_daemon.settings import Settings

# Not checked here, nor are files and folders: what cannot be read is a failure of its own, with its own exit code.
Config = Annotated[Path | None, typer.Option(help="A config.yaml (default: the user's own).", readable=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Files = Annotated[
    list[Path], typer.Argument(help="Files or folders.", metavar="FILE", show_default=False, readable=False)
]


def settings_from(config: Path | None) -> Settings:
    """The settings.

    Raises:
        ConfigError: they are wrong.
    """
    from liif_daemon import settings

    return settings.load(config)


@contextmanager
def opened(
    config: Path | None, *, forgiving: bool = False, making: bool = True
) -> Iterator[tuple[Settings, ReviewLedger]]:
    """The settings and the open ledger.

    Args:
        config: a config.yaml.
        forgiving: whether the ledger is found even if a folder's settings are wrong now.
        making: whether a ledger that is not there is made; a command that only looks leaves no trace.

    Raises:
        ConfigError: the settings are wrong.
        LiifError: the ledger cannot be opened.
    """
    from liif_daemon import places
    from liif_daemon.ledger.review import ReviewLedger
    from liif_daemon.settings import load_daemon

    try:
        settings = settings_from(config)
    except ConfigError as error:
        if not forgiving:
            raise
        settings = load_daemon(config)  # where the whole file is wrong, this says so
        entry.show(error)
    ledger = ReviewLedger(places.ledger_path(settings), making=making)
    try:
        yield settings, ledger
    finally:
        ledger.close()


def when(settings: Settings) -> str:
    """When the queue is worked off, if not now."""
    from liif_daemon import places

    run = "`liif-daemon run`" if settings.folders else "`liif-daemon run FOLDER`"
    return "" if places.is_running(settings) else f"; the daemon is not running: {run} does it"
