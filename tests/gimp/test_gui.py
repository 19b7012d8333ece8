"""A person at the screen: menu, dialog with its preview, progress, undo, and the evidence in the browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from ..service.conftest import Service
from .conftest import standing_in, until
from .person import (
    AFTER,
    BEFORE,
    IMAGES,
    LOOK,
    PARTS,
    TITLE,
    _accept,
    _open_dialog,
    _open_menu,
    _press_cancel,
    engine_of,
    gui_home,
    screen,
    shots,
)
from .screen import Screen

__all__ = ["engine_of", "gui_home", "screen", "shots"]  # fixtures

#: The middles of the dialog's pictures, and where it is empty. [pixels]
BEFORE_AT, AFTER_AT, EMPTY_AT = (144, 164), (396, 164), (8, 300)

#: The colour of a layer.
COVER = 0, 200, 0

#: A browser that writes down what it was opened with.
BROWSER = """[Desktop Entry]
Type=Application
Name=Browser
Exec=sh -c 'env > {home}/browser.env; echo "$0" > {home}/browser.url' %u
MimeType=text/html;
"""


def test_menu_dialog_progress_result_and_undo(screen: Screen, engine_of: Callable[[str], Service], shots: Path) -> None:
    # Two seconds a picture leave time for a look at the progress.
    engine = engine_of("slow:2")
    before = screen.gimp.do(LOOK, images="keep")
    _open_dialog(screen)
    screen.shot("menu-and-dialog")
    # The preview is a job of its own.
    until(lambda: engine.client.status()["queue"]["done"] == 1)
    dialog = screen.shot("dialog", TITLE)
    picture = Image.open(dialog).convert("RGB")
    assert len(picture.getcolors(1 << 24)) > 100
    # Where GIMP puts Help, of which its manual has no page.
    assert len(picture.crop((5, picture.height - 60, 140, picture.height - 5)).getcolors(1 << 24)) == 1
    _accept(screen)
    until(lambda: engine.client.status()["queue"]["running"])
    screen.shot("progress")
    until(lambda: screen.windows(AFTER))
    screen.shot("result")
    size, after = screen.gimp.do(LOOK, images="keep")
    assert size == [640, 480]
    screen.focus(AFTER)
    screen.key("ctrl+z")
    until(lambda: screen.windows(BEFORE))
    assert screen.gimp.do(LOOK, images="keep") == before
    screen.key("ctrl+y")
    until(lambda: screen.windows(AFTER))
    assert screen.gimp.do(LOOK, images="keep") == [[640, 480], after]
    screen.key("ctrl+z")
    until(lambda: screen.windows(BEFORE))
    assert {path.stem for path in shots.glob("*.png")} >= {"menu-and-dialog", "dialog", "progress", "result"}


def test_the_preview_is_by_the_fast_model(screen: Screen, engine_of: Callable[[str], Service]) -> None:
    """The engine's own model would take a minute."""
    engine = engine_of("slow:60")
    _open_dialog(screen)
    until(lambda: engine.client.status()["queue"]["done"] == 1)
    screen.shot("dialog-with-fast", TITLE)
    screen.focus(TITLE)
    screen.key("Escape")
    until(lambda: not screen.windows(TITLE))
    assert "fast" in engine.client.status()["workers"][0]["models"]


def test_what_is_refused_for_its_layers_is_said_at_once(screen: Screen) -> None:
    code = """
image = new_image(40, 30)
words = dialog._outcome_words(config, image, [], gimp3.order_of)
answer = [words.get_text()]
text = Gimp.TextLayer.new(image, "old", Gimp.context_get_font(), 20, Gimp.Unit.pixel())
image.insert_layer(text, None, 0)
for layers in ("chosen", "merged", "every"):
    config.set_property("layers", layers)
    answer.append(words.get_text())
text.set_visible(False); config.set_property("layers", "merged"); answer.append(words.get_text())
add_layer(image); config.set_property("layers", "every"); answer.append(words.get_text())
image.delete()
"""
    said = screen.gimp.do(PARTS + code, images="keep")
    grows = "40 × 30 becomes 80 × 60 pixels."  # noqa: RUF001
    assert said[0] == "The image has no layers: add a layer with a picture first"
    assert said[1] == said[3] == "No layer holds pixels: choose a layer with a picture"
    assert said[4] == "No layer is visible: show the layers that are to be restored"
    assert said[2] == said[5] == grows


