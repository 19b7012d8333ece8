"""Training runs on a network of a few hundred weights."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from liif_engine.lab import train as lab
from liif_engine.lab.pairs import is_held_out
from liif_engine.lab.settings import TrainSettings
from liif_engine.network import checkpoint
from tests.conftest import tiny_network
from tests.picture.photograph import photograph


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    names = [f"photo{number}.png" for number in range(60)]
    held_out, others = [n for n in names if is_held_out(n)][:2], [n for n in names if not is_held_out(n)][:3]
    for number, name in enumerate([*held_out, *others]):
        Image.fromarray(photograph(200, 200, seed=number)).save(folder / name)
    rows = ["file\tsource\tlicence", *(f"{name}\ta camera\tCC0" for name in [*held_out, *others])]
    (folder / "index.tsv").write_text("\n".join(rows))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # a tiny network is no faster on two, and sums in one order on one
    yield
    torch.set_num_threads(before)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    checkpoint.save(tiny_network(), path, {})
    return path


def settings(data: Path, out: Path, **changes: Any) -> TrainSettings:
    usual: dict[str, Any] = {"steps": 8, "batch": 2, "patch": 16, "queries": 24, "warm_up": 2, "log_steps": 1}
    usual |= {"start": "scratch", "channels": 6, "blocks": 1, "hidden": (10, 8), "validation_pictures": 2}
    usual |= {"device": "cpu", "precision": "fp32", "validate_minutes": 0, "rate": 1e-3}
    return TrainSettings(data=(data,), out=out, **usual | changes)


def run(chosen: TrainSettings) -> lab.TrainResult:
    return lab.train(chosen, Console(file=io.StringIO(), width=200))


def weights(state: Path) -> dict[str, bytes]:
    return {
        f"{file} {key}": value.numpy().tobytes()
        for file in ("weights", "moments")
        for key, value in load_file(state / f"{file}.safetensors").items()
    }


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
