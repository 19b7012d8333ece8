"""`liif-daemon status`: each file once, what is known of it, and nothing that is not."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import cli, examine, places
from liif_daemon.engine import EngineError, Order, ServiceEngine
from liif_daemon.failures import in_words
from liif_daemon.status import ROWS, gather, render
from liif_daemon.why import why
from liif_daemon.workplace import workplace_for
from rich.console import Console

from liif_engine.errors import ExitCode
from liif_engine.target import Target

from .workshop import Answering, Copying, Workshop, draw, size_of


def status(workshop: Workshop) -> dict[str, Any]:
    ledger = workshop.ledger()
    try:
        return gather(workshop.settings(), ledger)
    finally:
        ledger.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit in bytes")
def test_a_name_too_long_for_a_result_beside_it_fails_that_size_alone_and_for_good(workshop: Workshop) -> None:
    most = os.pathconf(workshop.folder, "PC_NAME_MAX")
    path = workshop.folder / ("n" * (most - 4) + ".jpg")
    draw(path, 1)
    assert workshop.once(scales=[2, 3]) == {"done": 1, "failed": 1}
    assert size_of(path) == (40, 32)
    (failure,) = status(workshop)["failures"]
    assert (failure["path"], failure["attempts"]) == (str(path), 0)
    assert failure["reason"].startswith("at 3x: the name of its result")
    assert f"would be too long ({most + 3} bytes of {most})" in failure["reason"]
    assert isinstance(workshop.engine, Copying)
    assert [order.target for order in workshop.engine.orders] == [Target(scale=2)]


def test_status_names_a_failed_file_once_with_its_sizes(workshop: Workshop) -> None:
    def refuse(order: Order) -> None:
        raise EngineError(f"no {order.source.stem}", "refused")

    workshop.engine = Copying(refuse)
    for name in "ab":
        draw(workshop.folder / f"{name}.jpg", ord(name))
    assert workshop.once(scales=[2, 3]) == {"failed": 4}
    found = {Path(row["path"]).name: row["reason"] for row in status(workshop)["failures"]}
    assert found == {"a.jpg": "no a", "b.jpg": "no b"}
    assert {row["target"] for row in status(workshop)["failures"]} == {"2x and 3x"}


def test_status_says_of_a_failure_what_is_known_of_it(workshop: Workshop) -> None:
    """No size of a file that is no picture, none of a result that there is not, and as many tries as were made."""
    workshop.daemon_values["max_attempts"] = 3

    def fail(order: Order) -> None:
        raise EngineError("no luck", "refused" if order.source.stem == "refused" else "again")

    workshop.engine = Copying(fail)
    (workshop.folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    draw(workshop.folder / "refused.jpg", 1)
    draw(workshop.folder / "crashed.jpg", 2)
    assert workshop.once() == {"failed": 3}
    found = {Path(row["path"]).stem: row for row in status(workshop)["failures"]}
    assert {name: (row["attempts"], row["size"]) for name, row in found.items()} == {
        "broken": (0, None),
        "refused": (1, "20x16"),
        "crashed": (3, "20x16"),
    }
    assert {row["seconds"] for row in found.values()} == {None}
    draw(workshop.folder / "later.jpg", 3)
    workshop.engine = Copying()
    workshop.once()
    ledger = workshop.ledger()
    ledger.finish(ledger.jobs(state="done")[0], "failed", "tried again, and failed", counts=True)
    ledger.close()
    (later,) = (row for row in status(workshop)["failures"] if row["path"].endswith("later.jpg"))
    assert (later["size"], later["seconds"]) == ("20x16", None), "what an earlier result was like is no news"
    assert found["crashed"]["reason"] == "no luck (given up after 3 tries)"


def test_status_speaks_of_no_more_failures_where_it_shows_every_file(workshop: Workshop) -> None:
    for number in range(ROWS):
        (workshop.folder / f"{number}.jpg").write_bytes(bytes([255, 216, 255, number]))
    assert workshop.once(scales=[2, 3]) == {"failed": 2 * ROWS}
    said = io.StringIO()
    Console(file=said, width=200).print(render(status(workshop)))
    assert "the latest" not in said.getvalue()


def test_status_says_where_the_failures_are_that_it_does_not_show(workshop: Workshop) -> None:
    for count, more in ((ROWS, False), (ROWS + 1, True)):
        (workshop.folder / f"{count}.jpg").write_bytes(bytes([255, 216, 255, count]))
        for number in range(ROWS - 1):
            (workshop.folder / f"{number}.jpg").write_bytes(bytes([255, 216, 255, 100 + number]))
        assert workshop.once() == {"failed": count}
        said = io.StringIO()
        Console(file=said, width=200).print(render(status(workshop)))
        assert ("(the latest 8; `liif-daemon review` shows all)" in said.getvalue()) is more


def test_a_result_whose_making_was_not_timed_is_shown_without_a_time(workshop: Workshop) -> None:
    """As one that a daemon finished which had been killed amid the work."""
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    ledger = workshop.ledger()
    ledger.finish(ledger.jobs()[0], "done", "finished after an interruption")
    ledger.close()
    found = status(workshop)
    assert found["last_results"][0]["seconds"] is None
    said = io.StringIO()
    Console(file=said, width=200).print(render(found))
    assert "a.jpg  20x16 -> 40x32 by copy\n" in said.getvalue()


def test_status_tells_what_waits_in_folders_that_nobody_watches_any_more(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not count in what is left to do, and does not vanish either."""
    path, now = workshop.folder / "a.jpg", workshop.folder.with_name("now")
    draw(path, 1, 200, 160)
    now.mkdir()
    ledger, settings = workshop.ledger(), workshop.settings()
    (folder,) = settings.folders
    examine.record(path, folder, settings, ledger, examine.examine(path, folder, settings, ledger))
    assert gather(settings, ledger)["waiting_megapixels"] > 0
    assert gather(settings, ledger)["waiting_elsewhere"] == []
    moved_on = replace(settings, folders=[folder.model_copy(update={"path": now})])
    found = gather(moved_on, ledger)
    assert gather(replace(settings, folders=[]), ledger)["waiting_elsewhere"] == [], "the next run may name it"
    named = {"pid": 1, "folders": [{"path": str(workshop.folder), "how": "events"}]}
    monkeypatch.setattr("liif_daemon.progress.read", lambda _: named)
    assert gather(moved_on, ledger)["waiting_elsewhere"] == [], "the running daemon watches it, as it was told to"
    ledger.close()
    assert found["waiting_megapixels"] == 0
    assert found["waiting_elsewhere"] == [{"path": str(workshop.folder), "jobs": 1}]
    said = io.StringIO()
    Console(file=said, width=200).print(render(found))
    assert f"1 of these wait in {workshop.folder}, which is not watched now" in said.getvalue()
    assert "megapixels wait" not in said.getvalue()


