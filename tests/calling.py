"""The ``liif`` command called in this process, and small pictures for it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from liif_engine import cli
from liif_engine.network import checkpoint
from tests.conftest import picture, tiny_network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    checkpoint.save(tiny_network(), path, {"task": "test"})
    return path


@pytest.fixture
def liif(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs a command in this process: (exit code, stdout, stderr)."""
    before = {which: signal.getsignal(which) for which in (signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments: object) -> tuple[int, str, str]:
        words = [str(a) for a in arguments]
        if words[0] == "restore" and "--model" not in words:
            words += ["--model", str(model)]
        monkeypatch.setattr(sys, "argv", ["liif", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(ended.value.code or 0), out, err

    yield run
    for which, handler in before.items():
        signal.signal(which, handler)


def jpeg(path: Path, width: int = 20, height: int = 12, **options: object) -> Path:
    Image.fromarray(picture(height, width)).save(path, "JPEG", **options)
    return path


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
