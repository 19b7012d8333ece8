"""The commands of docs/training.md are commands, and what it says of `fast` is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from liif_engine.lab.settings import TrainSettings, parse
from liif_engine.network import checkpoint
from liif_engine.network.grid import sides
from liif_engine.network.model import EdsrLiif

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()


def commands() -> list[TrainSettings]:
    lines = re.findall(r"python -m liif_engine\.lab\.train (--.*)", PAGE)
    return [parse(shlex.split(line)) for line in lines]


def test_every_command_is_understood() -> None:
    assert len(commands()) >= 2
    for settings in commands():
        assert settings.session_minutes < 10


def work(model: EdsrLiif, scale: int) -> float:
    """Multiply-adds per output pixel."""
    return model.encoder_work / scale**2 + sides(1, scale) ** 2 * model.answer_work


@pytest.mark.parametrize(("scale", "least"), [(1, 1), (2, 4), (4, 8)])
def test_fast_does_as_little_work_as_it_says(scale: int, least: float) -> None:
    ratio = work(checkpoint.load("web"), scale) / work(checkpoint.load("fast"), scale)
    assert ratio >= least
    assert re.search(rf"\| x{scale} \|.* {ratio:.1f} \|", PAGE)
