"""Trains EDSR-LIIF on compressed pictures: one loop, read `train` from top to bottom.

Run again with the same folder, it goes on from the last saved state with the same bits as if it had never stopped
(on a CPU; a GPU adds in no fixed order).
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from torch import Tensor

from liif_engine.errors import Cancelled, LiifError, OutputError
from liif_engine.lab.inherit import inherit
from liif_engine.lab.muon import Muon
from liif_engine.lab.pairs import PairShape, Pool, build_pool, is_held_out
from liif_engine.lab.run import Run
from liif_engine.lab.settings import TrainSettings, parse
from liif_engine.lab.state import Progress, alone, load_state, states
from liif_engine.lab.stream import Recipe, batches
from liif_engine.lab.teacher import Teacher
from liif_engine.lab.validate import SHAPE, Answer, tensors, validate, validation_pairs
from liif_engine.model_names import SELF_ENSEMBLE, plain
from liif_engine.network import checkpoint
from liif_engine.network.device import choose_device, choose_precision
from liif_engine.network.model import EdsrLiif
from liif_engine.threads import usable

#: The rate ends at this part of its highest value.
FINAL_RATE = 0.01

#: Gradients longer than this are shortened; only outliers are.
MAX_GRADIENT = 1.0

#: A step that took longer was interrupted (a sleeping laptop, a stopped process); it counts for no more [s].
LONGEST_STEP = 20.0


@dataclass(frozen=True)
class TrainResult:
    """What a run, or one session of it, ended with.

    Attributes:
        model: the chosen checkpoint, the moving average of the weights.
        state: the folder from which the run can go on.
        steps: done so far.
        scores: of the chosen checkpoint on the held-out pictures, by column [dB].
        start_scores: of what the run started from.
        finished: whether the whole budget is spent.
    """

    model: Path
    state: Path
    steps: int
    scores: dict[str, float]
    start_scores: dict[str, float]
    finished: bool


def train(settings: TrainSettings, console: Console | None = None) -> TrainResult:
    """Trains until the budget or the session ends.

    Args:
        settings: of the run; ``settings.out`` gets ``<name>.safetensors``, ``state-<step>/``, ``log.jsonl`` and
            ``loss.png``.
        console: where progress is shown; stderr by default.

    Raises:
        UsageError: no pictures.
        OutputError: the run's folder cannot be made or written to, or another run is at work in it.
        InputError: a picture cannot be decoded.
        ModelError: the start, the teacher or the state cannot be used.
        DeviceError: no such device or precision.
        NonFiniteError: the loss is no longer a number.
    """
    device = choose_device(settings.device)
    bf16 = choose_precision(settings.precision, device) == "bf16"
    _make_folder(settings.out)
    with alone(settings.out):
        return _train(settings, console or Console(stderr=True), device, bf16)


def _train(settings: TrainSettings, console: Console, device: torch.device, bf16: bool) -> TrainResult:
    began = time.monotonic()
    if threads := settings.threads or (1 if device.type == "cuda" else 0):  # a GPU's rest is for those who make pairs
        torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    model = _place(_start_model(settings), device)
    average = copy.deepcopy(model).requires_grad_(False)
    parameters: list[Tensor] = list(model.parameters())
    averages: list[Tensor] = list(average.parameters())
    parts = [{"params": list(part.parameters())} for part in (model.encoder, model.imnet)]
    optimizer = _optimizer(settings, parts, device)
    saved = states(settings.out)
    progress = load_state(saved[-1], model, average, optimizer) if saved else Progress()
    forward = _answer(model, device, bf16)
    if settings.compile:
        forward = torch.compile(forward)
    teacher = None
    if settings.teacher:
        taught = _place(checkpoint.load(plain(settings.teacher)), device)
        ways = settings.teacher_ways if settings.teacher.endswith(SELF_ENSEMBLE) else 0
        answer = _answer(taught, device, bf16)
        teacher = Teacher(torch.compile(answer) if settings.compile else answer, ways, settings.seed)

    with tempfile.TemporaryDirectory(prefix="liif-train-", ignore_cleanup_errors=True) as scratch:
        recipe, held_out = _pictures(settings, Path(scratch))
        columns = validation_pairs(held_out, settings.validation_pictures)
        run = Run(settings, progress, model, average, optimizer, recipe.pool)

        def choose() -> None:
            run.choose(validate(_answer(average, device, bf16), columns, device), console)

        names = _digest(held_out)
        if progress.held_out != names or not run.file.exists():  # what was chosen before is void, or gone
            progress.held_out, progress.best = names, -math.inf
            choose()
            progress.start_scores = progress.start_scores or progress.scores
        since_log = torch.zeros((), device=device)
        saved_at = validated_at = now = time.monotonic()
        log_seconds = progress.seconds
        with closing(batches(recipe, progress.step, _workers(settings, device))) as stream, _bar(console) as bar:
            shown = bar.add_task("training", total=1.0)
            while run.spent() < 1 and not _over(settings.session_minutes, began):
                pixels, coord, cell, rgb = tensors(next(stream), device)
                model.encoder.requires_grad_(progress.step >= settings.hold_encoder)
                for group, rate in zip(
                    optimizer.param_groups, _rates(settings, run.spent(), progress.step), strict=True
                ):
                    group["lr"] = rate
                loss = F.l1_loss(answers := forward(pixels, coord, cell), rgb)
                if teacher is not None:
                    told = teacher(pixels, coord, cell, progress.step)
                    loss = torch.lerp(loss, F.l1_loss(answers, told), settings.teacher_share)
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
                optimizer.step()
                decay = min(settings.average, (progress.step + 1) / (progress.step + 10))
                torch._foreach_lerp_(averages, list(map(Tensor.detach, parameters)), 1 - decay)
                since_log += loss.detach()
                progress.step += 1
                now, before = time.monotonic(), now
                progress.seconds += min(now - before, LONGEST_STEP)

                if progress.step % settings.log_steps == 0:
                    run.log_loss(since_log.item() / settings.log_steps, progress.seconds - log_seconds)
                    since_log.zero_()
                    log_seconds = progress.seconds
                    bar.update(shown, completed=run.spent(), description=run.line())
                if _over(settings.validate_minutes, validated_at):
                    choose()
                    validated_at = now = time.monotonic()
                if _over(settings.save_minutes, saved_at):
                    run.save()
                    saved_at = now = time.monotonic()
        choose()
        state = run.save()
    return TrainResult(run.file, state, progress.step, progress.scores, progress.start_scores, run.spent() >= 1)


def rate_factor(spent: float, step: int, warm_up: int) -> float:
    """The learning rate as a part of its highest value: a linear rise, then half a cosine.

    Args:
        spent: part of the budget that is spent, 0-1.
        step: steps done.
        warm_up: steps of the rise.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * min(spent, 1.0)))
    return min(1.0, (step + 1) / max(warm_up, 1)) * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def _rates(settings: TrainSettings, spent: float, step: int) -> tuple[float, float]:
    """The encoder's and the decoder's learning rate; an encoder that was held has a rise of its own."""
    encoder = rate_factor(spent, max(step - settings.hold_encoder, 0), settings.warm_up)
    decoder = rate_factor(spent, step, settings.warm_up)
    return settings.rate * encoder, (settings.decoder_rate or settings.rate) * decoder


