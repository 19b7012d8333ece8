"""A folder of originals, and a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.archive.folders import draw


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six pictures in three folders, one of them broken, and a file that is no picture."""
    folder = tmp_path / "old"
    for number, name in enumerate(["a.jpg", "b.png", "deep/c.jpg", "deep/er/d.bmp", "e.webp"]):
        draw(folder / name, number)
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a picture")
    draw(folder / ".hidden.jpg", 9)
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    from liif_engine.network import checkpoint
    from tests.conftest import tiny_network

    path = tmp_path / "tiny.safetensors"
    checkpoint.save(tiny_network(), path, {})
    return path
