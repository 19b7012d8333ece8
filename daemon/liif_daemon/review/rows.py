"""The ledger's rows in words, as the templates show them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from liif_daemon.ledger import Job
from liif_daemon.ledger.review import ReviewLedger
from liif_daemon.review.pictures import Pictures
from liif_engine.errors import printable
from liif_engine.picture.damage import Damage
from liif_engine.picture.quantisation import FileQuality

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Row:
    """One row of a list, or the head of one picture's page.

    Attributes:
        id: of the job.
        version: changes with the pictures, for the browser's cache.
        name, folder: of the file, printable.
        size: ``640 x 480 to 1280 x 960``.
        damage: what the original says of its compression; empty if nothing.
        model: its name.
        when: local time of the last change, to the minute.
        state, reason: of the job, and why.
        reviewed: whether a person keeps the result.
        kept: whether its original is in the store.
        in_place: whether `undo` concerns it.
    """

    id: int
    version: str
    name: str
    folder: str
    size: str
    damage: str
    model: str
    when: str
    state: str
    reason: str
    reviewed: bool
    kept: bool
    in_place: bool


def row(job: Job, ledger: ReviewLedger, pictures: Pictures) -> Row:
    """A job in words."""
    path = job.path if job.in_place else job.destination or job.path
    original = ledger.originals.until(job.source_sha256) is not None
    return Row(
        id=job.id,
        version=(job.result_sha256 or job.source_sha256)[:12] + job.state[0],
        name=printable(path.name),
        folder=printable(path.parent),
        size=size(job),
        damage=file_quality(pictures.file_quality(job)) if original else "",
        model=model(job.model),
        when=when(job.changed),
        state=job.state,
        reason=printable(job.reason),
        reviewed=job.state == "done" and ledger.is_reviewed(job),
        kept=original,
        in_place=job.in_place,
    )


def size(job: Job) -> str:
    """From which to which size; empty if neither is known."""
    if not job.width:
        return ""
    before = f"{job.width} {TIMES} {job.height}"
    return f"{before} → {job.out_width} {TIMES} {job.out_height}" if job.out_width else before


def model(name: str) -> str:
    """A model's name; of a checkpoint its file's."""
    return printable(Path(name).stem if "/" in name or "\\" in name else name)


def when(time: float) -> str:
    """A point in time, local, to the minute."""
    return datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M")


def kept_until(until: float | None) -> str:
    """How long an original is kept."""
    if until is None:
        return "no longer kept"
    return "kept for ever" if math.isinf(until) else f"kept until {when(until)}"


def file_quality(found: FileQuality | None) -> str:
    """``JPEG quality 40, 4:2:0``."""
    if found is None:
        return ""
    codec = {"jpeg": "JPEG", "webp": "WebP"}.get(found.codec, found.codec)
    chroma = "" if found.codec == "webp" or found.subsampling == "gray" else f", {found.subsampling}"
    return f"{codec} quality {'' if found.exact else '≈ '}{found.quality}{chroma}"


def damage(found: Damage) -> str:
    """All that is known of a picture's compression, in a sentence."""
    said = [file_quality(found.file)] if found.file else []
    if found.halved_chroma is not None:
        said.append(f"lossy {found.halved_chroma}: colours have less detail than luma")
    if found.colours is not None:
        said.append(f"reduced to {found.colours} colours")
    if found.grid_phase is not None:
        y, x = found.grid_phase
        where = "" if (y, x) == (0, 0) else f" (cropped since: the first whole block is at {x}, {y})"
        said.append(f"8 {TIMES} 8 blocks stand out, strength {found.grid_strength:.2f}{where}")
    if found.pixel_quality is not None:
        said.append(f"the pixels speak of JPEG quality ≈ {found.pixel_quality}")
    return "; ".join(said) or "no trace of lossy compression was found"
