"""Folders among pictures that belong to other programs: thumbnails, old versions, bins."""

from __future__ import annotations

#: Their names; of NAS systems, Syncthing and Windows. Those that begin with a dot are hidden as well.
PROGRAMS_OWN = frozenset(
    {"@eaDir", ".stversions", "#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
