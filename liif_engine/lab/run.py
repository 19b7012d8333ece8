"""The files of a training run: its log, its states, its chosen checkpoint and the plot of its losses."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from liif_engine.errors import NonFiniteError
from liif_engine.lab.card import training_card
from liif_engine.lab.pairs import Pool
from liif_engine.lab.plot import draw_plot
from liif_engine.lab.settings import TrainSettings
from liif_engine.lab.state import Progress, save_state
from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif
from liif_engine.picture.atomic import write_atomically


class Run:
    """The files of a run; `TrainSettings.out` is their folder.

    Args:
        settings: of the run.
        progress: how far it is; kept up to date by who trains.
        model, average, optimizer: that are trained, and saved.
        pool: the pictures to learn from, which the chosen checkpoint's card names.
    """

    def __init__(
        self,
        settings: TrainSettings,
        progress: Progress,
        model: EdsrLiif,
        average: EdsrLiif,
        optimizer: torch.optim.Optimizer,
        pool: Pool,
    ) -> None:
        self.settings, self.progress, self.pool = settings, progress, pool
        self.model, self.average, self.optimizer = model, average, optimizer
        self.file = settings.out / f"{settings.name}.safetensors"
        self.log = settings.out / "log.jsonl"
        _forget_after(self.log, progress.step)
        self._last_loss = math.nan
        self._speed = 0.0  # [pairs/s]

    def spent(self) -> float:
        """Part of the budget that is spent; 1 and more is the end."""
        if self.settings.minutes:
            return self.progress.seconds / (60 * self.settings.minutes)
        return self.progress.step / self.settings.steps

    def line(self) -> str:
        """How far it is, for a progress bar."""
        return f"step {self.progress.step}, loss {self._last_loss:.4f}, {self._speed:.0f} pairs/s"

    def log_loss(self, loss: float, seconds: float) -> None:
        """Logs the mean loss of the last `log_steps` steps, which took so long.

        Raises:
            NonFiniteError: it is no longer a number.
        """
        if not math.isfinite(loss):
            raise NonFiniteError(f"the loss is {loss} at step {self.progress.step}", remedy="Try a lower --rate.")
        self._last_loss, self._speed = loss, self.settings.log_steps * self.settings.batch / max(seconds, 1e-9)
        rate = self.optimizer.param_groups[-1]["lr"]
        self._write({"loss": round(loss, 6), "rate": rate, "pairs_per_second": round(self._speed, 1)})

    def choose(self, scores: dict[str, float], console: Console) -> None:
        """Keeps the average as the run's checkpoint if no earlier one scored higher."""
        progress = self.progress
        better = scores["mean"] > progress.best
        if better:
            progress.best, progress.scores, progress.chosen_step = scores["mean"], scores, progress.step
            card = training_card(self.settings, progress, self.pool.names)
            with write_atomically(self.file, overwrite=True) as part:
                checkpoint.save(self.average, part, card)
        self._write({"validation": scores, "chosen": better})
        draw_plot(self.log, self.settings.out / "loss.png")
        figures = ", ".join(f"{column} {score:.2f}" for column, score in scores.items())
        console.print(
            f"step {progress.step}: {figures}{' (chosen)' if better else ''}", highlight=False, soft_wrap=True
        )

    def save(self) -> Path:
        """Saves a state from which the run goes on; returns its folder."""
        return save_state(
            self.settings.out, self.progress, self.model, self.average, self.optimizer, asdict(self.settings)
        )

    def _write(self, entry: dict[str, object]) -> None:
        about = {"step": self.progress.step, "seconds": round(self.progress.seconds, 2)}
        with self.log.open("a") as file:
            file.write(json.dumps(about | entry) + "\n")


def _forget_after(log: Path, step: int) -> None:
    """Drops what the log says of steps after the saved state: they will be made again. A torn last line goes too."""
    if log.is_file():
        kept = []
        for line in log.read_text().splitlines():
            with suppress(ValueError):
                if json.loads(line)["step"] <= step:
                    kept.append(f"{line}\n")
        log.write_text("".join(kept))
