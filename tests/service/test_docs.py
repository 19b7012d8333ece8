"""docs/service.md is true: its shell examples run in order and print what it says, and its Python runs."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from liif_engine.service.job import RETRYABLE, error_dict
from liif_engine.service.request import FileRequest, ImageRequest, PixelRequest

from ..conftest import picture
from .conftest import ROOT, Service

TEXT = (ROOT / "docs" / "service.md").read_text("utf-8")
COPYING = {"device": "cpu", "engine": "liif_engine.workers.stand_in:Copying"}

#: Said between examples, to tell their outputs apart.
MARK = "--- the next example ---"


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="install curl and bash to run this")
def test_the_examples_do_what_they_say(tmp_path: Path) -> None:
    runtime = tempfile.mkdtemp(prefix="liif-")
    Image.fromarray(picture(48, 64)).save(tmp_path / "old.jpg")  # type: ignore[arg-type]
    service = Service(f"{runtime}/liif-restore", {"loopback": True, "workers": COPYING})
    environment = {**os.environ, "XDG_RUNTIME_DIR": runtime, "LC_ALL": "C"}
    environment.pop("LIIF_RUNTIME_DIR", None)
    examples = re.findall(r"```sh\n(.*?)```\n(?:```text\n(.*?)```)?", TEXT, re.DOTALL)
    script = f"\necho '{MARK}'\n".join(["set -euo pipefail", *(commands for commands, _ in examples)])
    try:
        done = subprocess.run(
            ["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100
        )
        python = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
        spoken = subprocess.run(
            [sys.executable, "-c", python], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
    finally:
        service.end()
        shutil.rmtree(runtime)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    outputs = done.stdout.split(MARK + "\n")[1:]
    assert len(outputs) == len(examples)
    for (commands, wanted), found in zip(examples, outputs, strict=True):
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(wanted, found, flags), f"{commands}\nprints\n{found}\nnot\n{wanted}"
    assert spoken.stdout.splitlines()[-1] == "128", spoken.stderr
    assert (tmp_path / "new.png").stat().st_size > 100


def test_every_field_of_a_job_is_told() -> None:
    table = TEXT.partition("## What a job may say")[2].partition("An unknown field")[0]
    for kind in (PixelRequest, ImageRequest, FileRequest):
        for name in kind.model_fields:
            assert f"`{name}`" in table, name


def test_every_option_of_the_command_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from liif_engine.cli import main; main()", "serve", "--help"],
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
        capture_output=True,
        text=True,
    )
    options = set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}
    assert options
    assert options <= set(re.findall(r"--[a-z-]+", TEXT))


def test_errors_have_the_fields_that_are_told() -> None:
    told = TEXT.partition("## Errors")[2]
    for name in error_dict(RETRYABLE[0]("x")):
        assert f"`{name}`" in told
