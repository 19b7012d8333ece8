"""What restoring a picture file would do, known from its header alone; what cannot be done is refused here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from liif_engine.errors import LiifError, OutputError, UsageError
from liif_engine.picture import image_file
from liif_engine.picture.atomic import check_name
from liif_engine.picture.image_file import Limits, Probe
from liif_engine.target import Target

#: Why a result cannot be kept consistent with its file.
NOT_ITS_SIZE = "a consistent result needs scale 1: the file's intervals speak of its own pixels"
NO_INTERVALS = "is no JPEG whose quantisation intervals a result could be kept in"


@dataclass(frozen=True)
class Plan:
    """What restoring a file would do, known from its header alone.

    Attributes:
        source, destination: the files.
        format: of the result.
        probe: what the header says of the source.
        width, height: of the result in pixels.
        consistent: whether the result is to be moved into the JPEG's own quantisation intervals.
    """

    source: Path
    destination: Path
    format: str
    probe: Probe
    width: int
    height: int
    consistent: bool = False

    @property
    def source_bytes(self) -> int:
        """Of the source's pixels."""
        probe = self.probe
        return probe.width * probe.height * probe.frames * len(probe.layout) * probe.bits // 8

    @property
    def result_bytes(self) -> int:
        """Of the result's pixels."""
        probe = self.probe
        return self.width * self.height * probe.frames * len(probe.layout) * probe.bits // 8

    @property
    def writing_bytes(self) -> int:
        """That writing the result takes beyond its pixels."""
        size, probe = {"width": self.width, "height": self.height}, self.probe
        return image_file.writing_bytes(self.format, **size, layout=probe.layout, bits=probe.bits, frames=probe.frames)


def destination_for(
    source: Path, target: Target, result: tuple[int, int], out: Path | None, suffix: str | None = None
) -> Path:
    """Where a result goes: `out` itself, ``name@2x.ext`` inside it if it is a folder, or that beside the file.

    Args:
        source: the original.
        target: names the result.
        result: its (width, height) in pixels.
        out: a file, a folder, or None.
        suffix: of such a name; None for the original's own.
    """
    named = f"{source.stem}@{target.label(result)}{source.suffix if suffix is None else suffix}"
    if out is None:
        return source.with_name(named)
    return out / named if is_folder(out) else out


def is_folder(path: Path) -> bool:
    """Whether a path is a folder's; a name that the system refuses, or does not let us see, is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def plan(
    source: Path,
    target: Target,
    *,
    out: Path | None = None,
    format: str | None = None,
    limits: Limits | None = None,
    consistent: bool = False,
) -> Plan:
    """Looks at a file's header and refuses what cannot be done, before any work.

    Args:
        source: a picture file.
        target: how large the result is to be.
        out: as in `destination_for`.
        format: of the result, a suffix such as ``png``, with its point or without, in which the result's name then
            ends, unless `out` is a file; by default the file's own or, where `out` is a file with another suffix, what
            that asks for.
        limits: what is refused as too large.
        consistent: whether to move the result into the JPEG's own quantisation intervals; at scale 1 only.

    Raises:
        LiifError: the file, its format or the result's size is refused; the error names the file.
    """
    try:
        if not isinstance(target, Target):
            raise UsageError(f"a target is a Target, such as Target(scale=2), not {target!r}")
        if not isinstance(format, str | None):
            raise UsageError(f"a format is a suffix, such as png, not {format!r}")
        if not isinstance(limits, Limits | None):
            raise UsageError(f"limits are Limits, such as Limits(max_pixels=1_000_000), not {limits!r}")
        probe = image_file.probe(source, limits=limits or Limits())
        width, height = target.size_of_result(probe.width, probe.height)
        if consistent and (width, height) != (probe.width, probe.height):
            raise UsageError(NOT_ITS_SIZE, remedy="Use --scale 1, or leave --consistent out.")
        suffix = None
        if format is not None:
            suffix, format = f".{format.lower().removeprefix('.')}", image_file.format_named(format)
            suffix = None if _asks_for(source, format) else suffix
        destination = destination_for(source, target, (width, height), out, suffix)
        if format is None:
            named = out is not None and destination == out and destination.suffix != source.suffix
            format = image_file.format_for(destination) if named else probe.format
        image_file.check_result(probe, format=format, width=width, height=height)
    except LiifError as error:
        raise error.at(source) from error.__cause__
    return Plan(source, destination, format, probe, width, height, consistent)


def _asks_for(path: Path, format: str) -> bool:
    """Whether a file's name ends in a suffix of the format."""
    try:
        return image_file.format_for(path) == format
    except UsageError:
        return False


def check_destination(planned: Plan, *, may_exist: bool) -> None:
    """Refuses, before any work, a destination that is taken.

    Raises:
        OutputExistsError: it exists and may not.
        OutputError: no file can have that name, or there is no such folder.
        UsageError: it is the source itself.
    """
    destination = planned.destination
    try:
        exists = destination.exists()
        is_source = exists and destination.samefile(planned.source)
        has_folder = exists or destination.parent.is_dir()
    except OSError as error:  # such as a name too long for the file system
        message = f"cannot be written ({error.strerror})"
        raise OutputError(message, path=destination, remedy="Choose another name with --out.") from error
    if is_source:
        raise UsageError(
            "the result would replace its own original",
            path=planned.source,
            remedy="Choose another --out; restoring in place, with the original kept safe, is the daemon's work.",
        )
    if not has_folder:
        remedy = "Make the folder first, or choose another --out."
        raise OutputError("its folder does not exist", path=destination, remedy=remedy)
    check_name(destination, overwrite=may_exist)
    if not os.access(destination.parent, os.W_OK):
        raise OutputError("cannot be written: its folder is closed to you, or read-only", path=destination)
