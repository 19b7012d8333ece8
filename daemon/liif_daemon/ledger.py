"""The only truth about jobs: SQLite, each state change one transaction, and no row is ever deleted.

All SQL is here, and what `review` asks in ledger_review.py.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liif_daemon.ledger_schema import MIGRATIONS
from liif_engine.errors import LiifError, OutputError
from liif_engine.sqlite_integers import from_sqlite, to_sqlite

STATES = ("queued", "claimed", "done", "failed", "skipped", "undone")

#: Another process (`undo`, `retry`) may hold the ledger for so long. [s]
BUSY_SECONDS = 30

#: A job never waits longer than this, also if the clock was moved while it waited. [s]
LONGEST_WAIT = 900


@dataclass(frozen=True)
class Job:
    """One row: a file's content at a path, to be restored to one size.

    Attributes:
        id: of the row.
        folder: the watched folder.
        path: the file.
        source_sha256: of the original's bytes.
        target: how large, as `settings.target_name` writes it.
        in_place: whether the result takes the original's place; otherwise it lies beside it.
        state: one of `STATES`.
        reason: why it is in that state, in words.
        attempts: tries that failed and counted.
        begun: whether work at it has begun and not ended.
        deaths: how often the daemon died amid that work.
        not_before: when it may be tried again, Unix time.
        size, mtime_ns: of the original.
        model: asked for, then the one that was used.
        workplace: the folder of its temporary files while it is claimed.
        destination: where the result is.
        result_sha256, result_size: of the result; known before it takes its place.
        width, height, out_width, out_height: of the original and the result in pixels.
        kept: whether the original is in the store.
        seconds: how long it took.
        created, changed: Unix time.
    """

    id: int
    folder: Path
    path: Path
    source_sha256: str
    target: str
    in_place: bool
    state: str
    reason: str
    attempts: int
    not_before: float
    size: int
    mtime_ns: int
    model: str
    workplace: Path | None
    destination: Path | None
    result_sha256: str | None
    result_size: int | None
    width: int
    height: int
    out_width: int
    out_height: int
    kept: bool
    seconds: float
    created: float
    changed: float
    begun: bool
    deaths: int

    @property
    def is_suspect(self) -> bool:
        """Whether work at it has failed or ended the daemon before; it is then tried alone."""
        return self.attempts > 0 or self.deaths > 0


@dataclass(frozen=True)
class Glance:
    """What `stat` says of a file: if it is the same as before, so is the content."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Glance:
        """A file's; a symbolic link's own."""
        found = path.lstat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def under(self, path: Path) -> Glance | None:
        """The same file's as it is now, under the name that it was given; None if there is another one, or none."""
        try:
            now = Glance.of(path)
        except FileNotFoundError:
            return None
        same = (now.size, now.mtime_ns, now.inode) == (self.size, self.mtime_ns, self.inode)
        return now if same else None


@dataclass(frozen=True)
class Owner:
    """Who promises originals: a ledger's identity, which it keeps for ever, and its file."""

    identity: str
    ledger: Path


