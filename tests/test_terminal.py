"""What is shown on a terminal: names as they are, one line each, and nothing that steers it."""

from __future__ import annotations

import io
import logging

import pytest
from rich.cells import cell_len
from rich.console import Console

from liif_engine import terminal
from liif_engine.errors import InputError


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a narrow terminal gets."""
    shown = io.StringIO()
    monkeypatch.setattr(terminal.console, "_file", shown)  # to put `file` back would fix it to this test's stderr
    monkeypatch.setattr(terminal.console, "_width", 40)
    return shown


def test_a_name_is_no_emoji_and_no_markup(seen: io.StringIO) -> None:
    terminal.show_error(InputError("is empty", path="a [red]:smile:.jpg"))
    assert "a [red]:smile:.jpg: is empty." in seen.getvalue()


def test_each_record_is_one_line_that_steers_nothing(seen: io.StringIO) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        terminal.show_logs(verbose=False)
        logging.getLogger("liif_engine.test").warning("%s is odd", "a long name, " * 9 + "\x1b[31m\n:smile:")
        logging.getLogger("liif_engine.test").info("not said")
    finally:
        logging.basicConfig(handlers=before, level=level, force=True)
    assert seen.getvalue().splitlines() == ["liif: " + "a long name, " * 9 + "\\x1b[31m\\n:smile: is odd"]


@pytest.mark.parametrize("width", [32, 50, 80])
def test_bars_fit_into_one_line_each(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(terminal, "console", console)
    batch = terminal.Batch(2.0, 2)
    with batch.picture("a long name of a photograph.jpg", 1.0) as report:
        report(0.5)
        console.print(batch.bars.get_renderable())
    both, one = shown.getvalue().splitlines()
    assert "25%" in both
    assert "50%" in one
    assert one.startswith("a lo")


def test_several_pictures_at_work_count_together() -> None:
    batch = terminal.Batch(4.0, 3)
    with batch.picture("one.jpg", 1.0) as one, batch.picture("two.jpg", 2.0) as two:
        one(0.5)
        two(0.5)
        assert batch.bars.tasks[batch.all].completed == 1.5
        one(0.75)
        assert batch.bars.tasks[batch.all].completed == 1.75
    assert batch.bars.tasks[batch.all].completed == 3


def test_names_at_the_bars_are_printable_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=shown, force_terminal=True, width=120, emoji=False))
    with terminal.Batch(2.0, 2) as batch, batch.picture("\x1b[31mred\n" + "x" * 60 + ".jpg", 1.0) as report:
        report(0.5)
        [name] = [task.description for task in batch.bars.tasks if task.description != "all"]
    assert name.startswith("\\x1b[31mred\\nx")
    assert len(name) <= 32
    assert "\x1b[31mred" not in shown.getvalue()


def test_names_of_wide_letters_leave_room_for_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "console", Console(file=io.StringIO(), force_terminal=True, width=80))
    with terminal.Batch(1.0, 1) as batch, batch.picture("a" + "写真" * 20 + ".jpg", 1.0):
        shown = batch.bars.tasks[-1].description
    assert cell_len(shown) <= 80 // 3
    assert (shown[:3], shown[-6:]) == ("a写真", "写真.jpg")


def test_a_sign_of_life_is_of_letters_that_the_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="backslashreplace", write_through=True)
    monkeypatch.setattr(terminal, "console", Console(file=shown, force_terminal=True, width=80))
    with terminal.busy("at work"):
        pass
    assert b" at work" in shown.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"\\u" not in shown.buffer.getvalue()  # type: ignore[attr-defined]