def test_status_tells_of_what_waits_for_a_reason_however_much_waits_for_its_turn(workshop: Workshop) -> None:
    paths = [workshop.folder / f"{number:02}.jpg" for number in range(20)]
    for number, path in enumerate(paths):
        draw(path, number)
    ledger, settings = workshop.ledger(), workshop.settings()
    for path in paths:
        examine.record(
            path, settings.folders[0], settings, ledger, examine.examine(path, settings.folders[0], settings, ledger)
        )
        if path is paths[0]:
            ledger.wait(ledger.claim()[0], "the disk is full", 60, counts=False)
    ledger.close()
    assert [(row["path"], row["reason"]) for row in status(workshop)["waiting"]] == [
        (str(paths[0]), "the disk is full")
    ]


def test_ctrl_c_ends_the_live_view_as_it_says_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    config = tmp_path / "config.yaml"
    config.write_text("daemon:\n  state: state\n", "utf-8")
    monkeypatch.setattr("sys.argv", ["liif-daemon", "status", "--live", "--config", str(config)])
    monkeypatch.setattr("liif_daemon.cli.time.sleep", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == ExitCode.OK
    said = capsys.readouterr()
    assert "The daemon is not running" in said.out
    assert said.err == ""


def test_a_failure_names_no_file_of_a_folder_that_is_gone_by_then(workshop: Workshop) -> None:
    kept = workshop.store.path_of("ab" * 32)
    refused = PermissionError(
        errno.EPERM, "Operation not permitted", workplace_for(workshop.folder / "a.jpg") / "x.jpg"
    )
    assert in_words(refused, workshop.store)[0].endswith("lsattr")
    refused.filename = str(refused.filename)
    assert in_words(refused, workshop.store)[0].endswith("lsattr")
    refused.filename = str(kept)
    assert str(kept) in in_words(refused, workshop.store)[0]


def test_the_seconds_of_a_result_are_those_that_the_engine_worked(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    """Not those until it had started, or until a folder was there again."""

    class Starting(Answering):
        def ensure_running(self) -> dict[str, Any]:
            time.sleep(0.3)
            return super().ensure_running()

        def submit_file(self, *paths: Any, **_: object) -> Answering:
            Copying().restore(Order(*paths, Target(scale=2), "web", 95, "auto", 60), lambda _: None)
            return self

    path = workshop.folder / "a.jpg"
    draw(path, 1)
    engine = ServiceEngine(str(workshop.base))
    engine.client = Starting({"work_seconds": 0.125})  # type: ignore[assignment]
    workshop.engine = engine
    with caplog.at_level("INFO"):
        assert workshop.once() == {"done": 1}
    ledger = workshop.ledger()
    assert [row["seconds"] for row in gather(workshop.settings(), ledger)["last_results"]] == [0.125]
    ledger.close()
    assert f"{path}: restored to 40x32 by web in 0.1 s" in caplog.messages


def test_nothing_is_called_at_work_where_no_daemon_runs(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    settings, ledger = workshop.settings(), workshop.ledger()
    found = examine.examine(path, settings.folders[0], settings, ledger)
    assert examine.record(path, settings.folders[0], settings, ledger, found)
    assert gather(settings, ledger)["waiting_megapixels"] == 0.00032
    ledger.claim()

    def said() -> str:
        shown = io.StringIO()
        Console(file=shown, width=200).print(render(gather(settings, ledger)))
        lines = [*why(path, settings, ledger, workshop.store), *why(path.parent, settings, ledger, workshop.store)]
        return "\n".join([shown.getvalue(), *lines])

    with places.held(settings.daemon.state_folder / "daemon.lock"):
        assert "is being restored (at 2x)" in said()
        assert "1 being restored" in said()
    after = said()
    assert "0 queued, 1 interrupted, 0 done" in after
    assert "was being restored when the daemon ended; its next run takes it up again (at 2x)" in after
    assert "watched: 1 interrupted" in after
    assert "is being" not in after
    ledger.close()


def test_few_small_pictures_that_wait_are_not_told_as_none(workshop: Workshop) -> None:
    found = status(workshop)
    found["jobs"]["queued"] = 3
    found |= {"waiting_megapixels": 0.004, "megapixels_per_second": 0.02, "seconds_left": 0.2}
    said = io.StringIO()
    Console(file=said, width=200).print(render(found))
    assert "0.004 megapixels wait; at 0.02 megapixels/s that takes 0:00:01" in said.getvalue()


@pytest.mark.parametrize("width", [40, 80])
def test_the_path_of_a_picture_at_work_is_shown_whole(workshop: Workshop, width: int) -> None:
    path = "/home/a/pictures_" + "写真" * 12 + "_of_a_name_without_spaces.jpg"
    working = [{"path": path, "target": "1920x1080", "share": 1.0, "since": time.time()}]
    said = io.StringIO()
    Console(file=said, width=width).print(render(status(workshop) | {"working": working}))
    lines = said.getvalue().split("\n\n")[0].splitlines()
    assert path in "".join(line.split(" ")[0] for line in lines)
    assert "100%" in said.getvalue()


@pytest.mark.parametrize(("term", "option"), [("dumb", None), ("xterm", "--live"), ("dumb", "--live")])
def test_status_shows_something_where_nothing_can_be_drawn_over(
    term: str, option: str | None, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def seen(_: float) -> None:
        shown.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    shown = list[str]()
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("liif_daemon.cli.time.sleep", seen)
    if option is None:
        monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, as far as rich is concerned
    words = ["status", "--config", str(config)] + ([option] if option else [])
    monkeypatch.setattr("sys.argv", ["liif-daemon", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == ExitCode.OK
    assert "0 queued" in "".join([*shown, capsys.readouterr().out])
    assert not shown or "0 queued" in shown[0]
    assert (not shown) is (option is None)
