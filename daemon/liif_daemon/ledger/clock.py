"""The ledger's own clock, by which promises are kept: it counts what time has passed, whatever clocks are set to.

While the machine is up, the seconds since its start are counted, also those in which it slept. What passed while it was
off only the wall clock tells, which may have been wrong before or be wrong now: of that a day at most is counted, so
that a promise may end later than the calendar says, and never much earlier.
"""

from __future__ import annotations

import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

from liif_daemon.ledger.database import Database

#: Of the time that the machine was off, or that another system counted, at most so much is believed. [s]
LONGEST_OFF = 86400

#: Linux's name for this start of the machine.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: Stands for it where the system has none.
_PROCESS = uuid.uuid4().hex


class Clock:
    """Counts seconds, from the Unix time at which the ledger was first asked for it.

    Args:
        file: the ledger's.
    """

    def __init__(self, file: Database) -> None:
        self._file = file

    def now(self) -> float:
        """Reads the clock and remembers how far it has come. It never goes back."""
        with self._file.change() as db:
            now, (boot, up) = self.read(), _since_boot()
            db.execute("DELETE FROM clock")
            db.execute("INSERT INTO clock (counted, wall, boot, up) VALUES (?, ?, ?, ?)", (now, time.time(), boot, up))
        return now

    def read(self) -> float:
        """Reads the clock and writes nothing."""
        wall, (boot, up) = time.time(), _since_boot()
        last = next(iter(self._file.rows("SELECT * FROM clock")), None)
        if last is None:
            return wall
        passed: float = up - last["up"] if boot == last["boot"] else min(wall - last["wall"], LONGEST_OFF)
        return float(last["counted"]) + max(0.0, passed)


def _since_boot() -> tuple[str, float]:
    """Which start of the machine this is, and the seconds since; or which process this is, and its monotonic clock."""
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            return BOOT_ID.read_text("ascii").strip(), time.clock_gettime(time.CLOCK_BOOTTIME)
    return _PROCESS, time.monotonic()
