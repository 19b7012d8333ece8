"""The ways of restoring where nothing of POSIX is there; a stand-in for Windows, which no machine of ours has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux is what stands in for Windows")
def test_pictures_are_restored_and_come_back_where_nothing_of_posix_is(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    names = ["a.jpg", "c.png", "d.tiff", "deep/b.webp"]
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 255, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    script = Path(__file__).with_name("elsewhere.py")
    environment = {**os.environ, "LOCALAPPDATA": str(tmp_path / "local"), "APPDATA": str(tmp_path / "roaming")}
    done = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, timeout=110, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "restore": [0, 0, 0, 0],
        "out": ["b@2x.jpg", *names],
        "running": True,
        "second": "another liif-daemon works with this ledger",
        "status": True,
        "replaced": names,
        "changed": ["a.jpg"],
        "undo": 0,
        "back": True,
        "prune": 0,
        "kept": [],
        "read_only": [
            "is read-only, and Windows replaces no such file. Clear the read-only attribute in its properties, or by"
            " attrib -r, and try again.",
            "is read-only, and Windows replaces no such file",
        ],
        "bench": True,
        "flags": "8000200",  # no window, a group of its own
    }, done.stderr
