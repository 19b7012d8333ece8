"""`liif-daemon run`: from the first check to the last word, with signals, reloads, the log and systemd in between."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType

from liif_daemon import places, unit
from liif_daemon.asking import Question
from liif_daemon.dispatch import FOLDER_SECONDS, Daemon
from liif_daemon.engine import ServiceEngine
from liif_daemon.figures import Figures
from liif_daemon.first_run import agree, why_not_begin
from liif_daemon.ledger import Glance, Job, Ledger, by_file, reasons
from liif_daemon.names import names_files_alone, why_not
from liif_daemon.prune import prune
from liif_daemon.reload import Reload
from liif_daemon.settings import Settings
from liif_daemon.told import is_news
from liif_engine import figures
from liif_engine.errors import ExitCode, LiifError, OutputError, UsageError, printable
from liif_engine.log import Json, OneLine
from liif_engine.terminal import show_error
from liif_engine.words import counted

log = logging.getLogger("liif_daemon")

#: How often originals whose time is over are looked for. [s]
PRUNE_SECONDS = 3600.0

#: Where `low_priority` brings the daemon, if it is not there already.
LOW_NICE = 10

#: States in which a run with `once` can end a job.
ENDS = ("done", "skipped", "failed")

#: What is waited for where the ledger has no reason.
_WAITS = {"queued": "for its originals' store", "claimed": "it was at work at the end; the next run puts it in order"}

#: Files that are named with one and the same reason to wait: thousands may wait for a disk.
WAITS_OF_A_KIND = 10

_LOG_BYTES, _LOGS = 5_000_000, 3


class Signals:
    """What the system asked for since the last look."""

    def __init__(self) -> None:
        self.ends = self.reloads = False
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._reload)

    def _end(self, _: int, __: FrameType | None) -> None:
        self.ends = True

    def _reload(self, _: int, __: FrameType | None) -> None:
        self.reloads = True


def run(
    settings: Settings,
    load: Callable[[], Settings],
    *,
    once: bool,
    ask: Callable[[str], bool] | None,
    yes: bool = False,
    log_json: bool = False,
) -> ExitCode:
    """Runs the daemon until it is told to end or, with `once`, until all that is there is done.

    Args:
        settings: what to do.
        load: reads the settings again.
        once: end when done.
        ask: agrees to a large first run; None if there is nobody to ask.
        yes: it is agreed to.
        log_json: write the log as JSON lines, and have an engine that is started here do so.

    Returns:
        OK; with `once`, SEVERAL if anything failed or has to wait.

    Raises:
        LiifError: it cannot run like this.
    """
    if not settings.folders:
        raise UsageError("there is no folder to watch", remedy="Name one: `liif-daemon run FOLDER --scale 2`.")
    places.check_layout(settings)
    with places.only_one(settings):
        write_log(settings, as_json=log_json, once=once)
        ledger = Ledger(places.ledger_path(settings))
        engine = ServiceEngine(config=settings.path, arguments=("--log-json", "--verbose") if log_json else ())
        try:
            if settings.daemon.low_priority:
                step_back()  # before the question, for whose estimate the engine is started
            agree(settings, ledger, engine, ask, yes=yes)
            signals = Signals()  # not before: Ctrl+C is an answer too
            daemon = Daemon(settings, ledger, engine, once=once, why_not_begin=why_not_begin)
            if settings.daemon.metrics is not None:
                shown = Figures(ledger, daemon.tally, settings.daemon.originals_folder)
                figures.show(str(settings.daemon.metrics), shown, setting="daemon.metrics in config.yaml")
            daemon.start()
            unit.notify(READY="1")
            if not once:
                names = ", ".join(str(folder.path) for folder in settings.folders)
                log.info("watching %s; `liif-daemon status` tells more, Ctrl+C ends it", names)
            try:
                _loop(daemon, load, signals)
            finally:
                unit.notify(STOPPING="1")
                daemon.stop()
            return _summary(daemon, log_json=log_json) if once else ExitCode.OK
        finally:
            ledger.close()


def write_log(settings: Settings, *, as_json: bool = False, once: bool = False) -> None:
    """Sends the log to a file that is rotated, and to stderr; with `once`, less what `_summary` says there."""
    path = places.log_path(settings)
    words: logging.Formatter = Json() if as_json else OneLine("%(asctime)s %(levelname)s %(message)s")
    try:
        file: logging.Handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=_LOGS, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", path=path) from error
    file.setFormatter(words)
    said = logging.StreamHandler(sys.stderr)
    said.setFormatter(words if as_json else OneLine("%(message)s"))
    if once and not as_json:
        said.addFilter(is_news)
    logging.basicConfig(level=logging.INFO, handlers=[file, said], force=True)
    # A full disk under the log is no reason for a traceback with each line.
    logging.raiseExceptions = False


def step_back() -> None:
    """Lowers this process's claim to CPU and disk, and that of the engine it starts; where the system lets it."""
    if sys.platform != "win32":
        with suppress(OSError):
            os.nice(max(0, LOW_NICE - os.nice(0)))
    number = {"x86_64": 251, "aarch64": 30}.get(platform.machine())
    if sys.platform.startswith("linux") and number is not None:
        who_process, best_effort, idle, lowest = 1, 2, 3, 7  # of <linux/ioprio.h>
        call = ctypes.CDLL(None, use_errno=True).syscall
        if call(number + 1, who_process, 0) >> 13 != idle:  # the next call tells what this one sets
            call(number, who_process, 0, best_effort << 13 | lowest)