def test_the_preview_is_of_what_is_merged_where_that_is_chosen(
    screen: Screen, engine_of: Callable[[str], Service]
) -> None:
    """A layer covers the active one; then it is hidden, and the active one too."""
    engine = engine_of("copy")
    cover = "cover = add_layer(image, 'cover', data=bytes([0, 200, 0]) * (320 * 240), format=\"R'G'B' u8\")"
    screen.gimp.do(f"image, = Gimp.get_images(); layer, = image.get_layers(); {cover}", images="keep")
    screen.gimp.do("image, = Gimp.get_images(); image.set_selected_layers(image.get_layers()[1:])", images="keep")
    _open_dialog(screen)
    until(lambda: engine.client.status()["queue"]["done"] == 1)
    assert COVER not in _previewed(screen, "dialog-active")
    _choose_merged(screen)
    until(lambda: engine.client.status()["queue"]["done"] == 2)
    until(lambda: _previewed(screen, "dialog-merged")[:2] == [COVER, COVER])
    assert screen.gimp.do(IMAGES, images="keep") == 1
    screen.gimp.do("[x.set_visible(False) for x in Gimp.get_images()[0].get_layers()]", images="keep")
    # Another piece is asked for.
    left, top, *_ = screen.place(TITLE)
    screen.drag(left + BEFORE_AT[0], top + BEFORE_AT[1], left + BEFORE_AT[0] + 9, top + BEFORE_AT[1])
    refused = until(lambda: len({*_previewed(screen, "dialog-refused")}) == 1)
    screen.key("Escape")
    until(lambda: not screen.windows(TITLE))
    screen.gimp.do(
        "image, = Gimp.get_images(); image.remove_layer(image.get_layers()[0])\n"
        "image.get_layers()[0].set_visible(True); image.set_selected_layers(image.get_layers())",
        images="keep",
    )
    assert refused
    assert engine.client.status()["queue"]["done"] == 2


def test_what_the_preview_cannot_show_is_said_in_its_place(screen: Screen) -> None:
    code = """
import hashlib
from order import Order
image = new_image(300, 200); below = add_layer(image); cover = add_layer(image, alpha=True, size=(20, 20), at=(140, 90))
count, now = len(Gimp.get_images()), [Order()]
preview = dialog._preview(image, [below], lambda: now[0], print)
def shown():
    preview.refresh()
    picture = preview.before.get_pixbuf()
    return [picture and hashlib.sha256(picture.get_pixels()).hexdigest(), preview.words.get_text()]
answer = [shown()]
now[0] = Order(layers="merged"); answer.append(shown())
below.set_visible(False); answer.append(shown())
cover.set_visible(False); answer.append(shown())
cover.set_visible(True); cover.set_offsets(-20, 0); answer.append(shown())
now[0] = Order(); answer.append(shown())
answer = [answer, len(Gimp.get_images()) - count]
preview.destroy(); image.delete()
"""
    (layer, merged, less, hidden, outside, again), more = screen.gimp.do(PARTS + code, images="keep")
    assert None not in {layer[0], merged[0], less[0], again[0]}
    assert len({one[0] for one in (layer, merged, less)}) == 3
    assert hidden == [None, "No layer is visible: show the layers that are to be restored"]
    assert outside[0] is None
    assert outside[1].startswith("What is visible lies outside the image")
    assert more == 0


def test_the_evidence_is_shown_in_the_browser(screen: Screen) -> None:
    applications = screen.home / ".local" / "share" / "applications"
    applications.mkdir(parents=True)
    (applications / "browser.desktop").write_text(BROWSER.format(home=screen.home))
    (applications / "mimeapps.list").write_text("[Default Applications]\ntext/html=browser.desktop\n")
    asked, url = screen.home / "stand-in" / "asked.json", screen.home / "browser.url"
    with standing_in(screen.gimp) as folder:
        (folder / "wait").touch()
        _open_menu(screen, "v")
        until(asked.exists)

        def press_cancel() -> bool:
            _press_cancel(screen)
            return not screen.gimp.plug_ins()

        screen.shot("evidence-progress")
        until(press_cancel)
        assert not url.exists()
        asked.unlink()
        _open_menu(screen, "v")
        until(asked.exists)
        (folder / "wait").unlink()
        until(url.exists)
        until(url.read_text)
    report = Path(url.read_text().strip().removeprefix("file://"))
    assert "evidence" in report.read_text()
    assert "GIMP3_DIRECTORY" not in (screen.home / "browser.env").read_text()


def test_a_decimal_point_may_be_a_comma_too(screen: Screen, engine_of: Callable[[str], Service]) -> None:
    """The last of these tests, as GIMP remembers the scale. It was 16 for 3,5, and in a German GIMP for 3.5."""
    engine_of("copy")
    _open_dialog(screen)
    screen.focus(TITLE)
    # Of the first Return GIMP makes 3.50.
    screen.key("alt+a", "ctrl+a", "3", "comma", "5", "Return", "Return")
    until(lambda: screen.windows("1120x840"))


def _previewed(screen: Screen, name: str) -> list[tuple[int, ...]]:
    """The colours in the middle of the dialog's two pictures and beside them, without what GTK rounds away."""
    with Image.open(screen.shot(name, TITLE)) as shot:
        found = [shot.convert("RGB").getpixel(place) for place in (BEFORE_AT, AFTER_AT, EMPTY_AT)]
    return [tuple(round(value, -1) for value in one) for one in found]


def _choose_merged(screen: Screen) -> None:
    """The last of the Layers."""
    screen.focus(TITLE)
    screen.key("alt+y", "alt+Down", "Down", "Down", "Return")
