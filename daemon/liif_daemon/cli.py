"""The ``liif-daemon`` command. Heavy imports wait inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import liif_engine
from liif_daemon import gimp
from liif_daemon.commands.options import Config, DryRun, Files, Json, opened, settings_from, when
from liif_daemon.commands.prune import prune
from liif_daemon.commands.undo import retry, undo
from liif_engine import entry
from liif_engine.config import default_path
from liif_engine.errors import ConfigError, ExitCode, UsageError, printable

if TYPE_CHECKING:
    from liif_daemon.settings import Settings

app = typer.Typer(
    name="liif-daemon",
    help="Watches folders and restores the pictures that are dropped there, in place; originals are kept.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
service = typer.Typer(help="The systemd user unit.", no_args_is_help=True)
app.add_typer(service, name="service")
app.add_typer(gimp.app, name="gimp")


def main() -> NoReturn:
    """The entry point."""
    entry.run(app)


@app.callback(invoke_without_command=True)
def _global(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(f"liif-restore {liif_engine.__version__}")
        raise typer.Exit


@app.command()
def run(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders, or single files (default: config.yaml's).", metavar="FOLDER", readable=False),
    ] = None,
    scale: Annotated[
        list[float] | None,
        typer.Option(
            metavar="<float>", help="At least 1 (default: 2); repeated: the first in place, the others beside it."
        ),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the results in pixels.")] = None,
    long_edge: Annotated[int | None, typer.Option(help="Longer side of the results in pixels.")] = None,
    megapixels: Annotated[float | None, typer.Option(help="Size of the results in millions of pixels.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A model's name (see `liif models`) or a checkpoint's path (default: auto).")
    ] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="Of JPEG, WebP, AVIF, HEIC (default: 95).")
    ] = None,
    keep_originals: Annotated[str | None, typer.Option(help="forever (the default), none, or like `30 days`.")] = None,
    recursive: Annotated[bool, typer.Option(help="Whether subfolders are watched too.")] = True,
    once: Annotated[bool, typer.Option("--once", help="Restore what is there, then end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to a first run on many pictures.")] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log as JSON lines with each job's name, here and in the engine.")
    ] = False,
    config: Config = None,
) -> int:
    """Watches folders and restores what is there and what comes."""
    from liif_daemon import asked
    from liif_daemon.run import run as run_daemon

    options: dict[str, Any] = {
        "size": size,
        "long_edge": long_edge,
        "megapixels": megapixels,
        "model": model,
        "quality": quality,
    }
    options |= {"keep_originals": keep_originals, "recursive": recursive, "scales": scale or None}
    given = {key: value for key, value in options.items() if value is not None}
    if not folders and (set(given) - {"recursive"} or not recursive):
        raise UsageError("options of folders need a FOLDER", remedy="Name one, or write them into config.yaml.")

    def load() -> Settings:
        settings = settings_from(config)
        return settings.with_folders(asked.folders(folders, given)) if folders else settings

    ask = entry.confirm if sys.stdin.isatty() else None
    return run_daemon(load(), load, once=once, ask=ask, yes=yes, log_json=log_json)


@app.command()
def status(
    live: Annotated[
        bool | None, typer.Option(help="Keep showing it. [default: on a terminal]", show_default=False)
    ] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Shows what the daemon does, what it did, and what failed and why."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from liif_daemon import unknown
    from liif_daemon.status import gather, render
    from liif_daemon.store import Store

    with opened(config, forgiving=True, making=False) as (settings, ledger):
        # Counted once: it takes a look at the whole store.
        lost = unknown.count(ledger, Store(settings.daemon.originals_folder, ledger.originals.owner()))

        def found() -> dict[str, Any]:
            return {**gather(settings, ledger), "unknown_originals": lost}

        if as_json:
            print(json.dumps(found(), indent=2))
            return
        console = Console(highlight=False, emoji=False)
        can_draw = console.is_terminal and not console.is_dumb_terminal  # elsewhere `Live` shows nothing before its end
        if not (can_draw if live is None else live):
            console.print(render(found()), soft_wrap=True)
            return
        end = Text("\nCtrl+C ends this view; --no-live shows it once.", style="dim")
        with (
            suppress(KeyboardInterrupt),
            Live(console=console, auto_refresh=False) if can_draw else nullcontext() as screen,
        ):
            while True:
                if screen:
                    screen.update(Group(render(found()), end), refresh=True)
                else:
                    console.print(render(found()), "", soft_wrap=True)
                time.sleep(1)


@app.command()
def why(files: Files, config: Config = None) -> None:
    """Says why files were restored, or were not, and how it went in folders."""
    from liif_daemon import asked
    from liif_daemon.store import Store
    from liif_daemon.why import why as reasons

    with opened(config, forgiving=True, making=False) as (settings, ledger):
        for file in files:
            path = asked.as_watched(asked.absolute(file), settings, ledger)
            said = reasons(path, settings, ledger, Store(settings.daemon.originals_folder, ledger.originals.owner()))
            print(f"{printable(file)}\n" + "\n".join(f"  {line}" for line in said or ["Nothing is known of it."]))


app.command()(undo)
app.command()(retry)


@app.command()
def scan(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders (default: config.yaml's).", metavar="FOLDER", readable=False),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also redo, from the originals, what has another size or is by another model."),
    ] = False,
    dry_run: DryRun = False,
    config: Config = None,
) -> None:
    """Looks at every file of the folders now, and queues what is to be restored."""
    from liif_daemon import asked, places
    from liif_daemon.scan import scan as scan_all
    from liif_engine.terminal import tell

    settings = settings_from(config)
    if not folders and not settings.folders:
        raise UsageError("there is no folder to look at", remedy="Name one: `liif-daemon scan FOLDER --dry-run`.")
    if folders:
        chosen = {asked.absolute(folder) for folder in folders}
        known = [folder for folder in settings.folders if folder.path in chosen]
        settings = settings.with_folders(known or asked.folders(folders, {}))
    places.check_layout(settings)  # before there is a ledger: not in a folder of pictures
    with opened(config, making=not dry_run) as (_, ledger):
        counts = scan_all(settings, ledger, again=again, dry_run=dry_run, say=lambda line: tell(printable(line)))
        queued = bool(counts.get("to be restored")) and not dry_run
        said = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "no pictures there"
        print(said + (when(settings) if queued else ""))


app.command()(prune)


@app.command()
def review(
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 for one that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Whether to open the page in a browser.")] = True,
    config: Config = None,
) -> None:
    """Shows what was restored, before and after, in a browser on this machine; undo and keep there."""
    from liif_daemon.review.serve import serve

    with opened(config, forgiving=True) as (settings, ledger):
        serve(settings, ledger, port=port, browser=browser)


@app.command()
def check(config: Config = None) -> int:
    """Looks for what could keep the daemon from working here."""
    from rich.console import Console

    from liif_daemon.check import check as check_all
    from liif_daemon.engine import ServiceEngine

    console, worst = Console(highlight=False, emoji=False), ExitCode.OK
    settings = settings_from(config)
    for finding in check_all(settings, ServiceEngine(config=settings.path)):
        style = {"ok": "green", "warning": "yellow", "error": "red"}[finding.level]
        console.print(f"{finding.level:8}{finding.words}", style=style, markup=False, soft_wrap=True)
        worst = ExitCode.SEVERAL if finding.level == "error" else worst
    return worst


@service.command("install")
def service_install(
    start: Annotated[bool, typer.Option(help="Whether to enable and start it too.")] = True,
) -> None:
    """Installs the systemd user unit, and starts it."""
    from liif_daemon import unit

    unit.refuse_elsewhere()
    settings = settings_from(None)
    has_folders = bool(settings.folders)
    if start and not has_folders:
        raise ConfigError(
            f"{'names no folder' if settings.path else 'is not there'}, so nothing would be watched:"
            " the service was not installed",
            path=settings.path or default_path(),
            remedy="Name folders in it under folders:, then run this command again; --no-start does not wait for that.",
        )
    print("\n".join(unit.install(start=start)))
    if not has_folders:
        print(f"it does not start before a folder is named under folders: in {default_path()}")


@service.command("uninstall")
def service_uninstall() -> None:
    """Stops the unit and removes it; ledger and originals stay."""
    from liif_daemon import unit

    print("\n".join(unit.uninstall()))
