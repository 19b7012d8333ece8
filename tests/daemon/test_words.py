"""What the daemon says: each file once, by its own name, with a reason and an exit code that tell what to do."""

from __future__ import annotations

import errno
import io
import logging
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import asked, check, cli, examine, names, places, unit
from liif_daemon.commands import prune
from liif_daemon.engine import EngineError, Order, ServiceEngine
from liif_daemon.failures import in_words
from liif_daemon.first_run import agree, why_not_begin
from liif_daemon.run import _summary
from liif_daemon.scan import scan
from liif_daemon.settings import FolderSettings, Settings
from liif_daemon.status import gather, render
from liif_daemon.why import why
from liif_daemon.workplace import workplace_for
from rich.console import Console
from typer.testing import CliRunner
from watchdog.observers.api import EventQueue, ObservedWatch

from liif_engine.errors import ConfigError, ExitCode, UsageError
from liif_engine.service.client import NotRunning, ServiceError, WrongVersion
from liif_engine.target import Target

from .test_undo import undo_all
from .workshop import Answering, Copying, Workshop, draw, size_of, wait_until


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
    monkeypatch.setattr(names, "os", SimpleNamespace(scandir=scandir))
    assert run_once(workshop) is ExitCode.SEVERAL
    said = capsys.readouterr()
    assert said.out == "1 restored, 0 left as they are, 0 failed, 0 waiting, 2 not to be read\n"
    words = "".join(said.err.split())  # long lines are broken anywhere
    assert "closed.jpg:cannotberead(Permissiondenied)" in words
    assert "shut:cannotberead(Permissiondenied)" in words
    ledger, lines = workshop.ledger(), list[str]()
    assert scan(workshop.settings(), ledger, again=False, dry_run=True, say=lines.append)["not to be read"] == 1
    ledger.close()
    assert f"{workshop.folder / 'shut'}: cannot be read (Permission denied)" in lines


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


