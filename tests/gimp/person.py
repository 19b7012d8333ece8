"""What a person at the screen does and sees: the dialog from the menu, its preview, Cancel."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..service.conftest import Service
from .conftest import WORKERS, until
from .screen import Screen

TITLE = "Restore and Enlarge"

#: Width of the image, and what GIMP's window is then called: its title ends with the size.
BEFORE, AFTER = "320x240", "640x480"

#: The Cancel button in the status bar, from the window's right and lower edge. [pixels]
CANCEL = 277, 17

OPEN = """
image = new_image(320, 240)
layer = add_layer(image)
Gimp.Display.new(image)
"""

IMAGES = "answer = len(Gimp.get_images())"

LOOK = "image = Gimp.get_images()[0]; answer = [size(image), hash(pixels(image.get_layers()[0], None))]"


#: The dialog's own parts, in a process that has a screen, without a window.
PARTS = """
import sys
folder = os.environ["GIMP3_DIRECTORY"] + "/plug-ins/liif_restore"
sys.path[:0] = [] if folder in sys.path else [folder]
import dialog, gimp3
config = Gimp.get_pdb().lookup_procedure(gimp3.PROCEDURE).create_config()
"""


@pytest.fixture(scope="module")
def gui_home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="liif-gui-"))
    (folder / "run").mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine_of(gui_home: Path) -> Iterator[Callable[[str], Service]]:
    """Starts the engine that this GIMP finds, with a model of the faulty stand-in by default."""
    started: list[Service] = []

    def start(model: str) -> Service:
        started.append(Service(str(gui_home / "run"), {"workers": {**WORKERS, "model": model}}))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        if one.process.stderr is not None:
            one.process.stderr.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are left: $LIIF_SCREENSHOTS, or the temporary folder."""
    given = os.environ.get("LIIF_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def screen(gimp_folder: Path, gui_home: Path, shots: Path) -> Iterator[Screen]:
    """A GIMP with an image open, as large as the screen."""
    one = Screen(gui_home, gimp_folder, shots)
    one.gimp.do(OPEN, images="keep")
    until(lambda: one.windows(BEFORE))
    one.dismiss("Welcome to GIMP")
    one.fill(BEFORE)
    yield one
    one.end()


def _press_cancel(screen: Screen) -> None:
    """Clicks where the status bar has its Cancel button."""
    x, y, width, height = screen.place(BEFORE) if screen.windows(BEFORE) else screen.place(AFTER)
    screen.click(x + width - CANCEL[0], y + height - CANCEL[1])


def _open_dialog(screen: Screen) -> None:
    _open_menu(screen, "l")
    until(lambda: screen.windows(TITLE))


def _open_menu(screen: Screen, key: str) -> None:
    """Filters > Enhance > Restore and Enlarge (LIIF)... or Show the Evidence..., by the keys that are underlined."""
    screen.focus(BEFORE)
    screen.key("alt+r")
    screen.key("h")
    screen.shot("menu")
    screen.key(key)


def _accept(screen: Screen) -> None:
    screen.focus(TITLE)
    screen.key("Return")
    until(lambda: not screen.windows(TITLE))