class Ledger:
    """One file, open in this process; its methods may be called from any thread.

    Args:
        path: the database; made if it is not there.

    Raises:
        OutputError: it cannot be opened, or a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._migrate()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"the ledger cannot be opened ({error})", path=path) from error

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Makes the changes inside one transaction."""
        with self._change():
            yield

    # Jobs

    def queue(self, rows: Iterable[dict[str, Any]]) -> int:
        """Queues jobs; a row that is there already for the same path, content and target is queued again.

        Args:
            rows: folder, path, source_sha256, target, in_place, size, mtime_ns, model, width, height.

        Returns:
            How many rows there were.
        """
        now, count = time.time(), 0
        with self._change() as db:
            for row in rows:
                count += 1
                db.execute(
                    "INSERT INTO jobs (folder, path, source_sha256, target, in_place, state, size, mtime_ns, model,"
                    " width, height, created, changed) VALUES (:folder, :path, :source_sha256, :target, :in_place,"
                    " 'queued', :size, :mtime_ns, :model, :width, :height, :now, :now)"
                    " ON CONFLICT (path, source_sha256, target) DO UPDATE SET state = 'queued', reason = '',"
                    " attempts = 0, deaths = 0, not_before = 0, folder = :folder, in_place = :in_place, size = :size,"
                    " mtime_ns = :mtime_ns, model = :model, changed = :now"
                    " WHERE state != 'claimed'",
                    {**_stored(row), "now": now},
                )
        return count

    def note(self, row: dict[str, Any], state: str, reason: str) -> None:
        """Writes down a job that is over before it began: skipped or failed, and why."""
        with self._change() as db:
            db.execute(
                "INSERT INTO jobs (folder, path, source_sha256, target, in_place, state, reason, size, mtime_ns, model,"
                " width, height, created, changed) VALUES (:folder, :path, :source_sha256, :target, :in_place, :state,"
                " :reason, :size, :mtime_ns, :model, :width, :height, :now, :now)"
                " ON CONFLICT (path, source_sha256, target) DO UPDATE SET state = :state, reason = :reason,"
                " changed = :now WHERE state != 'claimed'",
                {**_stored(row), "state": state, "reason": reason, "now": time.time()},
            )

    def claim(self, folders: Iterable[Path] | None = None, *, alone: bool = True) -> list[Job]:
        """Claims all due jobs of one picture, the one that takes its place last; empty if nothing is due.

        Args:
            folders: only jobs of these; None for all.
            alone: whether nothing else is at work. Only then is a suspect claimed, after all others, so that none of
                them is taken for what killed the engine or the daemon.
        """
        now = time.time()
        due = "state = 'queued' AND (not_before <= ? OR not_before > ?)"
        values: list[Any] = [now, now + LONGEST_WAIT]
        if folders is not None:
            names = [_raw(one) for one in folders]
            due += f" AND folder IN ({', '.join('?' * len(names))})"
            values += names
        ranks = ["attempts = 0 AND deaths = 0"] + ["(attempts > 0 OR deaths > 0)"] * alone
        with self._change() as db:
            query = f"SELECT path, source_sha256 FROM jobs WHERE {due} AND {{}} ORDER BY id LIMIT 1"
            found = (db.execute(query.format(rank), values).fetchone() for rank in ranks)
            first = next((row for row in found if row is not None), None)
            if first is None:
                return []
            key = (first["path"], first["source_sha256"])
            db.execute(
                "UPDATE jobs SET state = 'claimed', changed = ?"
                " WHERE path = ? AND source_sha256 = ? AND state = 'queued'",
                (now, *key),
            )
            rows = db.execute(
                "SELECT * FROM jobs WHERE path = ? AND source_sha256 = ? AND state = 'claimed' ORDER BY in_place, id",
                key,
            ).fetchall()
        return [_job(row) for row in rows]

    def begin(self, jobs: list[Job], workplace: Path) -> None:
        """Writes down where claimed jobs' temporary files will lie, before there are any."""
        with self._change() as db:
            db.executemany(
                "UPDATE jobs SET workplace = ?, result_sha256 = NULL, begun = 1 WHERE id = ?",
                [(_raw(workplace), job.id) for job in jobs],
            )

    def set_workplace(self, job: Job, workplace: Path) -> None:
        """Writes down where an ended job's temporary files will lie."""
        with self._change() as db:
            db.execute("UPDATE jobs SET workplace = ? WHERE id = ?", (_raw(workplace), job.id))

    def promise(
        self,
        job: Job,
        *,
        result_sha256: str,
        result_size: int,
        destination: Path,
        model: str,
        out: tuple[int, int],
        kept: bool,
    ) -> None:
        """Writes down a verified result before it takes its place."""
        with self._change() as db:
            db.execute(
                "UPDATE jobs SET result_sha256 = ?, result_size = ?, destination = ?, model = ?, out_width = ?,"
                " out_height = ?, kept = ?, changed = ? WHERE id = ?",
                (result_sha256, result_size, _raw(destination), model, *out, kept, time.time(), job.id),
            )
            db.execute("INSERT OR IGNORE INTO results (sha256, job) VALUES (?, ?)", (result_sha256, job.id))

    def finish(
        self, job: Job, state: str, reason: str = "", *, seconds: float = 0, glance: Glance | None = None
    ) -> None:
        """Ends a job; with `glance`, of the result in its place, the next scan need not read it."""
        with self._change() as db:
            db.execute(
                "UPDATE jobs SET state = ?, reason = ?, seconds = ?, not_before = 0, begun = 0, changed = ?"
                " WHERE id = ?",
                (state, reason, seconds, time.time(), job.id),
            )
            if glance is not None:
                sha256 = db.execute("SELECT result_sha256 FROM jobs WHERE id = ?", (job.id,)).fetchone()[0]
                self._see(db, job.path, glance, sha256, "")

    def wait(self, job: Job, reason: str, seconds: float, *, counts: bool) -> None:
        """Puts a claimed job back into the queue, not to be tried before `seconds` have passed."""
        now = time.time()
        with self._change() as db:
            db.execute(
                "UPDATE jobs SET state = 'queued', reason = ?, not_before = ?, attempts = attempts + ?, begun = 0,"
                " changed = ? WHERE id = ?",
                (reason, now + min(seconds, LONGEST_WAIT), int(counts), now, job.id),
            )

    def count_deaths(self) -> None:
        """Counts a death for all that was at work when the last daemon ended without a word; none may be at work."""
        with self._change() as db:
            db.execute("UPDATE jobs SET deaths = deaths + 1, begun = 0 WHERE state = 'claimed' AND begun")

    def absolve(self, jobs: Iterable[int]) -> None:
        """That the daemon ends now is no doing of these jobs, by their ids, which are still at work."""
        with self._change() as db:
            db.executemany("UPDATE jobs SET begun = 0 WHERE id = ?", [(job,) for job in jobs])

    def supersede(self, path: Path, sha256: str) -> None:
        """Ends what waited or had failed for an older content of a path: there is something else there now.

        That a result has taken an original's place ends nothing of that original's: other sizes of it may be missing.
        """
        with self._change() as db:
            db.execute(
                "UPDATE jobs SET state = 'skipped', reason = 'the file has changed since', changed = ?"
                " WHERE path = ? AND source_sha256 != ? AND state IN ('queued', 'failed') AND source_sha256 NOT IN"
                " (SELECT source_sha256 FROM results JOIN jobs ON jobs.id = results.job WHERE results.sha256 = ?)",
                (time.time(), _raw(path), sha256, sha256),
            )

    def came_through(self, path: Path, sha256: str) -> None:
        """Ends as done what was given up, since its result lies in its place after all: the folder had been away."""
        with self._change() as db:
            db.execute(
                "UPDATE jobs SET state = 'done', reason = 'finished after an interruption', changed = ?"
                " WHERE path = ? AND destination = path AND in_place AND result_sha256 = ?"
                " AND state IN ('failed', 'skipped')",
                (time.time(), _raw(path), sha256),
            )

    def retry(self, jobs: Iterable[Job]) -> int:
        """Queues failed, skipped and undone jobs again; returns how many."""
        with self._change() as db:
            return sum(
                db.execute(
                    "UPDATE jobs SET state = 'queued', reason = '', attempts = 0, deaths = 0, not_before = 0,"
                    " changed = ? WHERE id = ? AND state IN ('failed', 'skipped', 'undone', 'queued')",
                    (time.time(), job.id),
                ).rowcount
                for job in jobs
            )

    def withdraw(self, jobs: Iterable[Job], reason: str) -> None:
        """Takes queued jobs out of the queue; their files are looked at again."""
        with self._change() as db:
            for job in jobs:
                found = db.execute(
                    "UPDATE jobs SET state = 'skipped', reason = ?, changed = ? WHERE id = ? AND state = 'queued'",
                    (reason, time.time(), job.id),
                )
                if found.rowcount:
                    db.execute("DELETE FROM seen WHERE path = ?", (_raw(job.path),))

    def jobs(self, *, path: Path | None = None, sha256: str | None = None, state: str | None = None) -> list[Job]:
        """Jobs of a path, of an original's content, in a state, or all that is asked together; oldest first."""
        where, values = ["1"], []
        for column, value in (("path", path and _raw(path)), ("source_sha256", sha256), ("state", state)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        return self._jobs(f"SELECT * FROM jobs WHERE {' AND '.join(where)} ORDER BY id", values)

    def below(self, folder: Path) -> list[Job]:
        """Jobs of all files in a folder and its subfolders."""
        prefix = _raw(folder).rstrip(b"/") + b"/"
        return self._jobs(
            "SELECT * FROM jobs WHERE path >= ? AND path < ? ORDER BY id",
            (prefix, prefix[:-1] + bytes([prefix[-1] + 1])),
        )

    def results(self, sha256: str) -> list[Job]:
        """Jobs whose result has, or once had, this content."""
        query = (
            "SELECT jobs.* FROM results JOIN jobs ON jobs.id = results.job WHERE results.sha256 = ? ORDER BY jobs.id"
        )
        return self._jobs(query, (sha256,))

    def maker(self, path: Path, sha256: str) -> Job | None:
        """The job that put a result of this content at this path."""
        # `results` knows the first job alone that made such content, and finds it without reading all rows.
        first = [job for job in self.results(sha256) if job.destination == path]
        query = "SELECT * FROM jobs WHERE result_sha256 = ? AND destination = ? ORDER BY id"
        return next(iter(first or self._jobs(query, (sha256, _raw(path)))), None)

    def with_workplaces(self) -> list[Job]:
        """Jobs that are not claimed and may have left temporary files behind."""
        return self._jobs("SELECT * FROM jobs WHERE workplace IS NOT NULL AND state != 'claimed' ORDER BY id")

    def no_workplace(self, jobs: Iterable[Job]) -> None:
        """Remembers that jobs have left nothing behind."""
        with self._change() as db:
            db.executemany(
                "UPDATE jobs SET workplace = NULL WHERE id = ? AND state != 'claimed'", [(job.id,) for job in jobs]
            )

    def recent(self, state: str, count: int) -> list[Job]:
        """The latest jobs in a state, newest first."""
        return self._jobs("SELECT * FROM jobs WHERE state = ? ORDER BY changed DESC LIMIT ?", (state, count))

    def recent_files(self, state: str, count: int) -> list[list[Job]]:
        """The jobs in a state of the files that came into it latest: a list for each file, newest first."""
        query = (
            "SELECT * FROM jobs WHERE state = ? AND path IN"
            " (SELECT path FROM jobs WHERE state = ? GROUP BY path ORDER BY max(changed) DESC LIMIT ?)"
            " ORDER BY changed DESC, id"
        )
        return by_file(self._jobs(query, (state, state, count)))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        found = {row[0]: int(row[1]) for row in self._rows("SELECT state, count(*) FROM jobs GROUP BY state")}
        return {state: found.get(state, 0) for state in STATES}

    def waiting_megapixels(self) -> float:
        """Input megapixels of all queued and claimed jobs."""
        query = "SELECT coalesce(sum(1.0 * width * height), 0) FROM jobs WHERE state IN ('queued', 'claimed')"
        return float(self._rows(query)[0][0]) / 1e6

    def next_due(self) -> float | None:
        """When the next queued job may be tried, Unix time; None if none is queued."""
        due = self._rows("SELECT min(not_before) FROM jobs WHERE state = 'queued'")[0][0]
        return None if due is None else float(due)

    def rate(self) -> float | None:
        """Input megapixels per second of the last hundred jobs, time without any left out; None if there were none."""
        jobs = [job for job in self.recent("done", 100) if job.seconds]
        spans = sorted((job.changed - job.seconds, job.changed) for job in jobs)
        busy, end = 0.0, 0.0
        for start, stop in spans:
            busy += max(0.0, stop - max(start, end))
            end = max(end, stop)
        pixels = sum(job.width * job.height for job in jobs)
        return pixels / 1e6 / busy if busy > 0 and pixels else None

    # Files that were looked at

    def seen(self, path: Path, glance: Glance, rules: str) -> bool:
        """Whether this file was looked at as it is now, under the same rules."""
        rows = self._rows("SELECT * FROM seen WHERE path = ?", (_raw(path),))
        return bool(rows) and _glance(rows[0]) == glance and rows[0]["rules"] in {"", rules}

    def see(self, path: Path, glance: Glance, sha256: str, rules: str) -> None:
        """Remembers that a file was looked at. `rules` is empty where no settings could change what came of it."""
        with self._change() as db:
            self._see(db, path, glance, sha256, rules)

    def overlook(self, path: Path) -> None:
        """Forgets that a file was looked at."""
        with self._change() as db:
            db.execute("DELETE FROM seen WHERE path = ?", (_raw(path),))

    def died_of(self, path: Path, glance: Glance) -> int:
        """Counts a death at the look at a file as it is now; returns how many there were."""
        with self._change() as db:
            row = db.execute("SELECT * FROM looks WHERE path = ?", (_raw(path),)).fetchone()
            mtime = to_sqlite(glance.mtime_ns)
            same = row is not None and (row["size"], row["mtime_ns"]) == (glance.size, mtime)
            deaths = 1 + (row["deaths"] if same else 0)
            values = (_raw(path), glance.size, mtime, deaths)
            db.execute("INSERT OR REPLACE INTO looks (path, size, mtime_ns, deaths) VALUES (?, ?, ?, ?)", values)
            return deaths

    # Watched folders

    def folder(self, path: Path) -> tuple[str | None, bool]:
        """The marker of a watched folder, and whether its first run was agreed to."""
        rows = self._rows("SELECT marker, agreed FROM folders WHERE path = ?", (_raw(path),))
        return (rows[0]["marker"], bool(rows[0]["agreed"])) if rows else (None, False)

    def set_folder(self, path: Path, *, marker: str | None = None, agreed: bool | None = None) -> None:
        """Remembers a folder's marker, or that its first run was agreed to."""
        with self._change() as db:
            db.execute("INSERT OR IGNORE INTO folders (path) VALUES (?)", (_raw(path),))
            if marker is not None:
                db.execute("UPDATE folders SET marker = ? WHERE path = ?", (marker, _raw(path)))
            if agreed is not None:
                db.execute("UPDATE folders SET agreed = ? WHERE path = ?", (agreed, _raw(path)))

    def folders(self) -> list[Path]:
        """Every folder that was watched, under the name by which it was named."""
        rows = self._rows("SELECT path FROM folders UNION SELECT folder FROM jobs")
        return [Path(os.fsdecode(row[0])) for row in rows]

    # Originals in the store

    def owner(self) -> Owner:
        """Who promises these originals: this ledger, wherever its file is moved to."""
        return Owner(str(self._rows("SELECT id FROM identity")[0]["id"]), self.path)

    def keep(self, sha256: str, size: int, until: float) -> None:
        """Remembers that an original is in the store until a time (infinite: for ever); never shortens a promise."""
        with self._change() as db:
            db.execute(
                "INSERT INTO originals (sha256, size, stored, until) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (sha256) DO UPDATE SET until = max(until, excluded.until),"
                " stored = CASE WHEN gone THEN excluded.stored ELSE stored END, gone = 0",
                (sha256, size, time.time(), until),
            )

    def originals(self) -> list[sqlite3.Row]:
        """Rows of sha256, size, stored and until, of the originals in the store."""
        return self._rows("SELECT * FROM originals WHERE NOT gone ORDER BY stored")

    def store_size(self) -> tuple[int, int]:
        """How many originals are in the store, and their bytes."""
        row = self._rows("SELECT count(*), coalesce(sum(size), 0) FROM originals WHERE NOT gone")[0]
        return int(row[0]), int(row[1])

    def let_go(self, original: sqlite3.Row) -> bool:
        """Remembers that an original leaves the store; False if it is needed, or promised anew since `originals`."""
        with self._change() as db:
            found = db.execute(
                "UPDATE originals SET gone = 1 WHERE sha256 = :sha256 AND until = :until AND NOT gone AND NOT EXISTS"
                " (SELECT 1 FROM jobs WHERE source_sha256 = :sha256 AND state IN ('queued', 'claimed'))",
                {"sha256": original["sha256"], "until": original["until"]},
            )
            return found.rowcount > 0

    # Inside

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction; what fails inside leaves no trace."""
        with self._lock:
            nested = self._db.in_transaction  # inside `together`
            if nested:
                yield self._db
                return
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise OutputError(f"the ledger cannot be written ({error})", path=self.path) from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _rows(self, query: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._db.execute(query, tuple(values)).fetchall()
            except sqlite3.Error as error:
                raise OutputError(f"the ledger cannot be read ({error})", path=self.path) from error

    def _jobs(self, query: str, values: Iterable[Any] = ()) -> list[Job]:
        return [_job(row) for row in self._rows(query, values)]

    @staticmethod
    def _see(db: sqlite3.Connection, path: Path, glance: Glance, sha256: str, rules: str) -> None:
        times = to_sqlite(glance.mtime_ns), to_sqlite(glance.ctime_ns)
        db.execute(
            "INSERT OR REPLACE INTO seen (path, size, mtime_ns, ctime_ns, inode, sha256, rules)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (_raw(path), glance.size, *times, _signed(glance.inode), sha256, rules),
        )

    def _migrate(self) -> None:
        """Brings the file up to this version, one transaction a step."""
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise LiifError(
                f"the ledger was written by a newer version ({version}; this one knows {len(MIGRATIONS)})",
                path=self.path,
                remedy="Install the newer version again.",
            )
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            with self._change() as db:
                # Somebody else may have been first.
                if db.execute("PRAGMA user_version").fetchone()[0] < number:
                    for statement in script.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {number}")


def by_file(jobs: Iterable[Job]) -> list[list[Job]]:
    """Jobs as a list for each file, in the order of its first."""
    groups: dict[Path, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.path, []).append(job)
    return list(groups.values())


def reasons(jobs: list[Job]) -> str:
    """Why one file's jobs are in their state; names sizes where not all are meant."""
    targets: dict[str, list[str]] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        targets.setdefault(job.reason, []).append(job.target)
    if len(targets) == 1 and any(job.in_place for job in jobs):
        return jobs[0].reason
    return "; ".join(f"at {' and '.join(names)}: {reason}" for reason, names in targets.items())


def _raw(path: Path) -> bytes:
    """A path as the system has it: names need not be UTF-8."""
    return os.fsencode(path)


def _path(raw: bytes | None) -> Path | None:
    return None if raw is None else Path(os.fsdecode(raw))


def _stored(row: dict[str, Any]) -> dict[str, Any]:
    """A new job's row as SQLite takes it."""
    return {**row, **{key: _raw(row[key]) for key in ("folder", "path")}, "mtime_ns": to_sqlite(row["mtime_ns"])}


def _signed(number: int) -> int:
    """SQLite's integers have a sign; some file systems' inode numbers use all 64 bits."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _glance(row: sqlite3.Row) -> Glance:
    inode = row["inode"]
    times = from_sqlite(row["mtime_ns"]), from_sqlite(row["ctime_ns"])
    return Glance(row["size"], *times, inode + (1 << 64) if inode < 0 else inode)


def _job(row: sqlite3.Row) -> Job:
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - a Row iterates over its values
    for key in ("folder", "path", "workplace", "destination"):
        values[key] = _path(values[key])
    values["mtime_ns"] = from_sqlite(values["mtime_ns"])
    return Job(**{**values, **{key: bool(values[key]) for key in ("in_place", "kept", "begun")}})
