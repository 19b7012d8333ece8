"""What each test of the daemon may ask for: a fresh workshop, and something that happens at a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from liif_daemon import steps

from .workshop import Workshop, ledgers_are_closed

__all__ = ["ledgers_are_closed"]  # a fixture


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def config(workshop: Workshop) -> Path:
    """A config.yaml of the workshop's own folder."""
    path = workshop.base / "config.yaml"
    path.write_text("daemon: {state: state}\nfolders:\n  - path: pictures\n", "utf-8")
    return path


@pytest.fixture
def on_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Does something once, when a step is reached."""

    def at(step: str, action: Callable[[], object]) -> None:
        left = [action]

        def reached(name: str) -> None:
            if name == step and left:
                left.pop()()

        monkeypatch.setattr(steps, "on_step", reached)

    return at
