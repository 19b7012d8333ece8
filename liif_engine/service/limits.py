"""What the queue takes, and how long it keeps it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the queue takes.

    Attributes:
        max_jobs: waiting at once, of each priority.
        max_held_bytes: of pictures and results held for all jobs together.
        max_seconds: of work on one job that does not say itself how long that may take.
        follow_seconds: a job that nobody has followed for so long is cancelled, unless detached.
        keep_seconds: how long an ended job and its result are kept.
        max_ended: ended jobs beyond this many are forgotten, the oldest first.
    """

    max_jobs: int = 1000
    max_held_bytes: int = 4 << 30
    max_seconds: float = 4 * 3600
    follow_seconds: float = 30
    keep_seconds: float = 300
    max_ended: int = 1000
