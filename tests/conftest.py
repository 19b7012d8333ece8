"""What several test modules share: tiny random networks, plain pictures, the shared image folder."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from liif_engine.network.model import EdsrLiif

#: Of each node of the Ray cluster of the tests; workers there find the engines that fail on purpose.
NODE = {
    "include_dashboard": False,
    "object_store_memory": 80 << 20,
    "env_vars": {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    },
}


def tiny_network(seed: int = 0, *, channels: int = 8, blocks: int = 1, hidden: tuple[int, ...] = (12, 16)) -> EdsrLiif:
    """A random EDSR-LIIF that answers in microseconds, with an output that is neither flat nor clamped."""
    torch.manual_seed(seed)
    model = EdsrLiif(channels, blocks, hidden)
    with torch.no_grad():
        model.imnet.linears[-1].weight.mul_(3)
    return model.eval().requires_grad_(False)


def picture(height: int, width: int, channels: int = 3, *, seed: int = 0, dtype: str = "uint8") -> NDArray[np.generic]:
    """A random picture, (height, width, channels)."""
    random = np.random.default_rng(seed)
    if dtype == "float32":
        return random.random((height, width, channels), np.float32)
    return random.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def close_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """No config.yaml may be read, not even by root, who may read all."""
    read = Path.read_text

    def closed(path: Path, *rest: Any, **more: Any) -> str:
        if path.name == "config.yaml":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(path, *rest, **more)

    monkeypatch.setattr(Path, "read_text", closed)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)


@pytest.fixture
def network() -> EdsrLiif:
    return tiny_network()


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command that a test runs in this process sends the log where it likes, which the next test is not to hear."""
    root = logging.getLogger()
    handlers, level, raises = [*root.handlers], root.level, logging.raiseExceptions
    yield
    for handler in [one for one in root.handlers if one not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.raiseExceptions = raises


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """A shell starts what it puts into the background with Ctrl+C ignored, which the tests' commands would inherit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def test_images() -> Path:
    """The shared test pictures, where there are any."""
    folder = os.environ.get("LIIF_DATA")
    if folder is None:
        pytest.skip("set LIIF_DATA to a folder that holds test/Set5 and test/Set14 to run this")
    return Path(folder) / "test"


@pytest.fixture(autouse=True)
def own_configuration(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's own config.yaml."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A real Ray cluster of this machine, as Ray's own tests use: a head without workers, and two nodes of one core.

    One for the whole session, since it takes seconds to start. Tests that kill nodes add them first.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="pip install 'liif-restore[ray]' to run this")
    one = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    for _ in range(2):
        one.add_node(num_cpus=1, **NODE)
    yield one
    one.shutdown()
