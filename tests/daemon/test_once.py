"""`liif-daemon run --once`: what it says at its end, each failure once, and its exit code."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import examine, names, settle
from liif_daemon.engine import EngineError, Order, ServiceEngine
from liif_daemon.ledger.rows import Job, job_of
from liif_daemon.run import _summary
from liif_daemon.scan import scan
from liif_daemon.why import why

from liif_engine.errors import ExitCode
from liif_engine.service.client import NotRunning, ServiceError, WrongVersion

from .test_undo import undo_all
from .workshop import Copying, Workshop, draw, wait_until


def run_once(workshop: Workshop, **folder: object) -> ExitCode:
    with workshop.running(once=True, **folder) as daemon:
        wait_until(lambda: not daemon.tick())
        return _summary(daemon)


def test_a_result_that_was_copied_is_counted_among_what_is_left(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    run_once(workshop)
    (workshop.folder / "copy.jpg").write_bytes((workshop.folder / "a.jpg").read_bytes())
    capsys.readouterr()
    assert run_once(workshop) is ExitCode.OK
    assert capsys.readouterr().out == "0 restored, 1 left as they are, 0 failed, 0 waiting\n"


class Unstartable:
    """Takes the service's client's place where no engine can be started."""

    def __init__(self, error: ServiceError) -> None:
        self.error, self.tries = error, 0

    def ensure_running(self) -> dict[str, Any]:
        self.tries += 1
        raise self.error


@pytest.mark.parametrize("error", [NotRunning("the engine did not start: no torch"), WrongVersion("it is old")])
def test_once_tries_an_engine_that_cannot_be_started_no_more_and_says_so_once(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], error: ServiceError
) -> None:
    before = {workshop.folder / f"{seed}.jpg": draw(workshop.folder / f"{seed}.jpg", seed) for seed in range(20)}
    engine = ServiceEngine(str(workshop.base))
    engine.client = client = Unstartable(error)  # type: ignore[assignment]
    workshop.engine = engine
    workshop.daemon_values["jobs_at_once"] = 1
    assert run_once(workshop) is ExitCode.SEVERAL
    said = capsys.readouterr()
    assert client.tries == 1
    assert said.out == "0 restored, 0 left as they are, 0 failed, 20 waiting\n"
    assert said.err == f"liif: {error.message}\n"
    assert {path: path.read_bytes() for path in before} == before
    assert not workshop.leftovers()
    workshop.engine = Copying()
    assert workshop.once() == {"done": 20}


def test_once_tells_of_what_it_could_not_read(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    draw(workshop.folder / "closed.jpg", 2)
    (workshop.folder / "shut").mkdir()
    read, list_folder = examine.hash_of, os.scandir

    def hash_of(path: Path) -> str:
        if path.name == "closed.jpg":
            raise PermissionError(13, "Permission denied")
        return read(path)

    def scandir(path: Any) -> Any:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(examine, "hash_of", hash_of)
    monkeypatch.setattr(names, "os", SimpleNamespace(**{**vars(os), "scandir": scandir}))
    assert run_once(workshop) is ExitCode.SEVERAL
    said = capsys.readouterr()
    assert said.out == "1 restored, 0 left as they are, 0 failed, 0 waiting, 2 not to be read\n"
    words = "".join(said.err.split())  # long lines are broken anywhere
    assert "closed.jpg:cannotberead(Permissiondenied)" in words
    assert "shut:cannotberead(Permissiondenied)" in words
    ledger, lines = workshop.ledger(), list[str]()
    assert scan(workshop.settings(), ledger, again=False, dry_run=True, say=lines.append)["not to be read"] == 2
    ledger.close()
    for name in ("closed.jpg", "shut"):
        assert f"{workshop.folder / name}: cannot be read (Permission denied)" in lines
    monkeypatch.setattr("liif_daemon.why.os", SimpleNamespace(scandir=scandir))
    ledger = workshop.ledger()
    (word,) = why(workshop.folder / "shut", workshop.settings(), ledger, workshop.store)
    ledger.close()
    assert "cannot be read (Permission denied)" in word


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("call", ["lstat", "open"])
def test_a_picture_that_cannot_be_asked_for_once_while_it_settles_is_restored_all_the_same(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    failures = [OSError(number, os.strerror(number))]
    ask = Path.lstat if call == "lstat" else settle.is_open_for_writing

    def fail_once(path: Path) -> object:
        if path.name == "a.jpg" and failures and sys._getframe(1).f_globals["__name__"] == settle.__name__:
            raise failures.pop()
        return ask(path)

    monkeypatch.setattr(*((Path, "lstat") if call == "lstat" else (settle, "is_open_for_writing")), fail_once)
    assert run_once(workshop) is ExitCode.OK
    assert failures == []
    assert workshop.counts() == {"done": 1}


def test_once_tells_of_a_folder_that_is_not_there(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_once(workshop, path=workshop.base / "missing") is ExitCode.SEVERAL
    assert "1 not to be read" in capsys.readouterr().out


def test_once_mentions_what_failed_before(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    (workshop.folder / "bad.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    assert run_once(workshop) is ExitCode.SEVERAL
    assert "1 failed" in capsys.readouterr().out
    assert run_once(workshop) is ExitCode.OK
    assert "0 failed, 0 waiting, 1 that failed before" in capsys.readouterr().out
    assert run_once(workshop, include=["bad.jpg"]) is ExitCode.SEVERAL  # as `run --once bad.jpg` asks
    assert "failed before: the JPEG data ends" in " ".join(capsys.readouterr().err.split())
    (workshop.folder / "bad.jpg").unlink()
    assert run_once(workshop) is ExitCode.OK
    assert "before" not in capsys.readouterr().out


def test_what_was_over_before_is_not_read_again_at_the_end(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 100,000 results that took four seconds and 300 MB."""
    read: list[bytes] = []

    def noted(row: sqlite3.Row) -> Job:
        read.append(row["path"])
        return job_of(row)

    draw(workshop.folder / "before.jpg", 1)
    workshop.once()
    draw(workshop.folder / "now.jpg", 2)
    with workshop.running(once=True) as daemon:
        wait_until(lambda: not daemon.tick())
        monkeypatch.setattr("liif_daemon.ledger.found.job_of", noted)
        _summary(daemon)
    assert capsys.readouterr().out.startswith("1 restored, 0 left")
    assert {Path(os.fsdecode(path)).name for path in read} == {"now.jpg"}


