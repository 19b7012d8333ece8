"""What the tests of folders share: small pictures, a run by workers that copy pixels, its results, the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.archive.summary import Summary
from liif_engine.crew import Crew
from liif_engine.target import Target
from liif_engine.workers import WorkerSettings
from tests.conftest import picture

ROOT = Path(__file__).parents[2]
COPYING = WorkerSettings(device="cpu", model="copy", engine="liif_engine.workers.stand_in:Copying", attempts=2)
HERE = Crew("here")


def draw(path: Path, seed: int, width: int = 20, height: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(height, width, seed=seed)).save(path)  # type: ignore[arg-type]
    return path


def restore(
    source: Path, destination: Path, crew: Crew = HERE, settings: WorkerSettings = COPYING, **rest: Any
) -> Summary:
    order = {"target": Target(scale=2), "model": "copy", **rest}
    with Archive(Order(source, destination, **order)) as archive:
        archive.run(crew, settings)
    return archive.summary


def results(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".liif-restore.")
    }


def liif(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from liif_engine.cli import main; main()"
    command = [sys.executable, "-c", code, "restore", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=100, check=False)
