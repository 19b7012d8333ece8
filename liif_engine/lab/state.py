"""A training run on disk, so that it goes on exactly where it stopped: the same bits as if it never had.

A state is a folder ``state-<step>`` of two .safetensors files, each below 16 MiB for EDSR-baseline-LIIF, which
is what some machines let a run bring home. It appears by one rename, so a folder that has the name is complete.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from liif_engine.errors import ModelError, OutputError
from liif_engine.picture.exchange import exchange

#: Ends the name of a complete state whose place one of the same step is about to take.
ASIDE = ".old"

STATE = re.compile(rf"state-(\d+)({re.escape(ASIDE)})?")


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: steps done.
        seconds: spent on them, pauses left out.
        best: the best validation mean so far [dB].
        scores: of the checkpoint chosen so far, by column [dB].
        chosen_step: the step of that checkpoint.
        start_scores: what the run started from, by column [dB].
        held_out: which pictures the scores are of; other pictures make them void.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    scores: dict[str, float] = field(default_factory=dict)
    chosen_step: int = 0
    start_scores: dict[str, float] = field(default_factory=dict)
    held_out: str = ""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a run's folder, as far as the system has such locks: two runs would write over each other's states.

    Raises:
        OutputError: another run has it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some shares have no locks
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                remedy = "Let it end, or choose another --out."
                raise OutputError("another run is at work in this folder", path=folder, remedy=remedy) from error
        yield
    finally:
        os.close(held)


def save_state(
    folder: Path,
    progress: Progress,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, object],
) -> Path:
    """Writes the run's state and then removes older ones.

    Args:
        folder: of the run.
        progress: how far it has come.
        model: the weights being trained.
        average: the same network with their moving average.
        optimizer: over ``model.parameters()``.
        settings: of the run, kept beside for the reader.

    Returns:
        The state's folder.

    Raises:
        OutputError: the disk is full, for one; earlier states stay.
    """
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    weights |= {f"average.{key}": value for key, value in average.state_dict().items()}
    moments = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{key}.{name}"] = value
    target = folder / f"state-{progress.step:07d}"
    for torn in folder.glob(".state-*.part"):  # of a run that was killed
        shutil.rmtree(torn, ignore_errors=True)
    building = folder / f".{target.name}.part"
    building.mkdir(parents=True)
    about = {"progress": json.dumps(asdict(progress)), "settings": json.dumps(dict(settings), default=str)}
    about["optimizer"] = type(optimizer).__name__
    try:
        for name, tensors in (("weights", weights), ("moments", moments)):
            plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            file = building / f"{name}.safetensors"
            save_file(plain, file, metadata=about)
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    except (OSError, SafetensorError) as error:
        shutil.rmtree(building, ignore_errors=True)
        raise OutputError(f"the run's state cannot be written ({error})", path=target) from error
    _put(building, target)
    for other in states(folder):
        if other != target:
            shutil.rmtree(other)
    return target


def _put(building: Path, target: Path) -> None:
    """Gives a complete state its name; at every instant it or the one of the same step that had the name is there."""
    if target.is_dir():
        if exchange(building, target):
            shutil.rmtree(building, ignore_errors=True)
            return
        aside = target.with_name(f"{target.name}{ASIDE}")
        shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
        target.replace(aside)
    building.replace(target)


def states(folder: Path) -> list[Path]:
    """The complete states in a run's folder, oldest first."""
    found = (path for path in folder.glob("state-*") if STATE.fullmatch(path.name))
    return sorted(found, key=lambda path: (path.name.removesuffix(ASIDE), not path.name.endswith(ASIDE)))


def load_state(state: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Puts a saved state into a model, its average and its optimiser, on the devices where they are.

    Raises:
        ModelError: the state is incomplete, or of a model with other sizes.
    """
    try:
        weights = load_file(state / "weights.safetensors")
        moments = load_file(state / "moments.safetensors")
        with safe_open(state / "weights.safetensors", "pt") as file:
            about = file.metadata()
        progress = Progress(**json.loads(about["progress"]))
        if (made_by := about.get("optimizer", "Adam")) != type(optimizer).__name__:
            raise ValueError(f"its moments are {made_by}'s: give --optimizer {made_by.lower()}")
        _load_weights(model, weights, "model.")
        _load_weights(average, weights, "average.")
        _load_moments(optimizer, model, moments)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        remedy = "Give the options that the run was started with, or another --out."
        raise ModelError(f"cannot go on from this state ({error})", path=state, remedy=remedy) from error
    return progress


def _load_weights(model: nn.Module, weights: Mapping[str, Tensor], prefix: str) -> None:
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    if {key: value.shape for key, value in own.items()} != {k: v.shape for k, v in model.state_dict().items()}:
        raise ValueError("it is of a network with other sizes")
    model.load_state_dict(own)


def _load_moments(optimizer: torch.optim.Optimizer, model: nn.Module, moments: Mapping[str, Tensor]) -> None:
    if not moments:  # it was stopped before its first step
        return
    found: dict[str, dict[str, Tensor]] = {}
    for whole, value in moments.items():
        key, _, name = whole.partition(".")
        found.setdefault(name, {})[key] = value
    entries: dict[int, dict[str, Tensor]] = {}
    held = not any(".encoder." in key for key in moments)  # it has not begun to change
    for number, (name, _) in enumerate(model.named_parameters()):
        if held and name.startswith("encoder."):
            continue
        entries[number] = found[name]
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
