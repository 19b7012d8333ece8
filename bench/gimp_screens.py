"""The screenshots of docs/gimp.md: menu, dialog, models, progress and result in a real GIMP with the real engine.

    python -m bench.gimp_screens PHOTO OUT [trixie|forky]

Any large photograph does: its middle is made small and saved as a JPEG of quality 25, as the web would have it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image

from tests.gimp import chroot
from tests.gimp.conftest import until
from tests.gimp.screen import Screen
from tests.service.conftest import Service

#: Of the small picture, and of GIMP's window. [pixels]
SIZE, WINDOW = (480, 320), (1100, 760)

DIALOG = "Restore and Enlarge"

#: Where the screen has the open list of models: left, top, right, bottom. [pixels]
MODELS = (0, 452, 540, 674)

#: GIMP draws the list without a word to anybody. [s]
LIST_SECONDS = 3

OPEN = "image = load('old photo.jpg'); Gimp.Display.new(image)"


def make_small(photo: Path, target: Path) -> None:
    """The middle of a photograph, small and damaged."""
    with Image.open(photo) as whole:
        height = min(whole.height, whole.width * SIZE[1] // SIZE[0]) * 3 // 4
        width = height * SIZE[0] // SIZE[1]
        left, top = (whole.width - width) // 2, (whole.height - height) // 2
        part = whole.convert("RGB").crop((left, top, left + width, top + height))
    part.resize(SIZE, Image.Resampling.LANCZOS).save(target, quality=25)


def take(screen: Screen, engine: Service) -> None:
    """Does what a person would, and a screenshot at each step."""
    before, after = (f"{scale * SIZE[0]}x{scale * SIZE[1]}" for scale in (1, 2))
    screen.gimp.do(OPEN, images="keep")
    until(lambda: screen.windows(before))
    screen.dismiss("Welcome to GIMP")
    screen.fill(before, WINDOW)
    screen.key("alt+r", "h")
    screen.shot("gimp-menu")
    screen.key("l")
    until(lambda: screen.windows(DIALOG))
    until(lambda: engine.client.status()["queue"]["done"] == 1, seconds=600)
    screen.shot("gimp-dialog", DIALOG)
    screen.focus(DIALOG)
    screen.key("alt+m", "alt+Down")
    time.sleep(LIST_SECONDS)
    screen.shot("gimp-models")
    screen.key("Escape")
    screen.key("Return")
    until(lambda: not screen.windows(DIALOG))
    until(lambda: engine.client.status()["queue"]["running"])
    until(lambda: engine.client.status()["queue"]["running"] and _share(screen), seconds=600)
    screen.shot("gimp-progress")
    until(lambda: screen.windows(after), seconds=600)
    screen.focus(after)
    screen.key("shift+ctrl+j")  # View > Zoom > Fit Image in Window
    screen.shot("gimp-result")


def make_smaller(file: Path, box: tuple[int, int, int, int] = (0, 0, *WINDOW)) -> None:
    """Without the screen around the window or the box, and with a palette."""
    with Image.open(file) as shot:
        part = shot.convert("RGB").crop((*box[:2], min(shot.width, box[2]), min(shot.height, box[3])))
    part.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def _share(screen: Screen) -> bool:
    """Whether the progress bar, which is blue, has begun to fill."""
    with Image.open(screen.shot("gimp-progress")) as shot:
        bar = shot.convert("RGB").crop((470, WINDOW[1] - 30, WINDOW[0] - 300, WINDOW[1]))
        return sum(blue > 180 and red < 90 for red, _, blue in bar.get_flattened_data()) > 500


def main(photo: Path, out: Path, suite: str) -> None:
    """All of it."""
    home = Path(tempfile.mkdtemp(prefix="liif-screens-"))
    (home / "run").mkdir(mode=0o700)
    make_small(photo, home / "old photo.jpg")
    engine = Service(str(home / "run"), {"workers": {"device": "cpu", "model": "auto"}})
    screen = Screen(home, chroot.make(suite), out)
    try:
        take(screen, engine)
        for name in ("gimp-menu", "gimp-progress", "gimp-result", "gimp-dialog"):
            make_smaller(out / f"{name}.png")
        make_smaller(out / "gimp-models.png", MODELS)
    finally:
        screen.end()
        engine.kill()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("suite", nargs="?", default="trixie", choices=chroot.SUITES)
    given = parser.parse_args()
    main(given.photo, given.out, given.suite)
