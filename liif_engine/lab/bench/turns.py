"""Measurements in turns: every contender once, then every contender again, each in a process of its own.

On a machine that does other things too, a speed says little, but two that were measured one right after the other have
met the same neighbours: ratios are taken within a turn, and the median over the turns.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from liif_engine.errors import ExitCode, LiifError


@dataclass
class Case:
    """One size, and what each contender did with it.

    Attributes:
        scale: output per input pixel.
        megapixels: of the result.
        clock: ``seconds``, or ``cpu_seconds`` where others use the machine too: time spent waiting for a core is then
            left out. With several threads it counts their waiting for each other, so it goes with one.
        runs: by contender, in the order of the turns.
        missing: why a contender is not here, by name.
    """

    scale: float
    megapixels: float
    clock: str = "seconds"
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def rate(self, name: str) -> float:
        """Megapixels of the result per second, the median."""
        return float(statistics.median(self._rates(name)))

    def spread(self, name: str) -> tuple[float, float]:
        """The least and the greatest rate."""
        rates = self._rates(name)
        return min(rates), max(rates)

    def _rates(self, name: str) -> list[float]:
        return [run["megapixels"] / run[self.clock] for run in self.runs[name]]

    def times(self, name: str, base: str) -> float | None:
        """How many times as fast as another contender, the median over the turns; None where that was not measured."""
        if base not in self.runs or name not in self.runs:
            return None
        pairs = zip(self.runs[name], self.runs[base], strict=True)
        return float(statistics.median(b[self.clock] / a[self.clock] for a, b in pairs))

    def median(self, name: str, figure: str) -> float:
        """The median of a figure over the turns."""
        return float(statistics.median(run[figure] for run in self.runs[name]))


def ask(**question: Any) -> dict[str, Any]:
    """One measurement in a new process.

    Raises:
        LiifError: the process failed.
    """
    command = [sys.executable, "-m", "liif_engine.lab.bench.child"]
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=False)
    if done.returncode != ExitCode.OK:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LiifError(f"a measurement ended with exit code {done.returncode}: {last}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(case: Case, names: Sequence[str], runs: int, settings: dict[str, Any], say: Callable[[str], None]) -> None:
    """Fills a case. A contender that is missing or fails in the first turn is left out of the others."""
    for turn in range(runs):
        for name in names:
            if name in case.missing:
                continue
            say(f"x{case.scale:g}, {case.megapixels:g} MP, turn {turn + 1} of {runs}: {name}")
            try:
                answer = ask(name=name, scale=case.scale, megapixels=case.megapixels, **settings)
            except LiifError as error:
                answer = {"missing": str(error)}
            if "missing" in answer:
                case.missing[name] = answer["missing"]
                case.runs.pop(name, None)
            else:
                case.runs.setdefault(name, []).append(answer)
