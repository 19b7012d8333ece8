"""What a training run is told. One dataclass, and the command line that fills it; no torch here."""

# ruff: noqa: RUF009 - _option only wraps dataclasses.field
from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from liif_engine.errors import UsageError
from liif_engine.lab.degrade import Shares
from liif_engine.picture.turns import TURNS

#: What moves the weights.
OPTIMIZERS = ("muon", "adam")


def _option(default: Any, about: str, parse: Callable[[str], Any] | None = None) -> Any:
    return field(default=default, metadata={"about": about, "parse": parse or type(default)})


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers with commas between, like 64,64, not {text!r}") from None


def _shares(text: str) -> Shares:
    pairs = (word.partition("=")[::2] for word in text.split(","))
    try:
        return Shares(**{name: float(share) for name, share in pairs})
    except (TypeError, ValueError):
        known = ", ".join(one.name for one in fields(Shares))
        message = f"shares like clean=0.2,webp=0.1, of {known}, not {text!r}"
        raise argparse.ArgumentTypeError(message) from None


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A training run. What each field means is in its ``about``, which is also the command line's help.

    Raises:
        UsageError: two fields contradict each other, or one is out of range.
    """

    data: tuple[Path, ...] = field(metadata={"about": "folders of clean pictures: AVIF, PNG or lossless WebP"})
    out: Path = _option(Path("runs/web"), "the run's folder; a run that is there goes on where it stopped", Path)
    start: str = _option("published", "a shipped name, a checkpoint's path, or scratch")
    inherit: str = _option("", "a model of which a network from scratch begins as a part: a shipped name or a path")
    inherit_blocks: tuple[int, ...] = _option((), "which of its blocks, as 0,1,3; spread evenly by default", _numbers)
    hold_encoder: int = _option(0, "steps before the encoder begins to change, while a new decoder learns to read it")
    name: str = _option("web", "name of the model, and of its file in the run's folder")
    minutes: float = _option(0.0, "time budget of the whole run, over which the rate falls; 0: --steps decides")
    steps: int = _option(0, "steps of the whole run, if there is no time budget")
    session_minutes: float = _option(0.0, "stop after so long by the clock, start included, to go on later; 0: never")
    seed: int = _option(0, "decides every pair; the same seed gives the same pairs in the same order")
    batch: int = _option(8, "pairs a step")
    patch: int = _option(48, "damaged pixels of a pair along each axis")
    queries: int = _option(1152, "ground-truth pixels asked for in each pair")
    optimizer: str = _option("muon", "muon or adam")
    rate: float = _option(1.5e-4, "the highest learning rate")
    decoder_rate: float = _option(0.0, "the decoder's own highest rate; 0: as the rest")
    warm_up: int = _option(100, "steps in which a rate rises")
    average: float = _option(0.999, "decay per step of the weights' moving average, which is what is saved")
    teacher: str = _option("", "a model to learn from beside the truth: a name or a path, with + its self-ensemble")
    teacher_ways: int = _option(2, "in how many of its eight ways a self-ensemble is asked at each step, 1 to 8")
    teacher_share: float = _option(0.5, "weight of the teacher's answers against the truth, 0 to 1")
    channels: int = _option(64, "encoder channels, from scratch only")
    blocks: int = _option(16, "encoder blocks, from scratch only")
    hidden: tuple[int, ...] = _option((256, 256, 256, 256), "decoder widths, from scratch only", _numbers)
    device: str = _option("auto", "auto, cpu, cuda or cuda:N")
    precision: str = _option("auto", "auto, fp32 or bf16; auto is bf16 where the hardware has it")
    compile: bool = _option(False, "compile the step with torch.compile; costs about a minute at the start")
    workers: int = _option(-1, "processes that make pairs; 0: none, -1: one per core with a GPU, none without")
    threads: int = _option(0, "threads of torch on the CPU; 0: torch's own choice, or one beside a GPU")
    log_steps: int = _option(20, "steps between two lines of the log")
    save_minutes: float = _option(1.0, "minutes between two saved states")
    validate_minutes: float = _option(10.0, "minutes between two validations; each may choose a new checkpoint")
    validation_pictures: int = _option(32, "held-out pictures used for it, at most")
    shares: Shares = _option(Shares(), "how often each kind of damage comes, as clean=0.2,webp=0.1", _shares)

    def __post_init__(self) -> None:
        if bool(self.minutes) == bool(self.steps):
            given = "both are given" if self.steps else "neither is above 0"
            raise UsageError(f"a run needs minutes or steps, and {given}", remedy="Give --minutes or --steps.")
        for entry in fields(self):
            value, least = getattr(self, entry.name), -1 if entry.name == "workers" else 0
            if isinstance(value, int | float) and not least <= value < math.inf:  # not so for not-a-numbers
                raise UsageError(f"{_flag(entry.name)} must be a number of at least {least}, not {value:g}")
        if self.channels < 1 or min(self.hidden, default=1) < 1:
            raise UsageError("channels and hidden must be above 0")
        if min(self.batch, self.patch - 7, self.queries, self.log_steps, self.validation_pictures) < 1 or not self.rate:
            words = "batch, queries, log_steps, validation_pictures and rate must be above 0, and patch at least 8"
            raise UsageError(words)
        if not self.name or Path(self.name).name != self.name:
            raise UsageError(f"{self.name!r} cannot be the name of a file in the run's folder")
        if self.optimizer not in OPTIMIZERS:
            raise UsageError(f"there is no optimizer {self.optimizer!r}", remedy=f"Give {' or '.join(OPTIMIZERS)}.")
        if self.inherit and self.start != "scratch":
            raise UsageError("only a network from scratch can inherit", remedy="Give --from scratch, or no --inherit.")
        if not 0 <= self.average < 1 or not 0 <= self.teacher_share <= 1:
            raise UsageError("average must be in [0, 1) and teacher_share in [0, 1]")
        if not 1 <= self.teacher_ways <= len(TURNS):
            raise UsageError(f"teacher_ways must be in 1 to {len(TURNS)}")
        if not all(0 <= share <= 1 for share in asdict(self.shares).values()):
            raise UsageError("each share must be in [0, 1]")


def parse(arguments: Sequence[str] | None = None, *, prog: str = "python -m liif_engine.lab.train") -> TrainSettings:
    """Settings from a command line; ``--from`` is `start`.

    Args:
        arguments: the words after the command; the process's own by default.
        prog: the command, for its help.

    Raises:
        UsageError: contradictory or out of range. An unknown option ends the program, as argparse does.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Trains EDSR-LIIF on compressed pictures. Start the same command again to go on.",
    )
    parser.add_argument(
        "--data", nargs="+", type=Path, required=True, metavar="FOLDER", help="folders of clean pictures"
    )
    for entry in _options():
        flag, parse = _flag(entry.name), entry.metadata["parse"]
        options: dict[str, Any] = {"dest": entry.name, "default": entry.default, "help": entry.metadata["about"]}
        if isinstance(entry.default, bool):
            parser.add_argument(flag, action="store_true", **options)
            continue
        if default := _as_text(entry.default, whole=True):
            options["help"] += f" (default: {default})"
        parser.add_argument(flag, type=parse, metavar={int: "N", float: "NUMBER"}.get(parse), **options)
    given = vars(parser.parse_args(arguments))
    return TrainSettings(**{**given, "data": tuple(given["data"])})


def command(settings: TrainSettings) -> str:
    """The command line that gives these settings, folders and files by their last name only."""
    words = ["python", "-m", "liif_engine.lab.train", "--data", *(folder.name for folder in settings.data)]
    for entry in _options():
        value = getattr(settings, entry.name)
        if value == entry.default:
            continue
        if isinstance(value, bool):
            words.append(_flag(entry.name))
        else:
            words += [_flag(entry.name), _as_text(value)]
    return shlex.join(words)


def _as_text(value: Any, *, whole: bool = False) -> str:
    """A value as the command line takes it: of a path its last name, of shares those that are not usual, or `whole`."""
    if isinstance(value, Shares):
        shares = asdict(value).items()
        chosen = [(name, share) for name, share in shares if whole or share != getattr(Shares(), name)]
        return ",".join(f"{name}={share:g}" for name, share in chosen)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return Path(value).name if "/" in str(value) and not whole else str(value)


def _options() -> list[Field[Any]]:
    return [entry for entry in fields(TrainSettings) if "parse" in entry.metadata]


def _flag(name: str) -> str:
    return "--from" if name == "start" else f"--{name.replace('_', '-')}"