def test_once_names_ten_of_those_that_wait_for_one_reason(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an archive whose disk is full, thousands do."""
    for number in range(13):
        draw(workshop.folder / f"{number}.jpg", number)

    def fail(order: Order) -> None:
        if order.source.stem == "12":
            raise EngineError("no luck today", "wait")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/archive")

    workshop.engine = Copying(fail)
    assert run_once(workshop) is ExitCode.SEVERAL
    said = capsys.readouterr()
    assert said.out == "0 restored, 0 left as they are, 0 failed, 13 waiting\n"
    words = "".join(said.err.split())  # long lines are broken anywhere
    assert words.count(":waits:thediskisfull(/archive)") == 11
    assert "liif:and2more:waits:thediskisfull(/archive)" in words
    assert words.count("nolucktoday") == 1


def test_once_says_how_many_are_left_alone_since_they_were_undone(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often it runs, and of those that are so still."""
    words = "left alone since undone (`liif-daemon retry FILE` has one restored again)"
    paths = [workshop.folder / f"{number}.jpg" for number in range(4)]
    for number, path in enumerate(paths):
        draw(path, number)
    workshop.once(scales=[2, 3])
    undo_all(workshop, workshop.folder)
    for path in workshop.folder.glob("*@*"):
        path.unlink()
    for _ in range(2):
        capsys.readouterr()
        assert run_once(workshop, scales=[2, 3]) is ExitCode.OK
        assert capsys.readouterr().out == f"0 restored, 0 left as they are, 0 failed, 0 waiting, 4 {words}\n"
    paths[0].touch()  # looked at anew, and told of in the log, it counts once
    draw(paths[1], 9)
    paths[2].unlink()
    run_once(workshop, scales=[2, 3])
    assert capsys.readouterr().out == f"2 restored, 0 left as they are, 0 failed, 0 waiting, 2 {words}\n"
    run_once(workshop, include=["3.jpg"])
    assert f"1 {words}" in capsys.readouterr().out
    ledger = workshop.ledger()
    ledger.retry(ledger.jobs(path=paths[3]))
    ledger.close()
    run_once(workshop)
    assert capsys.readouterr().out == f"1 restored, 0 left as they are, 0 failed, 0 waiting, 1 {words}\n"


def test_of_two_pictures_that_are_the_same_each_is_told_of_by_itself(workshop: Workshop) -> None:
    one, other = workshop.folder / "one.jpg", workshop.folder / "other.jpg"
    other.write_bytes(draw(one, 1))
    assert workshop.once(scales=[2, 3]) == {"done": 4}
    assert one.read_bytes() == other.read_bytes()
    ledger, settings = workshop.ledger(), workshop.settings(scales=[2, 3])
    said = {path.name: why(path, settings, ledger, workshop.store)[0] for path in sorted(workshop.folder.iterdir())}
    ledger.close()
    assert said["one.jpg"] == said["other.jpg"] == "It is left as it is: it is our own result."
    assert said["one@3x.jpg"].endswith(f"our own result, of {one}.")
    assert said["other@3x.jpg"].endswith(f"our own result, of {other}.")


def test_only_results_that_lie_elsewhere_are_news(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    draw(workshop.folder / "a.jpg", 1)
    assert workshop.once(scales=[2, 3]) == {"done": 2}
    workshop.once(scales=[2, 3])
    (workshop.folder / "copy.jpg").write_bytes((workshop.folder / "a@3x.jpg").read_bytes())
    workshop.once(scales=[2, 3])
    said = [(one.levelname, one.getMessage()) for one in caplog.records]
    found = {(level, words.split(": ")[0]) for level, words in said if "our own result" in words}
    assert {path for level, path in found if level == "INFO"} == {str(workshop.folder / "copy.jpg")}
    assert ("DEBUG", str(workshop.folder / "a@3x.jpg")) in found
