"""What ``liif restore`` says of each file: a line, or JSON at the end, however that comes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liif_engine.errors import LiifError, printable

if TYPE_CHECKING:
    from liif_engine.archive.summary import Summary
    from liif_engine.file import Outcome
    from liif_engine.plan import Plan


class Report:
    """Collects what happened to each file, and says it: words, or JSON at the end.

    Args:
        as_json: a list of objects at the end, one a file; of a folder, one object.
        files: what was named, none twice.
    """

    def __init__(self, as_json: bool, files: list[Path]) -> None:
        self.as_json, self.files = as_json, files
        self.summary: Summary | None = None  # of a folder, once its run has begun
        self.failures: list[LiifError] = []
        self.rows: list[dict[str, Any]] = []
        self.say: Callable[[str], None] = print
        self.restored = self.planned = 0

    def __call__(
        self,
        source: Path,
        *,
        planned: Plan | None = None,
        outcome: Outcome | None = None,
        error: LiifError | None = None,
    ) -> None:
        """What happened to a file: planned, done or failed."""
        row: dict[str, Any] = {"source": str(source)}
        if error is not None:
            self.failures.append(error)
            from liif_engine import terminal  # rich, which need not be loaded where all goes well

            row |= {"status": "failed", **_error_fields(error)}
            terminal.show_error(error)
        elif outcome is not None:
            self.restored += 1
            seconds = round(outcome.seconds, 3)
            row |= {"status": "restored", **_plan_fields(outcome.plan), "model": outcome.model}
            row |= {"precision": outcome.precision, "seconds": seconds, "notes": list(outcome.notes)}
            notes = "".join(f"\n  note: {note}" for note in outcome.notes)
            self._line(f"{_arrow(outcome.plan)}, {outcome.model}, {seconds:.1f} s{notes}")
        elif planned is not None:
            self.planned += 1
            row |= {"status": "planned", **_plan_fields(planned)}
            self._line(f"{_arrow(planned)} (dry run)")
        self.rows.append(row)

    def _line(self, line: str) -> None:
        if not self.as_json:
            self.say(line)

    def close(self, error: LiifError | None) -> None:
        """The summary, or the JSON.

        Args:
            error: what ended the whole run; whoever called the command says it.
        """
        if self.as_json:
            print(json.dumps(self._values(error), indent=2))
        elif len(self.rows) > 1:
            failed = f", {len(self.failures)} failed" if self.failures else ""
            done = (
                f"{self.planned} of {len(self.rows)} would be"
                if self.planned
                else f"{self.restored} of {len(self.rows)}"
            )
            print(f"{done} restored{failed}", file=sys.stderr)

    def _values(self, error: LiifError | None) -> dict[str, Any] | list[dict[str, Any]]:
        """For programs: each file that was named has failed of what ended the run, unless it was over before."""
        from liif_engine.archive.summary import Summary
        from liif_engine.plan import is_folder

        of_run = {} if error is None else _error_fields(error)
        if self.summary is not None or any(map(is_folder, self.files)):
            return (self.summary or Summary()).as_dict() | of_run
        over = {row["source"] for row in self.rows}
        left = [file for file in self.files if str(file) not in over] if error is not None else []
        return self.rows + [{"source": str(file), "status": "failed", **of_run} for file in left]


@contextmanager
def reports(as_json: bool, files: list[Path]) -> Iterator[Report]:
    """A report whose summary is printed however the work ends."""
    report, of_run = Report(as_json, files), None
    try:
        yield report
    except LiifError as error:
        of_run = error
        raise
    finally:
        report.close(of_run)


def _error_fields(error: LiifError) -> dict[str, Any]:
    return {"error": str(error), "remedy": error.remedy, "exit_code": int(error.exit_code)}


def _plan_fields(plan: Plan) -> dict[str, Any]:
    return {
        "destination": str(plan.destination),
        "format": plan.format,
        "width": plan.probe.width,
        "height": plan.probe.height,
        "out_width": plan.width,
        "out_height": plan.height,
        "frames": plan.probe.frames,
    }


def _arrow(plan: Plan) -> str:
    before, after = f"{plan.probe.width}x{plan.probe.height}", f"{plan.width}x{plan.height}"
    stretched = ", stretched" if _is_stretched(plan) else ""
    return f"{printable(plan.source)} -> {printable(plan.destination)}  {before} -> {after}{stretched}"


def _is_stretched(plan: Plan) -> bool:
    """Whether the sides grow by different factors, beyond what whole pixels need."""
    across, down = plan.width / plan.probe.width, plan.height / plan.probe.height
    return abs(plan.probe.width * down - plan.width) > 1 and abs(plan.probe.height * across - plan.height) > 1
