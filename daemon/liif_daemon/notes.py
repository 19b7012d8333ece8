"""What results in formats without a place for a marker cannot say: it lies in the store, under a result's SHA-256.

By it they are known where the ledger was lost. It stays when the original is let go: a result remains one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from liif_daemon.store import Store, write_durably
from liif_engine.picture.image_file import Marker


def write(store: Store, sha256: str, size: int, marker: Marker) -> None:
    """Makes a note durable.

    Args:
        store: that has the original already.
        sha256, size: of the result.
        marker: that the result could not carry.

    Raises:
        StoreAway: as `Store.check`.
        OSError: the system refuses.
    """
    store.check()
    text = json.dumps({"size": size, "marker": asdict(marker)})
    write_durably(_folder(store.folder) / sha256, text.encode("ascii"))


def read(originals: Path, sha256: str) -> Marker | None:
    """The marker of a result by its SHA-256; None if there is no note, or no whole one.

    Args:
        originals: the store's folder.
        sha256: of a file.
    """
    found = _read(_folder(originals) / sha256)
    return found[1] if found else None


def sizes(originals: Path) -> set[int]:
    """How large the results are, as files, of which there are notes; by it few files need be read to find those."""
    with suppress(OSError):
        return {found[0] for path in _folder(originals).iterdir() if (found := _read(path))}
    return set()


def _folder(originals: Path) -> Path:
    return originals / "results"


def _read(path: Path) -> tuple[int, Marker] | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(path.read_bytes())
        return int(said["size"]), Marker(**said["marker"])
    return None
