"""What the dialog's preview says when its thread fails, without a GIMP: GTK is stood in for."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest

from liif_engine.service import client

FOLDER = "gimp_plugin.liif_restore"


@pytest.fixture
def preview(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The plug-in's module; what it hands to GTK's main loop is done at once."""
    repository = ModuleType("gi.repository")
    names = ("Babl", "Gdk", "GdkPixbuf", "Gegl", "Pango")
    vars(repository).update({name: SimpleNamespace() for name in names}, Gtk=SimpleNamespace(Box=object))
    vars(repository)["GLib"] = SimpleNamespace(idle_add=lambda call, *arguments: call(*arguments), SOURCE_REMOVE=False)
    monkeypatch.setitem(sys.modules, "gi", ModuleType("gi"))
    monkeypatch.setitem(sys.modules, "gi.repository", repository)
    monkeypatch.setitem(sys.modules, "client", client)
    for name in ("order", "models", "courier"):
        monkeypatch.setitem(sys.modules, name, importlib.import_module(f"{FOLDER}.{name}"))
    yield importlib.import_module(f"{FOLDER}.preview")
    del sys.modules[f"{FOLDER}.preview"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (client.ServiceError("the engine is odd", "Try again."), "The engine is odd"),
        (KeyError("model"), "There is no preview: unexpected KeyError: 'model'. Please report this."),
    ],
)
def test_an_error_ends_the_question_in_words(
    preview: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    said: list[str] = []
    told: list[Any] = []
    cleared = threading.Event()

    def fail(_: str) -> NoReturn:
        raise error

    monkeypatch.setattr(preview.courier, "make_client", fail)
    monkeypatch.setattr(threading, "excepthook", told.append)
    shown = SimpleNamespace(question=1, order=lambda: SimpleNamespace(device="auto"), after=SimpleNamespace())
    shown.words, shown.after.clear = SimpleNamespace(set_text=said.append), cleared.set
    shown._show = lambda *arguments: preview.Preview._show(shown, *arguments)
    before = set(threading.enumerate())
    preview.Preview._ask(shown, b"", (1, 1, 4), (1, 1))
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert cleared.is_set()
    assert said[0] == "Asking the engine…"
    assert said[1].startswith(words)
    # Whoever started GIMP in a terminal finds the traceback there.
    assert [one.exc_value for one in told] == ([] if isinstance(error, client.ServiceError) else [error])


@pytest.mark.parametrize(("heights", "side"), [([900], 240), ([1080, 741], 120), ([], 240)])
def test_the_pictures_are_small_where_a_screen_is_low(
    preview: ModuleType, monkeypatch: pytest.MonkeyPatch, heights: list[int], side: int
) -> None:
    """On a laptop of 1366x768 the dialog's buttons were below the screen's edge."""

    def monitor(number: int) -> SimpleNamespace:
        return SimpleNamespace(get_workarea=lambda: SimpleNamespace(height=heights[number]))

    display = SimpleNamespace(get_monitor=monitor, get_n_monitors=lambda: len(heights))
    found = SimpleNamespace(Display=SimpleNamespace(get_default=lambda: display))
    monkeypatch.setattr(preview, "Gdk", found)
    assert preview._side() == side