def _loop(daemon: Daemon, load: Callable[[], Settings], signals: Signals) -> None:
    reload, pruning, pruned = Reload(daemon, load), Question(lambda: _let_go(daemon)), -PRUNE_SECONDS
    while not signals.ends and daemon.tick():
        unit.notify(WATCHDOG="1")
        if asked := signals.reloads:
            signals.reloads = False
        reload.tick(asked=asked)
        if time.monotonic() - pruned > PRUNE_SECONDS and pruning.put():
            pruned = time.monotonic()
        _pause(daemon, signals)


def _let_go(daemon: Daemon) -> None:
    """In a thread of its own, until the daemon ends: there may be many of them, and the store may not answer."""
    try:
        gone = prune(daemon.ledger, daemon.store, is_stopped=daemon.stopping.is_set)
    except LiifError as error:
        log.warning("%s", error.explain())
        return
    if gone.count:
        log.info("let go of %s whose time was over", counted(gone.count, "original"))


def _pause(daemon: Daemon, signals: Signals) -> None:
    """Waits for the next round; a signal, or the end of a run with `once`, does not wait for all of it."""
    deadline = time.monotonic() + FOLDER_SECONDS
    while time.monotonic() < deadline and not (signals.ends or signals.reloads):
        if daemon.once and not daemon.tick():
            return
        time.sleep(0.05)


def _summary(daemon: Daemon, *, log_json: bool = False) -> ExitCode:
    """Says what a run with `once` did; with `log_json`, not again what failed, which stderr has as JSON."""
    ours = {folder.path for folder in daemon.settings.folders}

    def found(state: str, after: int | None = None) -> list[Job]:
        return [job for job in daemon.ledger.jobs(state=state, after=after) if job.folder in ours]

    done, skipped, failed = (found(state, daemon.before) for state in ENDS)
    former = [job for job in found("failed") if job.sequence <= daemon.before and _is_meant(job, daemon)]
    queued = [*found("queued"), *found("claimed")]
    missed = {row["path"]: row["why"] for row in daemon.folders() if row["how"] in {"away", "silent"}}
    missed |= {str(path): why for path, why in daemon.looker.missed.items()}
    # What failed before is asked for again only by its own name.
    named = [job for job in former if _is_named(job, daemon)]
    # What waits for the engine waits for one reason, which is said once.
    of_engine = {"", printable(daemon.no_engine)} if daemon.no_engine else frozenset[str]()
    held_up = [job for job in queued if job.reason not in of_engine]
    _tell([] if log_json else failed)
    _tell(held_up, "waits: ", most=WAITS_OF_A_KIND)
    _tell(named, "failed before: ")
    for why in filter(None, (daemon.no_engine, daemon.store_watch.why_away())):
        show_error(LiifError(why))
    for path, why in () if log_json else missed.items():
        show_error(LiifError(why, path=path))
    over = {job.path for job in (*done, *failed)}
    skipped = [job for job in skipped if job.path not in over and _is_meant(job, daemon)]
    undone = {job.path for job in found("undone") if _is_meant(job, daemon) and _lies_there(job, daemon)}
    left, lost, waiting = (len(by_file(some)) for some in (skipped, failed, queued))
    left += len(daemon.looker.left - undone)
    words = f"{len(done)} restored, {left} left as they are, {lost} failed, {waiting} waiting"
    words += f", {len(missed)} not to be read" if missed else ""
    words += f", {len(by_file(former))} that failed before (`liif-daemon retry --failed` tries again)" if former else ""
    words += (
        f", {len(undone)} left alone since undone (`liif-daemon retry FILE` has one restored again)" if undone else ""
    )
    quiet = not any((done, left, failed, queued, missed, former, undone))
    print(words + ("; `liif-daemon why FILE` tells why a file is as it is" if quiet else ""))
    return ExitCode.SEVERAL if failed or queued or missed or named else ExitCode.OK


def _tell(jobs: list[Job], prefix: str = "", *, most: int = sys.maxsize) -> None:
    """A line for each file; of those that have the same reason only `most`, and how many more there are."""
    alike: Counter[str] = Counter()
    for file in by_file(jobs):
        why = prefix + (reasons(file) or _WAITS[file[0].state])
        alike[why] += 1
        if alike[why] <= most:
            show_error(LiifError(why, path=file[0].path))
    for why, count in alike.items():
        if count > most:
            show_error(LiifError(f"and {count - most:,} more: {why}"))


def _is_meant(job: Job, daemon: Daemon) -> bool:
    """Whether a job's file is there, and one of those that the run looked at."""
    folder = daemon.settings.folder_of(job.path)
    is_ours = folder is not None and folder.path not in daemon.silent and why_not(job.path, folder) is None
    return is_ours and _is_there(job.path)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # its share is dead
        return False


def _lies_there(job: Job, daemon: Daemon) -> bool:
    """Whether a job's file is its original still, by the look that was had at it: no large folder is read for that."""
    try:
        return daemon.ledger.looks.content(job.path, Glance.of(job.path)) == job.source_sha256
    except OSError:  # it has gone just now
        return False


def _is_named(job: Job, daemon: Daemon) -> bool:
    folder = daemon.settings.folder_of(job.path)
    return folder is not None and names_files_alone(folder)
