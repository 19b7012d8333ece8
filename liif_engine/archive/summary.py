"""What a run over a folder did, in words and as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liif_engine.errors import CAUSES, LiifError, printable
from liif_engine.words import counted, rate

#: Notes that are shown; they differ little from file to file.
MOST_NOTES = 10


@dataclass
class Summary:
    """What a run did.

    Attributes:
        restored: files that were restored now.
        kept: files whose result was there already, complete and verified.
        failures: (path below the folder, error).
        would: how many files a dry run would restore; None of a run that restores.
        planned: (path below the folder, width, height) of what a dry run would restore, if that is wanted here.
        others: files whose names are no pictures', and links.
        results: files that say of themselves that they are results of ours.
        larger: pictures that are larger already than what was asked for.
        gone: files that had gone when their turn came.
        left_out: folders that earlier runs wrote results into, below the source.
        source_pixels, result_pixels: of what was restored now.
        stages: seconds of work by stage, all workers together.
        seconds: that the run took.
        begun_again: pieces of work that a worker died with and another did.
        notes: what results could not carry, in words, and of how many that is true.
    """

    restored: int = 0
    kept: int = 0
    failures: list[tuple[Path, LiifError]] = field(default_factory=list)
    would: int | None = None
    planned: list[tuple[Path, int, int]] = field(default_factory=list)
    others: int = 0
    results: int = 0
    larger: int = 0
    gone: int = 0
    left_out: list[Path] = field(default_factory=list)
    source_pixels: int = 0
    result_pixels: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    begun_again: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for programs."""
        reasons = Counter(type(error).__name__ for _, error in self.failures)
        return {
            "restored": self.restored,
            "kept": self.kept,
            "failed": len(self.failures),
            "failed_by_kind": dict(reasons),
            "other_files": self.others,
            "results": self.results,
            "larger_already": self.larger,
            "gone": self.gone,
            "folders_left_out": [str(path) for path in self.left_out],
            "source_megapixels": round(self.source_pixels / 1e6, 3),
            "result_megapixels": round(self.result_pixels / 1e6, 3),
            "seconds": round(self.seconds, 3),
            "files_per_second": round(self.restored / self.seconds, 3) if self.seconds else None,
            "seconds_by_stage": {key: round(value, 3) for key, value in self.stages.items()},
            "begun_again": self.begun_again,
            "notes": dict(self.notes),
            "planned": [
                {"source": str(path), "out_width": width, "out_height": height} for path, width, height in self.planned
            ],
            "failures": [
                {"source": str(path), "kind": type(error).__name__, "error": error.message, "remedy": error.remedy}
                for path, error in self.failures
            ],
        }

    def lines(self, *, verbose: bool = False) -> list[str]:
        """In words, for people; where it was not said already, how to learn of which files."""
        names = "" if verbose else " (--verbose names them)"
        words = [f"{self.restored} restored" if self.would is None else f"{self.would} would be restored"]
        words += [f"{self.kept} done before"] if self.kept else []
        words += [f"{len(self.failures)} failed"] if self.failures else []
        words += [f"{counted(self.others, 'other file')} left alone{names}"] if self.others else []
        words += (
            [f"{counted(self.results, 'result')} of liif-restore left alone (--again restores them)"]
            if self.results
            else []
        )
        words += (
            [f"{counted(self.larger, 'picture')} larger already than asked for left alone{names}"]
            if self.larger
            else []
        )
        words += [f"{counted(self.gone, 'file')} gone meanwhile{names}"] if self.gone else []
        lines = [f"{', '.join(words)}; {self.seconds:.1f} s"]
        if self.restored:
            pace, speed = self.restored / self.seconds, self.result_pixels / 1e6 / self.seconds
            stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.stages.items())
            lines.append(f"{rate(pace)} files/s, {rate(speed)} megapixels/s; work: {stages}")
        lines += [
            f"left out, results of an earlier run: {printable(path)} (name it itself, or use --again, to restore them)"
            for path in self.left_out
        ]
        if self.begun_again:
            lines.append(f"{self.begun_again} times a worker died and another did its work")
        lines += [f"note, {counted(count, 'file')}: {note}" for note, count in self.notes.most_common(MOST_NOTES)]
        if len(self.notes) > MOST_NOTES:
            more = "" if verbose else " (--verbose names the files of all)"
            lines.append(f"{counted(len(self.notes) - MOST_NOTES, 'other note')}{more}")
        causes = Counter(CAUSES.get(error.exit_code, "stopped") for _, error in self.failures)
        lines += [f"failed, {cause}: {count}" for cause, count in causes.most_common()]
        return lines
