"""The daemon itself: hints settle, settled files are looked at, jobs are claimed and done, until it is told to end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from liif_daemon import outdated, places, remains
from liif_daemon.asking import PATIENCE_SECONDS
from liif_daemon.at_work import AtWork
from liif_daemon.bench import Bench
from liif_daemon.engine import Engine, Stopped
from liif_daemon.failures import MOST_TRIES
from liif_daemon.figures import Tally
from liif_daemon.find import Scans
from liif_daemon.ledger import Job, Ledger
from liif_daemon.look import Looker
from liif_daemon.looking import Looking
from liif_daemon.outage import Outage
from liif_daemon.posts import Posts, Turn
from liif_daemon.progress import Progress
from liif_daemon.settings import FolderSettings, Settings
from liif_daemon.settle import Settling
from liif_daemon.store import Store
from liif_daemon.store_watch import StoreWatch
from liif_daemon.watcher import Watcher
from liif_daemon.work import restore_picture
from liif_engine.errors import LiifError

log = logging.getLogger(__name__)

#: How often settling files and folders are looked at. [s]
TICK_SECONDS = 0.05
FOLDER_SECONDS = 1.0

#: How long the work in progress may take to end. [s]
FAREWELL_SECONDS = 10


class Daemon:
    """Watches, looks, restores.

    Args:
        settings: what to do; checked by `places.check_layout`.
        ledger: open.
        engine: restores files.
        once: end when all that is there is done.
        why_not_begin: asked of each folder that is there, or returns, why nothing is to be done in it.

    Attributes:
        silent: folders that do not answer, or in which something does not; nothing is begun there.
        before: the place in the sequence of the job that had changed last at the start.
        no_engine: with `once`, why none can be started; then no picture is tried any more.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        engine: Engine,
        *,
        once: bool = False,
        why_not_begin: Callable[[FolderSettings, Settings, Ledger], str] = lambda *_: "",
    ) -> None:
        self._why_not_begin = why_not_begin
        self.settings, self.ledger, self.engine, self.once = settings, ledger, engine, once
        self.store = Store(settings.daemon.originals_folder, ledger.originals.owner())
        self.progress = Progress(places.status_path(settings))
        self.store_watch = StoreWatch(self.store, self.progress, lambda: self.store.begin(ledger.originals))
        self.settling = Settling()
        self.tally = Tally()
        self.silent: frozenset[Path] = frozenset()
        self._silent_before: frozenset[Path] = frozenset()
        self.before = ledger.overview.latest()
        self.stopping = threading.Event()
        looking = Looking(places.looking_path(settings))
        self.looker = Looker(ledger, looking, self.tally, self.stopping, once=once)
        self._wake = threading.Event()
        self.scans = Scans(ledger, self.looker, self.stopping, self._hint, self._on_workplace)
        self.at_work = AtWork(ledger, once=once)
        self._told: set[int] = set()
        self.no_engine = ""
        self._no_ledger: LiifError | None = None
        self._has_begun, self._in_order = False, threading.Event()
        self._looking = True
        self._lock = threading.Lock()
        self.posts = Posts()
        self._new_watcher()

    def start(self) -> None:
        """Begins; what an earlier run left behind is put in order before anything else is done."""
        self.ledger.count_deaths()
        self.store_watch.why_away()
        self.watcher.start()
        self.posts.fill("look", self._look_for_ever)
        for number in range(self.settings.daemon.jobs_at_once):
            self.posts.fill(f"job {number + 1}", self._work_for_ever)

    def tick(self) -> bool:
        """One round of the main loop; False when there is nothing more to do, or a thread has met a fault."""
        self.watcher.tick()
        silent = self.watcher.silent()
        self.posts.relieve(silent)
        self.silent = frozenset(silent | self._silent_before | {at.folder for at in self.posts.held_up})
        self.progress.write(
            folders=self.folders(),
            settling=len(self.settling),
            scanning=[str(path) for path in self.scans.due(())],
        )
        if self.posts.faults or self.stopping.is_set():
            return False
        return not (self.once and self._is_done())

    def folders(self) -> list[dict[str, str]]:
        """How each folder is watched, as `Watcher.status` says it, and what in it does not answer."""
        rows = {row["path"]: row for row in self.watcher.status()}
        for at in self.posts.held_up:
            row = rows.get(str(at.folder))
            if row is not None and row["how"] != "silent":
                since = time.strftime("%H:%M:%S", time.localtime(at.since))
                row |= {"how": "silent", "why": f"nothing has been heard of the work at {at.path} since {since}"}
        return list(rows.values())

    def stop(self) -> None:
        """Ends within seconds: work in progress is abandoned safely, a swap in progress is finished.

        Raises:
            BaseException: the fault that ended a thread.
            LiifError: with `once`, the ledger could not be written.
        """
        self.stopping.set()
        self._wake.set()
        self.watcher.stop()
        self.posts.leave(FAREWELL_SECONDS)
        self.looker.looking.over()
        self.at_work.absolve()
        self.progress.remove()
        if self.posts.faults:
            raise self.posts.faults[0]
        if self._no_ledger:
            raise self._no_ledger

    def reload(self, settings: Settings) -> None:
        """Goes on with other folders and settings; what is at work ends under the old ones."""
        silent = self.silent | self.watcher.silent()
        self.watcher.stop()
        # A folder that is not watched any more is not touched again, least of all one that did not answer; what waits
        # in the others, their scans find.
        self._silent_before = silent - {folder.path for folder in settings.folders}
        self.silent |= self._silent_before
        with self._lock:
            self.settings = settings
            self._in_order.clear()
        self.scans.clear()
        self.settling = Settling()
        self._new_watcher()
        self.watcher.start(PATIENCE_SECONDS)

    def scan(self) -> None:
        """Asks for a look at every file of every folder."""
        for folder in self.watcher.present():
            self.scans.ask(folder)

    def recover(self, turn: Turn) -> None:
        """Ends what was claimed by a run that was killed; a folder that is away keeps its jobs until it returns."""
        pictures = dict.fromkeys((job.folder, job.path, job.source_sha256) for job in self.ledger.jobs(state="claimed"))
        for folder, path, sha256 in pictures:
            if folder in self.silent or self.stopping.is_set() or turn.is_over:
                continue
            with self.at_work.left(path, sha256) as left, turn.touching(folder, path):
                if left and remains.recover(left, self._bench()):
                    self._hint(path, self.settings.folder_of(path))

    def _on_workplace(self, workplace: Path) -> None:
        try:
            remains.clear_found(workplace, self._bench())
        except OSError as error:
            self.looker.miss(workplace, error)

    def _new_watcher(self) -> None:
        daemon = self.settings.daemon
        self.watcher = Watcher(
            self.settings.folders,
            self.ledger,
            daemon.poll_seconds,
            self._hint,
            self.scans.ask,
            lambda folder: self._why_not_begin(folder, self.settings, self.ledger),
        )

    def _hint(self, path: Path, folder: FolderSettings | None, closed: bool = False) -> None:
        if folder is not None:
            self.settling.hint(path, folder.settle_seconds, closed=closed, folder=folder.path)

    def _bench(self) -> Bench:
        return Bench(self.settings, self.ledger, self.store, self.engine, self.tally, self._on_no_engine, self._told)

    def _on_no_engine(self, reason: str) -> None:
        if self.once:
            self.no_engine = self.no_engine or reason

    def _look_for_ever(self, turn: Turn) -> None:
        """Scans and looks at what has settled."""
        last_scan, outage = time.monotonic(), Outage(self.progress, self.stopping)
        while not self.stopping.is_set() and not turn.is_over:
            if time.monotonic() - last_scan > self.settings.daemon.scan_seconds:
                self.scan()
            looked: list[bool] = []
            try:
                is_due = bool(self.scans.due(self.silent) or not self._in_order.is_set())
                if is_due:
                    last_scan = time.monotonic()
                    self._put_in_order(turn)
                    self.scans.make(turn, self.silent)
                self._looking |= bool(self._settling_now())
                looked = [self._look_at_settled(folder, turn) for folder in self._settling_now() if not turn.is_over]
                if is_due or any(looked):  # while a file settles that could not be looked at, nothing tells
                    outage.over()
            except LiifError as error:
                self._endure(outage, error)
            if not turn.is_over:
                self._looking = bool(any(looked) or self.scans.due(self.silent) or self._settling_now())
            self.stopping.wait(TICK_SECONDS)

    def _put_in_order(self, turn: Turn) -> None:
        """What an earlier run left behind, and what was queued under other settings."""
        settings = self.settings
        if not self._has_begun and (path := self.looker.left_at()) is not None:
            folder = settings.folder_of(path)
            with turn.touching(folder.path if folder else path.parent, path):
                self.looker.count_death(path)
        self.recover(turn)
        if not self._has_begun:
            remains.clear(self._bench(), turn.touching, self.silent)
        outdated.withdraw(settings, self.ledger, turn.touching, self.silent)
        with self._lock:
            if self.settings is settings and not turn.is_over:
                self._has_begun = True
                self._in_order.set()
                self._wake.set()

    def _settling_now(self) -> list[Path | None]:
        return [folder for folder in self.settling.folders() if folder not in self.silent]

    def _look_at_settled(self, folder: Path | None, turn: Turn) -> bool:
        """Looks at the files of a folder that have settled; whether there were any.

        Raises:
            OutputError: the ledger cannot be read or written; what was not looked at waits for that.
        """
        assert folder is not None  # `_hint` names it
        with turn.touching(folder):
            paths = self.settling.settled(folder, partial(turn.goes_on, folder))
            for number, path in enumerate(paths):
                if self.stopping.is_set():
                    break
                turn.goes_on(folder, path)
                try:
                    if self.looker.look(path, self.settings):
                        self._wake.set()
                except LiifError:
                    for left in paths[number:]:
                        self._hint(left, self.settings.folder_of(left))
                    raise
        return bool(paths)

    def _endure(self, outage: Outage, error: LiifError) -> None:
        """Nothing is replaced until the ledger can be written again; with `once`, that has an end."""
        if self.once and outage.tries + 1 >= self.settings.daemon.max_attempts:
            self._no_ledger = self._no_ledger or error
            self.stopping.set()
        else:
            outage.wait(error, self.settings.daemon.retry_seconds)

    def _work_for_ever(self, turn: Turn) -> None:
        """Claims and does jobs."""
        outage = Outage(self.progress, self.stopping)
        while not self.stopping.is_set() and not turn.is_over:
            try:
                if outage.tries:
                    self.recover(turn)
                is_done = self._in_order.is_set() and self._work(turn)
                outage.over()
                if not is_done:
                    self._rest(0.2)
            except LiifError as error:
                self._endure(outage, error)

    def _rest(self, seconds: float) -> None:
        """Until there is something new to do, at most for so long."""
        self._wake.wait(seconds)
        self._wake.clear()

    def _work(self, turn: Turn) -> bool:
        """Does one picture; False if there is none to do."""
        if self.no_engine:
            return False
        folders = [folder.path for folder in self._workable()]
        jobs = self.at_work.claim(folders, self.silent)
        if not jobs:
            return False
        try:
            with turn.touching(jobs[0].folder, jobs[0].path):
                if restore_picture(jobs, self._bench(), partial(self._on_progress, turn)):
                    self._hint(jobs[0].path, self.settings.folder_of(jobs[0].path))
        finally:
            self.at_work.over(jobs)
            self.progress.over(jobs)
        path, sha256, waited = jobs[0].path, jobs[0].source_sha256, bool(jobs[0].reason)
        if waited and not self.once and self.ledger.jobs(path=path, sha256=sha256, state="queued"):
            # In vain again. None waits for longer than `LONGEST_WAIT`, so of very many one is always due.
            self._rest(self.settings.daemon.jobs_at_once / MOST_TRIES)
        return True

    def _workable(self) -> list[FolderSettings]:
        """The folders whose jobs can be done now: they are there, and so is the store if it is needed."""
        is_store_away = bool(self.store_watch.why_away())
        there = [one for one in self.watcher.present() if one.path not in self.silent]
        return [one for one in there if not (is_store_away and one.keep_originals)]

    def _on_progress(self, turn: Turn, job: Job, share: float) -> None:
        # The engine may be held up by the file too, while it reads or writes it, and others wait for the engine.
        if self.stopping.is_set() or (job.folder in self.silent and not 0 < share < 1):
            raise Stopped
        turn.goes_on(job.folder, job.path)
        self.progress.at(job, share)

    def _is_done(self) -> bool:
        """Whether all that is there was looked at and done, or waits for something that is not the picture's fault."""
        # In the order in which a file goes through them: what leaves one of them meanwhile is met in the next.
        if self.watcher.is_beginning() or self.scans.due(self.silent) or self._settling_now() or self._looking:
            return False
        folders = [] if self.no_engine else [folder.path for folder in self._workable()]
        return self.at_work.is_over(folders, self.silent)
