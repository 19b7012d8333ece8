"""What the work at pictures needs, handed from hand to hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from liif_daemon.engine import Engine
from liif_daemon.figures import Tally
from liif_daemon.ledger import Ledger
from liif_daemon.settings import Settings
from liif_daemon.store import Store


@dataclass(frozen=True)
class Bench:
    """What the work needs.

    Attributes:
        on_no_engine: told why none can be started; by then the job waits.
        told: jobs, by their ids, of which this run has said why they wait.
    """

    settings: Settings
    ledger: Ledger
    store: Store
    engine: Engine
    tally: Tally = field(default_factory=Tally)
    on_no_engine: Callable[[str], None] = lambda _: None
    told: set[int] = field(default_factory=set)
