"""What the daemon does and did, for people and programs: from the ledger and from the daemon's own small file."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from liif_daemon import progress
from liif_daemon.ledger import Job, Ledger, reasons
from liif_daemon.settings import Settings
from liif_engine.errors import printable
from liif_engine.words import counted, rate

#: Rows of last results and of failures.
ROWS = 8

#: The ledger's states, where people know them by other words.
WORDS = {"claimed": "at work", "skipped": "left alone"}


def gather(settings: Settings, ledger: Ledger) -> dict[str, Any]:
    """The state of things as plain values; docs/daemon.md says what each key means."""
    running = progress.read(settings)
    overview = ledger.overview
    pace, waits = overview.rate(), overview.waiting(progress.watched(settings, running))
    count, size = ledger.originals.total()
    return {
        "running": running is not None,
        "pid": running["pid"] if running else None,
        "jobs": overview.counts(),
        "working": running.get("working", []) if running else [],
        "folders": running.get("folders", []) if running else [{"path": str(f.path)} for f in settings.folders],
        "scanning": running.get("scanning", []) if running else [],
        "settling": running.get("settling", 0) if running else 0,
        "config_error": running.get("config_error") if running else None,
        "error": running.get("error") or running.get("store") if running else None,
        "waiting_megapixels": round(waits.megapixels, 6),
        "waiting_elsewhere": [{"path": str(path), "jobs": count} for path, count in waits.elsewhere.items()],
        "megapixels_per_second": None if pace is None else round(pace, 4),
        "seconds_left": None if not pace else round(waits.megapixels / pace, 1),
        "originals": {"count": count, "bytes": size},
        "last_results": [_row(job) for job in overview.recent("done", ROWS)],
        "failed_files": overview.files("failed"),
        "failures": [_file_row(jobs) for jobs in overview.recent_files("failed", ROWS)],
        "waiting": [_file_row(jobs) for jobs in overview.recent_files("queued", ROWS)],
    }


def render(found: dict[str, Any]) -> RenderableType:
    """The same as a picture for a terminal."""
    parts: list[RenderableType] = [_head(found)]
    parts += [Text(text, style="red") for text in (found["config_error"], found["error"]) if text]
    for folder in found["folders"]:
        how = f"{folder['how']}{': ' + folder['why'] if folder.get('why') else ''}" if "how" in folder else ""
        style = "yellow" if folder.get("how") in {"away", "silent"} else ""
        parts.append(Text(f"  {printable(folder['path'])}  {how}", style=style))
    if found["working"]:
        parts.append(_working(found["working"]))
    parts.append(_figures(found))
    tables: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
        ("failures", "Failed", lambda row: row["reason"]),
        ("waiting", "Waiting", lambda row: row["reason"]),
        ("last_results", "Last results", _made),
    )
    for key, title, say in tables:
        if found[key]:
            parts += [Text(f"\n{title}{_rest(key, found)}", style="bold"), _rows(found[key], say)]
    return Group(*parts)


def as_bytes(count: float) -> str:
    """A size for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def as_time(seconds: float) -> str:
    """A duration for people; what takes any time at all takes a second."""
    return str(timedelta(seconds=max(round(seconds), int(seconds > 0))))


def _head(found: dict[str, Any]) -> Text:
    if not found["running"]:
        run = "`liif-daemon run`" if found["folders"] else "`liif-daemon run FOLDER`"
        return Text(f"The daemon is not running; {run} starts it.", style="yellow")
    busy = f", looking at {counted(len(found['scanning']), 'folder')}" if found["scanning"] else ""
    return Text(f"The daemon runs (process {found['pid']}{busy}).", style="green")


def _figures(found: dict[str, Any]) -> Text:
    words = WORDS if found["running"] else WORDS | {"claimed": "interrupted"}
    jobs = ", ".join(f"{count:,} {words.get(state, state)}" for state, count in found["jobs"].items())
    line = f"\n{jobs}"
    elsewhere = found["waiting_elsewhere"]
    for row in elsewhere:
        line += f"\n{row['jobs']:,} of these wait in {printable(row['path'])}, which is not watched now"
    if found["jobs"]["queued"] and (found["waiting_megapixels"] or not elsewhere):
        line += f"\n{rate(found['waiting_megapixels'])} megapixels wait"
        if found["seconds_left"] is not None:
            pace = found["megapixels_per_second"]
            line += f"; at {rate(pace)} megapixels/s that takes {as_time(found['seconds_left'])}"
    kept = found["originals"]
    verb = "is" if kept["count"] == 1 else "are"
    line += f"\n{counted(kept['count'], 'original')} {verb} kept, {as_bytes(kept['bytes'])}"
    if lost := found.get("unknown_originals"):
        line += f"; {lost:,} more in the store {'is' if lost == 1 else 'are'} not in the ledger, as after one was lost:"
        line += " `liif-daemon undo --force FOLDER` finds them by the results' metadata"
    return Text(line)


def _working(rows: list[dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="fold")  # as below, paths are shown whole
    for row in rows:
        bar = ProgressBar(total=1, completed=row["share"], width=30)
        since = as_time(max(0, time.time() - row["since"]))
        table.add_row(Text(printable(row["path"])), row["target"], bar, f"{row['share']:.0%}", since)
    return table


def _rest(key: str, found: dict[str, Any]) -> str:
    """Of failures, that there are more than are shown, and where those are."""
    many = key == "failures" and len(found[key]) < found["failed_files"]
    return f" (the latest {ROWS}; `liif-daemon review` shows all)" if many else ""


def _rows(rows: list[dict[str, Any]], say: Callable[[dict[str, Any]], str]) -> Text:
    """A line each; paths are shown whole, however narrow the terminal."""
    lines = ((row["when"][:16].replace("T", " "), printable(row["path"]), say(row)) for row in rows)
    return Text("\n".join("  ".join(line) for line in lines))


def _made(row: dict[str, Any]) -> str:
    took = "" if row["seconds"] is None else f", {row['seconds']:.1f} s"
    return f"{row['size']} by {row['model']}{took}"


def _row(job: Job) -> dict[str, Any]:
    return {
        "path": str(job.path if job.in_place else job.destination or job.path),
        "target": job.target,
        "when": datetime.fromtimestamp(job.changed).astimezone().isoformat(timespec="seconds"),
        "reason": job.reason,
        "attempts": job.attempts + job.deaths,
        "size": _size(job),
        "model": job.model,
        "seconds": round(job.seconds, 3) if job.state == "done" and job.seconds else None,
    }


def _size(job: Job) -> str | None:
    """As ``20x16 -> 40x32``, or what of it is known: a file that is no picture has none, and a failure no result."""
    sizes = [(job.width, job.height)]
    if job.state == "done":  # else it is of an earlier result
        sizes.append((job.out_width, job.out_height))
    return " -> ".join(f"{width}x{height}" for width, height in sizes if width) or None


def _file_row(jobs: list[Job]) -> dict[str, Any]:
    """One file, whatever the number of its sizes, by its own name: there is no result."""
    targets = " and ".join(job.target for job in sorted(jobs, key=lambda job: job.id))
    return {**_row(jobs[0]), "path": str(jobs[0].path), "target": targets, "reason": reasons(jobs)}
