"""Batches call the procedure like any other: Scheme's, and the page's Python."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from . import chroot
from .conftest import RealGimp

PAGE = Path(__file__).parents[2] / "docs" / "gimp.md"
SCRIPT = """
(let* ((image (car (gimp-image-new 20 10 RGB)))
       (layer (car (gimp-layer-new image "photo" 20 10 RGB-IMAGE 100 LAYER-MODE-NORMAL))))
  (gimp-image-insert-layer image layer 0 0)
  (gimp-drawable-fill layer FILL-WHITE)
  (plug-in-liif-restore #:run-mode RUN-NONINTERACTIVE #:image image #:drawables (vector layer)
                        #:scale 3 #:model "copy" #:result "image")
  (gimp-message (string-append "result: " (number->string (car (gimp-image-get-width image)))
                               "x" (number->string (car (gimp-drawable-get-height layer))))))
"""


@pytest.mark.usefixtures("engine")
def test_script_fu_calls_the_procedure(gimp: RealGimp, gimp_folder: Path, home: Path) -> None:
    assert gimp.do("answer = 1") == 1  # the plug-in is installed and the profile is set up
    environment = {"HOME": str(home), "GIMP3_DIRECTORY": str(home / "profile"), "LIIF_RUNTIME_DIR": str(home / "run")}
    batch = ["gimp-console", "-n", "-i", "--batch-interpreter=plug-in-script-fu-eval", "-b", SCRIPT, "--quit"]
    command = chroot.command(gimp_folder, home, batch, environment)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "result: 60x30" in done.stdout + done.stderr


@pytest.mark.usefixtures("engine")
def test_the_page_s_python_example_runs(gimp: RealGimp) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    code = "image = new_image(24, 24); add_layer(image)\n" + example + "\nanswer = size(image)"
    assert gimp.do(code) == [24, 24]
