"""The bench's figures as Markdown, which is also readable as it is."""

from __future__ import annotations

from collections.abc import Sequence

from liif_engine.lab.bench.contenders import NAMES, ON_REQUEST, OURS
from liif_engine.lab.bench.turns import Case

#: What others are compared with.
BASES = ("published", "Real-ESRGAN x4plus")

#: Which of the device's rates a contender is a share of.
RATE_OF = {name: "fp32" if name == "ours fp32" else "bf16" for name in OURS}


def table(cases: Sequence[Case], rates: dict[str, float]) -> list[str]:
    """The lines of one table over all cases, then one line for each contender that is missing."""
    pace = "MP per CPU second" if cases and cases[0].clock == "cpu_seconds" else "MP/s"
    head = ["scale", "MP", "", pace, "range", *(f"x {base}" for base in BASES), "peak MB", "of matrix", "of memory"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for case in cases:
        lines += [_row(case, name, rates) for name in (*NAMES, *ON_REQUEST) if name in case.runs]
    missing = {name: reason for case in cases for name, reason in case.missing.items()}
    return [*lines, *([""] if missing else []), *(f"{name}: {reason}" for name, reason in missing.items())]


def _row(case: Case, name: str, rates: dict[str, float]) -> str:
    low, high = case.spread(name)
    cells = [f"x{case.scale:g}", f"{case.megapixels:g}", name, figure(case.rate(name)), f"{figure(low)}-{figure(high)}"]
    for base in BASES:
        times = case.times(name, base)
        cells.append("" if times is None else f"{times:.1f}")
    cells.append(f"{case.median(name, 'peak_bytes') / 1e6:.0f}")
    return "| " + " | ".join([*cells, *shares(case, name, rates)]) + " |"


def shares(case: Case, name: str, rates: dict[str, float]) -> list[str]:
    """The share of the device's matrix rate and of its memory rate, for ours."""
    if name not in OURS:
        return ["", ""]
    seconds = case.median(name, case.clock)
    matrix = rates.get(RATE_OF[name], rates["fp32"])
    used = (
        case.median(name, "multiply_adds") / seconds / matrix,
        case.median(name, "feature_bytes") / seconds / rates["memory"],
    )
    return [f"{share:.0%}" for share in used]


def figure(rate: float) -> str:
    """Three figures, and no exponent."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
