"""The only truth about jobs, originals and folders: one SQLite file, all SQL in this folder, no job is ever deleted.

`Ledger` is the whole of it: what happens to jobs is its own, the rest are its parts.
"""

from liif_daemon.ledger.ledger import LONGEST_WAIT, Ledger
from liif_daemon.ledger.rows import STATES, Glance, Job, Owner, by_file, reasons

__all__ = ["LONGEST_WAIT", "STATES", "Glance", "Job", "Ledger", "Owner", "by_file", "reasons"]
