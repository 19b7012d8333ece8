"""What is to be done about a file that has settled: the one rule against restoring anything twice lives here."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from liif_daemon import notes
from liif_daemon.ledger import Glance, Ledger
from liif_daemon.names import is_alike, spelled
from liif_daemon.settings import FolderSettings, Settings, target_name
from liif_daemon.store import hash_of
from liif_engine.errors import LiifError, TruncatedError
from liif_engine.model_names import names_a_file
from liif_engine.picture import image_file
from liif_engine.picture.atomic import refuse_read_only
from liif_engine.picture.image_file import Limits, Probe
from liif_engine.picture.results import is_marked


@dataclass(frozen=True)
class Verdict:
    """What a look at a file found.

    Attributes:
        kind: ``job`` (queue it), ``skipped`` or ``failed`` (write that down), ``ours``, ``undone`` or ``known``
            (nothing to do).
        reason: in words.
        in_its_place: whether it is a result that lies where the daemon put it, which is no news.
        cause: the kind of error, for the figures, where it failed.
        sha256: of the file.
        glance: what `stat` said before the content was read.
        width, height: in pixels, where a job was found.
    """

    kind: str
    reason: str
    sha256: str = ""
    glance: Glance | None = None
    width: int = 0
    height: int = 0
    in_its_place: bool = False
    cause: str = ""


def examine(path: Path, folder: FolderSettings, settings: Settings, ledger: Ledger) -> Verdict:
    """Looks at a file and decides; changes nothing.

    (1) Our own result, by the ledger, by the marker in its metadata or, where its format has no place for that, by a
    note among the originals: nothing to do. (2) Undone here: nothing, until `retry`. (3) Anything else is a job, even
    if its content is known elsewhere.

    Raises:
        OSError: the file cannot be read, or is gone.
    """
    glance = Glance.of(path)
    sha256 = hash_of(path)

    def verdict(kind: str, reason: str, probe: Probe | None = None) -> Verdict:
        size = (probe.width, probe.height) if probe else (0, 0)
        return Verdict(kind, reason, sha256, glance, *size)

    if ours := ledger.results(sha256):
        # Originals that are the same have the same result; the one that lies here is told of, not the first.
        maker = ledger.maker(path, sha256)
        of = (maker or ours[-1]).path
        found = verdict("ours", "it is our own result" if of == path else f"it is our own result, of {of}")
        return replace(found, in_its_place=maker is not None)
    if marker := _marker(path):
        return verdict("ours", f"its metadata says that it is a result of {marker.software}, by {marker.model}")
    rows = ledger.jobs(path=path, sha256=sha256)
    for row in rows:
        if row.state == "undone":
            return verdict("undone", "it was undone; `liif-daemon retry FILE` restores it again")
        if row.state in {"queued", "claimed"}:
            return verdict("known", "it waits for its turn" if row.state == "queued" else "its turn has come")
        if row.state == "failed":
            return verdict("known", f"it failed before: {row.reason}")
    if _undone_under_another_name(path, sha256, ledger):
        return verdict("undone", "it was undone, under another name of its folder")
    if place := _results_above(path, folder):
        return verdict("skipped", f"it lies in {place}, where `liif restore` put its results")
    if path.lstat().st_nlink > 1 and folder.hard_links == "skip":
        return verdict("skipped", "it has several names (hard links), and hard_links is skip")
    try:
        refuse_read_only(path, path.lstat().st_mode)
        probe = image_file.probe(path, limits=Limits(max_pixels=settings.engine.max_pixels))
        can_say = image_file.carries_marker(probe.format)
        noted = None if can_say else notes.read(settings.daemon.originals_folder, sha256)
        if noted:
            said = f"a note among the originals says that it is a result of {noted.software}, by {noted.model}"
            return verdict("ours", said)
        if reason := _unwanted(probe, folder) or _undamaged(path, folder):
            return verdict("skipped", reason, probe)
        for target in folder.targets:
            width, height = target.size_of_result(probe.width, probe.height)
            image_file.check_result(probe, format=probe.format, width=width, height=height)
    except LiifError as error:
        return replace(verdict("failed", _without_path(error)), cause=type(error).__name__)
    return verdict("job", "", probe)


def record(path: Path, folder: FolderSettings, settings: Settings, ledger: Ledger, found: Verdict) -> bool:
    """Writes a verdict down, in one transaction; returns whether there is something to do."""
    assert found.glance is not None  # `examine` gave it
    row = {
        "folder": folder.path,
        "path": path,
        "source_sha256": found.sha256,
        "size": found.glance.size,
        "mtime_ns": found.glance.mtime_ns,
        "model": folder.model or settings.engine.model,
        "width": found.width,
        "height": found.height,
    }
    rows: list[dict[str, Any]] = [
        {**row, "target": target_name(target), "in_place": number == 0} for number, target in enumerate(folder.targets)
    ]
    with ledger.together():
        ledger.supersede(path, found.sha256)
        if found.kind == "job":
            ledger.queue(rows)
        elif found.kind == "ours":
            ledger.came_through(path, found.sha256)
        elif found.kind in {"skipped", "failed"}:
            for one in rows:  # all sizes, so that `retry` queues them all
                ledger.note(one, found.kind, found.reason)
        # What the rules of the folder decided is looked at again when they change.
        ledger.looks.remember(path, found.glance, found.sha256, folder.rules if found.kind == "skipped" else "")
    return found.kind == "job"


def model_of(folder: FolderSettings | None, settings: Settings) -> str:
    """The model that pictures of a folder are to be restored with: a name, or the absolute path of a checkpoint."""
    model = (folder.model if folder else None) or settings.engine.model
    return str(Path(model).expanduser().absolute()) if names_a_file(model) else model


def _undone_under_another_name(path: Path, sha256: str, ledger: Ledger) -> bool:
    """Whether the very file was undone: symbolic links may lead to its folder, or other spellings to its name."""
    undone = [row.path for row in ledger.jobs(sha256=sha256, state="undone")]
    if not undone:
        return False
    real = os.path.realpath(path)
    # Not by inodes: under FUSE each spelling has its own.
    alike = [one for one in map(os.path.realpath, undone) if is_alike(one, real)]
    return real in alike or spelled(Path(real)) in map(spelled, map(Path, alike))


def _results_above(path: Path, folder: FolderSettings) -> Path | None:
    """The folder of results that a file lies in, below the one that is watched; not all formats carry a marker."""
    for place in path.parents:
        if place == folder.path:
            return None
        if is_marked(place):
            return place
    return None


def _marker(path: Path) -> image_file.Marker | None:
    try:
        return image_file.read_marker(path)
    except LiifError:
        return None  # the probe will say what is wrong


def _unwanted(probe: Probe, folder: FolderSettings) -> str | None:
    if min(probe.width, probe.height) < folder.min_side:
        return f"{probe.width}x{probe.height} is smaller than min_side, {folder.min_side} pixels"
    megapixels = probe.width * probe.height * probe.frames / 1e6
    if megapixels > folder.max_megapixels:
        return f"{megapixels:.1f} megapixels are more than max_megapixels, {folder.max_megapixels:g}"
    if any(target.is_below(probe.width, probe.height) for target in folder.targets):
        words = ", ".join(target_name(target) for target in folder.targets)
        return f"{probe.width}x{probe.height} is larger already than what is asked for ({words})"
    return None


def _undamaged(path: Path, folder: FolderSettings) -> str | None:
    if folder.only_below_quality is None:
        return None
    from liif_engine.picture import damage  # Pillow and numpy, which most folders never need here

    quality = damage.estimate_file(path).quality
    if quality is None:
        return "no damage of compression is visible in it, and only_below_quality is set"
    if quality >= folder.only_below_quality:
        return f"its quality, about {quality}, is not below only_below_quality, {folder.only_below_quality}"
    return None


def _without_path(error: LiifError) -> str:
    """The error in words; the row names the file already."""
    # What the command line could do about it, a daemon cannot.
    remedy = "Fetch the file again." if isinstance(error, TruncatedError) else error.remedy
    return f"{error.message}. {remedy}" if remedy else error.message