def test_retry_of_what_was_not_begun_queues_every_size(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    (workshop.base / "other name").hardlink_to(path)
    assert workshop.once(scales=[2, 3]) == {"skipped": 2}
    ledger = workshop.ledger()
    assert ledger.retry(ledger.jobs(path=path)) == 2
    ledger.close()
    assert workshop.once(scales=[2, 3], hard_links="replace") == {"done": 2}
    assert size_of(workshop.folder / "a@3x.jpg") == (60, 48)


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


def test_check_says_whether_figures_can_be_shown(workshop: Workshop) -> None:
    settings = workshop.settings()
    assert check._metrics(settings, "0").level == "ok"
    for address in ("203.0.113.7:9464", "no..host:9464"):  # of documentation's own network; and no name at all
        found = check._metrics(settings, address)
        assert found.level == "error"
        assert f"cannot be shown at {address} (" in found.words
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "in use" in check._metrics(settings, address).words
        with places.only_one(settings):
            assert check._metrics(settings, address).level == "ok"


@pytest.fixture
def config(workshop: Workshop) -> Path:
    path = workshop.base / "config.yaml"
    path.write_text("daemon: {state: state}\nfolders:\n  - path: pictures\n", "utf-8")
    return path


def invoke(*words: object) -> Any:
    return CliRunner().invoke(cli.app, [str(word) for word in words], standalone_mode=False)


def test_originals_do_not_go_before_their_time_unasked(
    workshop: Workshop, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    older = ("prune", "--older-than", "0 days", "--config", config)
    refused = invoke(*older).exception
    assert isinstance(refused, UsageError)
    assert "1 original," in refused.message
    assert "--yes" in refused.remedy
    assert "1 original let go," in invoke(*older, "--dry-run").output
    monkeypatch.setattr(prune, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr(prune.typer, "confirm", lambda *_, **__: False)
    with pytest.raises(UsageError, match="nothing was deleted"):
        prune._agree_to_lose(1, "3 kB")
    assert status(workshop)["originals"]["count"] == 1
    assert invoke("prune", "--config", config).output.startswith("0 originals")
    assert invoke(*older, "--yes").output.startswith("1 original let go,")
    assert status(workshop)["originals"]["count"] == 0


def test_nothing_to_undo_is_asking_for_what_cannot_be(workshop: Workshop, config: Path) -> None:
    assert invoke("undo", workshop.folder / "a.jpg", "--config", config).return_value == ExitCode.USAGE
    assert "nothing was restored since" in invoke("undo", "--since", "1 hour", "--config", config).output


def test_nothing_to_undo_since_a_time_is_not_nothing_at_all(
    workshop: Workshop, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    for named in (workshop.folder, workshop.folder / "a.jpg"):
        done = invoke("undo", named, "--since", "2099-01-01", "--config", config)
        assert done.return_value == ExitCode.USAGE
        assert "nothing was restored there since 2099-01-01" in done.output + capsys.readouterr().err
    assert size_of(workshop.folder / "a.jpg") == (40, 32)


def test_who_agrees_to_some_files_has_not_agreed_to_their_folder(workshop: Workshop) -> None:
    workshop.daemon_values["ask_above"] = 1
    for seed, name in enumerate(["a [1].jpg", "b.jpg"]):
        draw(workshop.folder / name, seed)
    named = asked.folders([workshop.folder / "a [1].jpg"], {})
    ledger, settings = workshop.ledger(), workshop.settings()
    try:
        agree(Settings(daemon=settings.daemon, folders=tuple(named)), ledger, None, None)
        with pytest.raises(UsageError, match="2 pictures"):
            agree(settings, ledger, None, None)
    finally:
        ledger.close()
    assert not names.names_files_alone(FolderSettings(path=workshop.folder))


def test_check_leaves_nothing_in_a_folder_that_is_full(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_text", full)
    (found,) = check._folder(workshop.settings().folders[0])
    assert "No space" in found.words
    assert list(workshop.folder.iterdir()) == []


def test_a_systemd_that_takes_long_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def slow(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(unit.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(unit.subprocess, "run", slow)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert "systemd did not answer" in unit.install(start=True)[-1]


@pytest.mark.parametrize("folders", [None, 0, 1])
def test_a_service_without_folders_is_refused_unless_it_is_not_to_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folders: int | None
) -> None:
    """One that watches nothing seems to work. `None`: there is no config.yaml at all."""
    asked_of: list[tuple[str, ...]] = []
    monkeypatch.setattr(unit, "_systemctl", lambda *arguments: asked_of.append(arguments) or True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    config = tmp_path / "liif-restore" / "config.yaml"
    config.parent.mkdir()
    if folders is not None:
        config.write_text(f"folders: {[{'path': str(tmp_path)}] * folders}\n")
    done = invoke("service", "install")
    assert unit.path().is_file() is bool(asked_of) is bool(folders)
    if not folders:
        assert isinstance(done.exception, ConfigError)
        assert done.exception.exit_code == ExitCode.CONFIG
        assert done.exception.path == config
        assert ("is not there" if folders is None else "names no folder") in done.exception.message
        assert str(config) in invoke("service", "install", "--no-start").output
        assert unit.path().is_file()
        assert not asked_of


@pytest.mark.parametrize("agreed", [False, True])
def test_a_folder_that_was_not_there_to_be_asked_about_is_not_begun_unasked(workshop: Workshop, agreed: bool) -> None:
    """As a share that is mounted after the service has started."""
    workshop.daemon_values["ask_above"] = 1
    draw(workshop.folder / "a.jpg", 1)
    draw(workshop.folder / "b.jpg", 2)
    away, settings = workshop.base / "away", workshop.settings()
    workshop.folder.rename(away)
    ledger = workshop.ledger()
    agree(settings, ledger, yes=agreed)
    ledger.close()
    with workshop.running() as daemon:
        daemon._why_not_begin = why_not_begin
        away.rename(workshop.folder)
        if agreed:
            wait_until(lambda: workshop.counts() == {"done": 2})
        else:
            wait_until(lambda: "2 pictures in it would be replaced for the first time" in str(daemon.folders()))
            assert workshop.counts() == {}
            (workshop.folder / "b.jpg").unlink()
            workshop.folder.rename(away)
            wait_until(lambda: "not there" in str(daemon.folders()))
            away.rename(workshop.folder)
            wait_until(lambda: workshop.counts() == {"done": 1})
            assert daemon.ledger.folders.is_agreed(workshop.folder)


def test_files_that_are_never_looked_at_are_refused_in_words(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    for name in (".hidden.jpg", "a.jpg.part"):
        (workshop.folder / name).write_bytes(data)
    (workshop.folder / "link.jpg").symlink_to(workshop.folder / "a.jpg")
    for name, words in ((".hidden.jpg", "hidden"), ("a.jpg.part", "unfinished"), ("link.jpg", "symbolic link")):
        with pytest.raises(UsageError, match=words):
            asked.folders([workshop.folder / name], {})
    with pytest.raises(UsageError, match="home folder"):
        asked.folders([Path("~nobody-of-this-name/a.jpg")], {})


def test_a_folder_named_beside_a_file_in_it_is_meant_whole(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    for paths in ([workshop.folder, workshop.folder / "a.jpg"], [workshop.folder / "a.jpg", workshop.folder]):
        assert asked.folders(paths, {}) == [FolderSettings(path=workshop.folder)]


def test_an_option_of_folders_without_a_folder_is_refused(config: Path) -> None:
    for words in (("--scale", "3"), ("--no-recursive",)):
        assert isinstance(invoke("run", "--once", *words, "--config", config).exception, UsageError)


def test_what_is_queued_without_a_daemon_says_so(workshop: Workshop, config: Path) -> None:
    bad = workshop.folder / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff not a picture")
    workshop.once()
    assert "1 queued; the daemon is not running" in invoke("retry", "--failed", bad, "--config", config).output
    assert invoke("retry", workshop.folder / "nosuch.jpg", "--config", config).return_value == ExitCode.USAGE
    draw(workshop.folder / "a.jpg", 1)
    assert "1 known; the daemon is not running" in invoke("scan", "--config", config).output
    empty = workshop.base / "empty.yaml"
    empty.write_text("daemon: {state: state}\n", "utf-8")
    assert isinstance(invoke("scan", "--config", empty).exception, UsageError)


def test_scan_refuses_what_run_refuses_before_it_writes_anything(workshop: Workshop) -> None:
    within = workshop.base / "within.yaml"
    within.write_text(f"daemon: {{state: {workshop.folder}/state}}\nfolders: [{{path: {workshop.folder}}}]\n", "utf-8")
    assert isinstance(invoke("scan", "--dry-run", "--config", within).exception, ConfigError)
    assert not (workshop.folder / "state").exists()


def test_scan_names_a_folder_that_is_not_there(workshop: Workshop) -> None:
    gone = workshop.base / "gone.yaml"
    gone.write_text(f"daemon: {{state: {workshop.base}/state}}\nfolders: [{{path: {workshop.base}/no}}]\n", "utf-8")
    said = invoke("scan", "--config", gone).output
    assert "there is no such folder" in said
    assert "1 not to be read" in said


def test_a_service_that_cannot_be_used_at_all_is_no_picture_s_fault(tmp_path: Path) -> None:
    open_to_all = tmp_path / "runtime"
    open_to_all.mkdir(mode=0o755)
    order = Order(tmp_path / "a.jpg", tmp_path / "b.jpg", Target(scale=2), "fast", 95, "auto", 60)
    with pytest.raises(EngineError, match="not a private folder") as refused:
        ServiceEngine(str(open_to_all)).restore(order, lambda _: None)
    assert refused.value.kind == "wait"


def test_watchdog_s_word_that_an_ended_watch_has_ended_is_kept_from_people(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    inotify = pytest.importorskip("watchdog.observers.inotify", reason="only Linux has inotify")
    with workshop.running(once=True):
        watch = ObservedWatch(str(workshop.folder), recursive=False)
        inotify.InotifyEmitter(EventQueue(), watch).queue_events(0)  # as its thread does, if it is ended in between
        inotify.logger.error("something else")
    assert [one.getMessage() for one in caplog.records if one.name.startswith("watchdog")] == ["something else"]


def test_the_log_tells_what_a_result_could_not_carry(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = ServiceEngine(str(tmp_path))
    engine.client = Answering({"notes": ["the thumbnail was removed: it shows the old pixels"]})  # type: ignore[assignment]
    order = Order(tmp_path / "a.jpg", tmp_path / "b.jpg", Target(scale=2), "web", 95, "auto", 60)
    with caplog.at_level("INFO"):
        assert engine.restore(order, lambda _: None).model == "web"
    assert caplog.messages == [f"{tmp_path / 'a.jpg'}: the thumbnail was removed: it shows the old pixels"]


def test_settings_that_cannot_be_read_at_all_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["liif-daemon", "status", "--config", str(tmp_path / "none.yaml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == ExitCode.CONFIG
    assert capsys.readouterr().err.count("cannot read it") == 1


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