def _start_model(settings: TrainSettings) -> EdsrLiif:
    if settings.start != "scratch":
        return checkpoint.load(settings.start).train().requires_grad_(True)
    torch.manual_seed(settings.seed)
    model = EdsrLiif(settings.channels, settings.blocks, settings.hidden)
    if settings.inherit:
        inherit(model, checkpoint.load(settings.inherit), settings.inherit_blocks)
    return model


def _optimizer(settings: TrainSettings, parts: list[dict[str, Any]], device: torch.device) -> torch.optim.Optimizer:
    if settings.optimizer == "muon":
        return Muon(parts, settings.rate)
    return torch.optim.Adam(parts, settings.rate, fused=device.type == "cuda")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the run's folder ({error.strerror})", path=folder) from error


def _place(model: EdsrLiif, device: torch.device) -> EdsrLiif:
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _answer(model: EdsrLiif, device: torch.device, bf16: bool) -> Answer:
    def answer(pixels: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return model.decode(model.encode(pixels), coord, cell)

    return answer


def _pictures(settings: TrainSettings, scratch: Path) -> tuple[Recipe, Pool]:
    """The recipe of the training pairs, and the held-out pictures."""
    shape = PairShape(settings.patch, settings.queries)
    threads = usable()

    def pool(file: str, keep: Callable[[str], bool], smallest: int, use: str) -> Pool:
        return build_pool(settings.data, scratch / file, keep=keep, threads=threads, smallest=smallest, use=use)

    training = pool("training.rgb", lambda name: not is_held_out(name), shape.canvas, "to learn from")
    return Recipe(training, settings.seed, settings.batch, shape, settings.shares), pool(
        "held-out.rgb", is_held_out, SHAPE.canvas, "to validate with"
    )


def _digest(pool: Pool) -> str:
    return hashlib.sha256("\n".join(pool.names).encode()).hexdigest()


def _workers(settings: TrainSettings, device: torch.device) -> int:
    if settings.workers >= 0:
        return settings.workers
    return max(usable() - 1, 1) if device.type == "cuda" else 0


def _over(minutes: float, since: float) -> bool:
    return minutes > 0 and time.monotonic() - since >= 60 * minutes


def _bar(console: Console) -> Bar:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), TimeElapsedColumn())
    return Bar(*columns, console=console, disable=not console.is_terminal)


def main() -> NoReturn:
    """``python -m liif_engine.lab.train``, for machines without the ``liif`` command's own needs."""
    try:
        result = train(parse())
    except (LiifError, KeyboardInterrupt) as error:
        told = error if isinstance(error, LiifError) else Cancelled("stopped; the same command goes on")
        print(told.explain(), file=sys.stderr)
        sys.exit(told.exit_code)
    print(json.dumps(asdict(result), default=str))
    sys.exit(0)


if __name__ == "__main__":
    main()
