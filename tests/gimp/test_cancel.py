"""A person at the screen who ends the work: by Cancel, at any moment, or by closing the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..service.conftest import Service
from .conftest import until
from .person import (
    AFTER,
    BEFORE,
    IMAGES,
    LOOK,
    OPEN,
    TITLE,
    _accept,
    _open_dialog,
    _press_cancel,
    engine_of,
    gui_home,
    screen,
    shots,
)
from .screen import Screen

__all__ = ["engine_of", "gui_home", "screen", "shots"]  # fixtures

#: Before which line the plug-in is held up: nothing has changed yet; the layer is nearly gone, to be filled again.
LAST_MOMENT = "    progress.end()\n"
HALF_MADE = "    image.scale(*order.size(image.get_width(), image.get_height()))\n"

WAIT = """
    import pathlib, time
    (pathlib.Path({home!r}) / "held").touch()
    while not (pathlib.Path({home!r}) / "go").exists():
        time.sleep(0.05)
"""


@pytest.fixture
def without_fast(screen: Screen) -> Iterator[None]:
    """An engine that does not offer `fast`, so that the preview is by its own model."""
    client = screen.home / "profile" / "plug-ins" / "liif_restore" / "client" / "client.py"
    kept, models = client.read_text(), 'return self._call("GET", "/v1/models")["models"]'
    assert kept.count(models) == 1
    hidden = models.replace("return ", "return [row for row in ") + ' if row["name"] != "fast"]'
    client.write_text(kept.replace(models, hidden))
    yield
    client.write_text(kept)


@pytest.mark.usefixtures("without_fast")
def test_cancel_stops_the_engine_and_leaves_the_image(screen: Screen, engine_of: Callable[[str], Service]) -> None:
    engine = engine_of("slow:60")

    def jobs(state: str) -> int:
        return int(engine.client.status()["queue"][state])

    unchanged = screen.gimp.do(LOOK, images="keep")
    _open_dialog(screen)
    until(lambda: jobs("running"))
    _accept(screen)
    # The preview's job ends with the dialog, and the image's begins.
    until(lambda: jobs("cancelled") == 1)
    until(lambda: jobs("running"))

    def press_cancel() -> bool:
        _press_cancel(screen)
        return jobs("cancelled") == 2

    until(press_cancel)
    until(lambda: not screen.gimp.plug_ins())
    assert jobs("done") == 0
    assert engine.client.status()["memory"]["held_bytes"] == 0
    assert screen.gimp.do(LOOK, images="keep") == unchanged
    assert unchanged[0] == [320, 240]


def test_cancel_at_the_last_moment_leaves_the_image(screen: Screen, engine_of: Callable[[str], Service]) -> None:
    engine_of("copy")
    unchanged = screen.gimp.do(LOOK, images="keep")
    with _held(screen, LAST_MOMENT) as held:
        _open_dialog(screen)
        _accept(screen)
        until(held.exists)

        def press_cancel() -> bool:
            _press_cancel(screen)
            return not screen.gimp.plug_ins()

        until(press_cancel)
    assert screen.gimp.do(LOOK, images="keep") == unchanged
    assert screen.gimp.do(IMAGES, images="keep") == 1
    assert screen.windows(BEFORE)


def test_cancel_has_gone_before_the_image_changes(screen: Screen, engine_of: Callable[[str], Service]) -> None:
    """Half a change is never left behind: who clicks where the button was gets all of it, in one step of undo."""
    engine_of("copy")
    before = screen.gimp.do(LOOK, images="keep")
    with _held(screen, HALF_MADE) as held:
        _open_dialog(screen)
        _accept(screen)
        until(held.exists)
        half = screen.shot("half-made")
        for _ in range(5):
            _press_cancel(screen)
        (plug_in,) = screen.gimp.plug_ins()
    until(lambda: not screen.gimp.plug_ins())
    until(lambda: screen.windows(AFTER))
    assert plug_in
    assert half.exists()
    size, pixels = screen.gimp.do(LOOK, images="keep")
    assert size == [640, 480]
    assert pixels != before[1]
    screen.focus(AFTER)
    screen.key("ctrl+z")
    until(lambda: screen.windows(BEFORE))
    assert screen.gimp.do(LOOK, images="keep") == before


def test_an_image_that_is_closed_ends_the_work(screen: Screen, engine_of: Callable[[str], Service]) -> None:
    """The last of these tests of that image, which is gone then."""
    engine = engine_of("slow:60")
    # Else GIMP would ask whether to save it.
    screen.gimp.do("answer = [image.clean_all() for image in Gimp.get_images()]", images="keep")
    _open_dialog(screen)
    until(lambda: engine.client.status()["queue"]["done"] == 1)
    # From the field of the model, where a person may have written a path.
    screen.focus(TITLE)
    screen.key("alt+m", "Return")
    until(lambda: not screen.windows(TITLE))
    until(lambda: engine.client.status()["queue"]["running"])
    screen.focus(BEFORE)
    screen.key("ctrl+w")
    until(lambda: not screen.windows(BEFORE))
    screen.shot("closed")
    until(lambda: not screen.gimp.plug_ins(), seconds=30)
    until(lambda: engine.client.status()["queue"]["cancelled"] == 1)
    assert engine.client.status()["memory"]["held_bytes"] == 0
    assert screen.gimp.do(IMAGES, images="keep") == 0
    screen.shot("closed-and-over")


def test_a_dialog_ends_with_its_image_and_says_nothing_of_a_layer_that_was_deleted(
    screen: Screen, engine_of: Callable[[str], Service]
) -> None:
    engine = engine_of("copy")
    said = screen.gimp.log.stat().st_size
    if not screen.gimp.do(IMAGES, images="keep"):
        screen.gimp.do(OPEN, images="keep")
        until(lambda: screen.windows(BEFORE))
        screen.fill(BEFORE)
    _open_dialog(screen)
    until(lambda: engine.client.status()["queue"]["done"] == 1)
    gone = "image, = Gimp.get_images(); layer, = image.get_layers(); add_layer(image); image.remove_layer(layer)"
    screen.gimp.do(f"{gone}; image.clean_all()", images="keep")
    left, top, *_ = screen.place(TITLE)
    screen.drag(left + 100, top + 150, left + 140, top + 170)
    screen.shot("dialog-without-layer")
    screen.focus(BEFORE)
    screen.key("ctrl+w")
    until(lambda: not screen.gimp.plug_ins(), seconds=30)
    screen.shot("dialog-over")
    assert not screen.windows(TITLE)
    assert not screen.windows("GIMP Message")
    assert b"Traceback" not in screen.gimp.log.read_bytes()[said:]


@contextmanager
def _held(screen: Screen, line: str) -> Iterator[Path]:
    """Holds the plug-in up before a line of its own until the end; gives the file that tells it is there."""
    file = screen.home / "profile" / "plug-ins" / "liif_restore" / "change_image.py"
    kept = file.read_text()
    assert kept.count(line) == 1
    wait = WAIT.format(home=str(screen.home))
    file.write_text(kept.replace(line, wait + line))
    held, go = screen.home / "held", screen.home / "go"
    try:
        yield held
    finally:
        go.touch()
        until(lambda: not screen.gimp.plug_ins())
        file.write_text(kept)
        held.unlink(missing_ok=True)
        go.unlink()
