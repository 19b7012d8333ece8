"""Which workers: what ``--workers N | auto | ray[:ADDRESS]`` means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from liif_engine.errors import UsageError

WORDS = "N, auto, ray or ray:HOST:PORT"


@dataclass(frozen=True)
class Crew:
    """How many workers, and where.

    Attributes:
        place: ``here`` (in this process), ``processes`` (of this machine) or ``ray``.
        count: of processes; None for one per GPU, or one on the CPU.
        address: of a Ray cluster, ``host:port``; ``auto`` for the one that this machine belongs to; None to join that
            one if there is one, and else to start one of this machine alone.
    """

    place: str
    count: int | None = None
    address: str | None = None


def parse(text: str | int) -> Crew:
    """The workers that an option or a setting names.

    Raises:
        UsageError: it names none.
    """
    text = str(text).strip()
    if text == "auto":
        return Crew("processes")
    if re.fullmatch(r"[1-9]\d{0,3}", text):
        return Crew("processes", int(text))
    if text == "ray":
        return Crew("ray")
    address = text.removeprefix("ray:")
    if address != text and re.fullmatch(r"auto|(ray://)?\S+:\d{1,5}", address):
        return Crew("ray", address=address)
    raise UsageError(f"workers are {WORDS}, not {text!r}", remedy="Try --workers auto.")
