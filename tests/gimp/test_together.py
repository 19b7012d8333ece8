"""Two GIMPs and the daemon share one engine: all come to their end, and the people first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif_engine.picture import image_file

from ..service.conftest import Service
from .conftest import WORKERS, RealGimp, until

#: Pictures in the daemon's folder, and how long the engine needs for each. [s]
FILES, FILE_SECONDS = 16, 1

CALL = """
image = new_image(24, 24); layer = add_layer(image)
result = call(image, scale=2.0, model="slow:0.2")
answer = [result["status"], result.get("error"), size(layer)]
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for all of them, with pictures for the daemon."""
    folder = Path(tempfile.mkdtemp(prefix="liif-two-"))
    (folder / "run").mkdir(mode=0o700)
    (folder / "pictures").mkdir()
    for number in range(FILES):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.jpg")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def restored(place: Path) -> int:
    """How many of the daemon's pictures are done."""
    return sum(image_file.probe(file).width == 40 for file in (place / "pictures").glob("*.jpg"))


def test_two_gimps_and_the_daemon_at_once(gimp_folder: Path, place: Path) -> None:
    run = {"LIIF_RUNTIME_DIR": str(place / "run")}
    start = ["gimp-console", "-n", "-i"]
    service = Service(run["LIIF_RUNTIME_DIR"], {"workers": WORKERS})
    gimps = [RealGimp(place / name, gimp_folder, start, run, shared=place) for name in ("one", "two")]
    # Both have started before the daemon does, so that its work is not over by then.
    assert [gimp.do("answer = 1") for gimp in gimps] == [1, 1]
    words = ["run", str(place / "pictures"), "--scale", "2", "--model", f"slow:{FILE_SECONDS}", "--once", "--yes"]
    daemon = subprocess.Popen(
        [sys.executable, "-m", "liif_daemon", *words],
        env={**os.environ, **run, "XDG_STATE_HOME": str(place / "state"), "XDG_CONFIG_HOME": str(place / "config")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(lambda: restored(place) > 0)
        with ThreadPoolExecutor(2) as people:
            answers = list(people.map(lambda gimp: gimp.do(CALL), gimps))
        at_once = restored(place)
        said, _ = daemon.communicate(timeout=100)
        queue = service.client.status()["queue"]
    finally:
        for gimp in gimps:
            gimp.end()
        daemon.kill()
        daemon.communicate()
        service.kill()
    assert answers == [["success", None, [48, 48]]] * 2
    assert at_once < FILES, "the people had to wait for the whole backlog"
    assert daemon.returncode == 0, said
    assert f"{FILES} restored" in said
    assert restored(place) == FILES
    # All of it was done by one engine.
    assert (queue["done"], queue["failed"], queue["cancelled"]) == (FILES + 2, 0, 0)
