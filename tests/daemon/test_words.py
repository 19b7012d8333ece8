"""What the daemon says: each file once, by its own name, with a reason and an exit code that tell what to do."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from liif_daemon import asked, check, cli, places, unit
from liif_daemon.engine import EngineError, Order, ServiceEngine
from liif_daemon.settings import FolderSettings
from typer.testing import CliRunner
from watchdog.observers.api import EventQueue, ObservedWatch

from liif_engine.errors import ConfigError, ExitCode, OutputError, UsageError
from liif_engine.target import Target
from tests.conftest import close_config
from tests.service.test_figures import free_port

from .test_once import run_once
from .workshop import Answering, Workshop, draw, invoke, size_of


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


def test_check_says_whether_figures_can_be_shown(workshop: Workshop) -> None:
    settings = workshop.settings()
    assert check._metrics(settings, str(free_port())).level == "ok"
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


@pytest.mark.parametrize(
    "words", [["status"], ["undo", "a.jpg"], ["retry", "a.jpg"], ["run"], ["scan"], ["why", "a.jpg"]]
)
def test_settings_that_may_not_be_read_are_no_wrong_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    for name in ("config.yaml", "a.jpg"):
        (tmp_path / name).touch()
    close_config(monkeypatch)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, [*words, "--config", "config.yaml"], standalone_mode=False)
    assert isinstance(done.exception, ConfigError)
    assert "cannot read it (Permission denied)" in str(done.exception)


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


@pytest.mark.parametrize("linked", [False, True])
def test_a_unit_that_cannot_be_written_leaves_the_one_that_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, linked: bool
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    kept = tmp_path / "kept.service" if linked else unit.path()
    unit.path().parent.mkdir(parents=True)
    if linked:
        unit.path().symlink_to(kept)
    unit.install(start=False)
    whole, write = kept.read_bytes(), Path.write_text

    def fail(self: Path, text: str, *rest: str) -> None:
        write(self, text[:99], *rest)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", fail)
        with pytest.raises(OutputError, match="cannot be written"):
            unit.install(start=False)
    assert kept.read_bytes() == whole
    assert list(unit.path().parent.iterdir()) == [unit.path()]
    unit.install(start=False)
    assert unit.path().is_symlink() is linked


@pytest.mark.parametrize(
    ("folder", "in_the_unit"),
    [("100% of mine", "100%% of mine"), ('a "b"', r"a \"b\""), (r"back\slash", r"back\\slash")],
)
def test_the_unit_names_an_interpreter_so_that_systemd_finds_it(
    monkeypatch: pytest.MonkeyPatch, folder: str, in_the_unit: str
) -> None:
    monkeypatch.setattr(sys, "executable", f"/home/{folder}/bin/python")
    assert f'\nExecStart="/home/{in_the_unit}/bin/python" -m liif_daemon run\n' in unit.text()


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


@pytest.mark.parametrize(("system", "instead"), [("win32", "Task Scheduler"), ("darwin", "launchd")])
def test_a_service_is_refused_where_there_is_no_systemd(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, instead: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", system)
    done = invoke("service", "install", "--no-start")
    assert isinstance(done.exception, UsageError)
    assert instead in done.exception.remedy
    assert f"{sys.executable} -m liif_daemon run" in done.exception.remedy
    assert not list(tmp_path.iterdir())


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


def test_a_file_that_is_called_like_a_home_folder_is_that_file(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workshop.folder)
    draw(workshop.folder / "~a.jpg", 1)
    assert asked.absolute(Path("~a.jpg")) == workshop.folder / "~a.jpg"
    assert asked.absolute(Path("~/a.jpg")) == Path.home() / "a.jpg"


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


def test_retry_counts_a_file_of_several_sizes_once(workshop: Workshop, config: Path) -> None:
    (workshop.folder / "bad.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    assert workshop.once(scales=[2, 3]) == {"failed": 2}
    assert "1 queued;" in invoke("retry", "--failed", "--config", config).output
    assert workshop.counts() == {"queued": 2}


def test_scan_refuses_what_run_refuses_before_it_writes_anything(workshop: Workshop) -> None:
    within = workshop.base / "within.yaml"
    within.write_text(f"daemon: {{state: {workshop.folder}/state}}\nfolders: [{{path: {workshop.folder}}}]\n", "utf-8")
    assert isinstance(invoke("scan", "--dry-run", "--config", within).exception, ConfigError)
    assert not (workshop.folder / "state").exists()


@pytest.mark.parametrize(
    "words", ["status --json", "why pictures", "scan --dry-run", "undo pictures --dry-run", "prune --dry-run"]
)
def test_a_command_that_only_looks_writes_nothing(
    workshop: Workshop, config: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    monkeypatch.chdir(workshop.base)
    before = sorted(workshop.base.rglob("*"))
    invoke(*words.split(), "--config", config)
    assert sorted(workshop.base.rglob("*")) == before


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


def test_undo_of_several_files_ends_with_their_count(workshop: Workshop, config: Path) -> None:
    """What failed may stand thousands of lines above."""
    paths = [workshop.folder / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        draw(path, number)
    workshop.once()
    paths[1].write_bytes(b"somebody's")
    dry = invoke("undo", workshop.folder, "--dry-run", "--config", config)
    assert dry.output.endswith("\n2 originals would come back, 1 failed\n")
    assert dry.return_value == ExitCode.OUTPUT
    assert "back" in (one := invoke("undo", paths[0], "--config", config).output)
    assert one.count("\n") == 1
    assert invoke("undo", workshop.folder, "--config", config).output.endswith("\n1 original is back, 1 failed\n")


def test_commands_that_are_advised_work_as_they_are_written(
    workshop: Workshop, config: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path, bad = workshop.folder / "a.jpg", workshop.folder / "bad.jpg"
    draw(path, 1)
    bad.write_bytes(b"\xff\xd8\xff not a picture")
    workshop.once()
    invoke("undo", path, "--config", config)
    path.touch()
    with caplog.at_level("INFO"):
        run_once(workshop)
    again = invoke("undo", path, "--config", config)
    assert again.return_value == ExitCode.USAGE
    words = " ".join(f"{capsys.readouterr().out} {caplog.text} {again.output}".split())
    nowhere = workshop.base / "nowhere.yaml"
    nowhere.write_text("daemon: {state: elsewhere}\n", "utf-8")
    advised = re.findall("`liif-daemon ([^`]+)`", words)
    assert {one.split()[0] for one in advised} == {"retry", "why"}
    assert len(advised) == 4
    for one in advised:
        done = invoke(*one.replace("FILE", str(bad)).split(), "--config", config)
        assert not done.return_value, one
        assert done.exception is None, one
    assert "`liif-daemon run FOLDER` starts it" in invoke("status", "--no-live", "--config", nowhere).output
    assert "`liif-daemon run` starts it" in invoke("status", "--no-live", "--config", config).output
