"""What cannot be read or written, for a while or for good: a full disk, a dead share, a closed store, a closed file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import places, run, swap, undo, watcher
from liif_daemon.ledger import Ledger
from liif_daemon.ledger.database import Database
from liif_daemon.ledger.folders import Folders
from liif_daemon.reload import read_anew
from liif_daemon.store import Store

from liif_engine.errors import ExitCode, OutputError

from .test_faults import NOBODY
from .workshop import SOON, Copying, Workshop, at, draw, invoke, no_engine, size_of, wait_until


@contextmanager
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ledger's disk is full; the list says how often that was met."""
    met: list[str] = []

    @contextmanager
    def refuse(self: Database) -> Iterator[None]:
        met.append("full")
        raise OutputError("the ledger cannot be written (database or disk is full)", path=self.path)
        yield

    with monkeypatch.context() as context:
        context.setattr(Database, "change", refuse)
        yield met


def test_a_full_disk_under_the_ledger_is_waited_out(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    workshop.daemon_values["scan_seconds"] = 1
    with ExitStack() as opened:
        met: list[list[str]] = []
        at(monkeypatch, "backup written", lambda: met.append(opened.enter_context(full(monkeypatch))))
        with workshop.running() as daemon:
            wait_until(lambda: daemon.posts.faults or (met and len(met[0]) > 9), SOON)
            assert not daemon.posts.faults
            assert (workshop.folder / "a.jpg").read_bytes() == data
            assert 1 <= caplog.text.count("the ledger cannot be written") <= 3, "by each thread once"
            opened.close()
            wait_until(lambda: workshop.counts() == {"done": 1})


def test_the_log_says_it_when_the_ledger_cannot_be_used_for_another_reason(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whys = ["database or disk is full"] * 3 + ["attempt to write a readonly database"] * 3
    left = list(whys)

    def refuse(*_: object) -> None:
        raise OutputError(f"the ledger cannot be written ({left.pop(0) if left else whys[-1]})")

    monkeypatch.setattr("liif_daemon.find.Scans.make", refuse)
    with workshop.running():
        wait_until(lambda: not left, SOON)
    assert [caplog.text.count(why) for why in sorted(set(whys))] == [1, 1]


@pytest.mark.parametrize("where", ["look.Looker.look", "at_work.AtWork.claim"])
def test_the_log_says_it_once_though_there_is_rest_between_the_tries(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """A file settles anew before it is looked at again; what is left to put in order, nothing, goes well."""
    tries: list[str] = []

    def refuse(*_: object) -> None:
        tries.append(where)
        raise OutputError("the ledger cannot be written (database or disk is full)")

    draw(workshop.folder / "a.jpg", 1)
    workshop.daemon_values["jobs_at_once"] = 1
    monkeypatch.setattr(f"liif_daemon.{where}", refuse)
    with workshop.running() as daemon:
        wait_until(lambda: len(tries) > 3, SOON)
        assert daemon.progress.facts["error"]
    assert caplog.text.count("the ledger cannot be written") == 1


def test_a_run_once_ends_where_the_ledger_s_disk_stays_full(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = draw(workshop.folder / "a.jpg", 1)

    def refuse(*_: object) -> None:
        raise OutputError("the ledger cannot be written (database or disk is full)")

    monkeypatch.setattr("liif_daemon.find.Scans.make", refuse)
    refused = pytest.raises(OutputError, match="the ledger cannot be written")
    with refused, workshop.running(once=True) as daemon:
        wait_until(lambda: not daemon.tick(), SOON)
    monkeypatch.undo()
    assert (workshop.folder / "a.jpg").read_bytes() == data
    assert workshop.once() == {"done": 1}


def test_what_comes_while_the_ledger_s_disk_is_full_is_looked_at_when_it_has_room(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workshop.running() as daemon:
        wait_until(lambda: daemon._in_order.is_set() and not daemon.scans.due(()))
        with full(monkeypatch) as met:
            draw(workshop.folder / "a.jpg", 1)
            draw(workshop.folder / "b.jpg", 2)
            wait_until(lambda: len(met) > 9)
            wait_until(lambda: "cannot be written" in str(daemon.progress.facts["error"]))
        wait_until(lambda: workshop.counts() == {"done": 2}, SOON)
        wait_until(lambda: daemon.progress.facts["error"] is None)


def test_once_says_that_a_full_disk_under_the_ledger_kept_it_from_an_end(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    with ExitStack() as opened:
        at(monkeypatch, "engine done", lambda: opened.enter_context(full(monkeypatch)))
        with workshop.running(once=True) as daemon:
            wait_until(lambda: not daemon.tick(), SOON)
            assert run._summary(daemon) is ExitCode.SEVERAL
    assert capsys.readouterr().out.startswith("0 restored, 0 left as they are, 0 failed, 1 waiting")
    assert workshop.once() == {"done": 1}


def test_a_ledger_that_cannot_be_read_or_written_ends_no_main_loop(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher.mounts, "is_mount", lambda path: path == workshop.folder)
    ledger = workshop.ledger()
    one = watcher.Watcher(workshop.settings().folders, ledger, 1, lambda *_: None, lambda _: None)

    def refuse(*_: object, **__: object) -> Any:
        raise OutputError("the ledger cannot be read", path=ledger.path)

    with monkeypatch.context() as context:
        context.setattr(Folders, "marker", refuse)
        one.tick()
        assert one.status()[0]["how"] == "away"
    with monkeypatch.context() as context:
        context.setattr(Folders, "mark", refuse)
        one.tick()
        assert one.present()
        assert ledger.folders.marker(workshop.folder) is None
    one.tick()
    assert (
        ledger.folders.marker(workshop.folder) is not None
    )  # made up for: an unmounted share is to be told from an empty one
    one.stop()
    ledger.close()


def test_settings_that_change_while_a_share_is_dead_or_the_ledger_s_disk_is_full_end_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.engine = Copying(no_engine)
    workshop.daemon_values["retry_seconds"] = 600  # what waits is not at work when the settings change
    stat, said, withdraw = Path.stat, dict[str, Any](), Ledger.withdraw

    def dead(self: Path, **options: Any) -> os.stat_result:
        if self == workshop.folder:
            raise OSError(107, os.strerror(107), str(self))
        return stat(self, **options)

    def refuse(self: Ledger, *_: object) -> None:
        monkeypatch.setattr(Ledger, "withdraw", withdraw)
        raise OutputError("the ledger cannot be written", path=self.path)

    with workshop.running() as daemon:
        wait_until(lambda: any(job.reason for job in workshop.ledger().jobs(state="queued")))
        monkeypatch.setattr(daemon.progress, "write", lambda **facts: said.update(facts))
        with monkeypatch.context() as context:
            context.setattr(Path, "stat", dead)
            places.check_layout(workshop.settings(scale=3))
        read_anew(daemon, lambda: os.stat("/nowhere/at/all"))  # type: ignore[arg-type, return-value] # noqa: PTH116
        assert "/nowhere/at/all" in said["config_error"]
        daemon.engine = Copying()
        monkeypatch.setattr(Ledger, "withdraw", refuse)
        workshop.daemon_values["retry_seconds"] = 0.05
        daemon.reload(workshop.settings(scale=3))
        wait_until(lambda: workshop.counts() == {"done": 1, "skipped": 1}, SOON)
    assert size_of(workshop.folder / "a.jpg") == (60, 48)


def test_a_share_that_is_dead_does_not_keep_the_daemon_from_starting(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stat` on a mount whose server has gone says ENOTCONN."""
    draw(workshop.folder / "a.jpg", 1)
    workshop.engine = Copying(no_engine)
    workshop.once()
    ledger = workshop.ledger()
    wait_until(ledger.claim)
    ledger.close()
    stat = Path.stat

    def dead(self: Path, **options: Any) -> os.stat_result:
        if self == workshop.folder:
            raise OSError(107, os.strerror(107), str(self))
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", dead)
    with workshop.running() as daemon:
        assert daemon.watcher.status()[0]["how"] == "away"
        daemon.scan()
    assert not daemon.posts.faults


def test_a_file_that_something_is_mounted_on_fails_and_does_not_wait_for_ever(workshop: Workshop) -> None:
    """As in a container that was given single files: each try would compute the picture anew."""
    other, path = workshop.base / "other.jpg", workshop.folder / "a.jpg"
    data = draw(other, 1)
    path.touch()
    command = ["mount", "--bind", str(other), str(path)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here: run as root")
    try:
        assert workshop.once() == {"failed": 1}
        ledger = workshop.ledger()
        (job,) = ledger.jobs(path=path)
        ledger.close()
        assert job.reason == "something is mounted on the file itself, so it cannot be replaced"
        assert other.read_bytes() == data
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become uid 65534")
def test_read_only_files_are_restored_and_come_back() -> None:
    base = Path(tempfile.mkdtemp(prefix="liif-nobody-"))
    try:
        workshop = Workshop(base)
        path = workshop.folder / "a.jpg"
        data = draw(path, 1)
        path.chmod(0o444)
        for one in (base, workshop.folder, path):
            os.chown(one, 65534, 65534)
        base.chmod(0o755)
        first = "from tests.daemon.test_undo import undo_all\n"
        code = first + NOBODY.format(path=[str(Path(__file__).parents[2])], base=str(base))
        code += f"print(undo_all(Workshop(Path({str(base)!r})), Path({str(path)!r})))"
        code = code.replace(first, "", 1).replace("from tests.daemon.workshop", first + "from tests.daemon.workshop", 1)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
        assert done.stdout.splitlines() == ["{'done': 1}", "1"], done.stderr
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == 0o444
    finally:
        shutil.rmtree(base)


def test_a_file_that_is_closed_amid_the_work_fails_with_the_reason(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every few seconds again, for ever: `retry` when that is mended."""
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    read = swap.hash_of

    def closed(asked_for: Path) -> str:
        if asked_for == path:
            raise PermissionError(13, "Permission denied", str(path))
        return read(asked_for)

    at(monkeypatch, "engine done", lambda: monkeypatch.setattr(swap, "hash_of", closed))
    assert workshop.once() == {"failed": 1}
    assert "no permission" in workshop.ledger().jobs()[0].reason
    monkeypatch.undo()
    assert path.read_bytes() == data
    ledger = workshop.ledger()
    ledger.retry(ledger.jobs())
    ledger.close()
    assert workshop.once() == {"done": 1}
    assert workshop.leftovers() == []


def test_a_store_that_is_closed_is_waited_out(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its share is not mounted, in a folder of root's: no picture is to blame."""
    draw(workshop.folder / "a.jpg", 1)
    tries, keep = list[Path](), Store.keep

    def closed(self: Store, path: Path, sha256: str) -> int:
        tries.append(path)
        if len(tries) < 4:
            raise PermissionError(13, "Permission denied", str(self.folder.parent if len(tries) == 2 else self.folder))
        return keep(self, path, sha256)

    monkeypatch.setattr(Store, "keep", closed)
    with workshop.running():
        wait_until(lambda: workshop.counts().keys() & {"done", "failed"})
    assert workshop.counts() == {"done": 1}


def test_a_file_that_cannot_be_read_ends_no_undo_of_others(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    path, closed = workshop.folder / "a.jpg", workshop.folder / "closed.jpg"
    data = draw(path, 1)
    workshop.once()
    shutil.copy(path, closed)
    read = undo.hash_of

    def hash_of(asked_for: Path) -> str:
        if asked_for == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return read(asked_for)

    monkeypatch.setattr(undo, "hash_of", hash_of)
    done = invoke("undo", closed, path, "--config", config)
    assert done.return_value == ExitCode.OUTPUT
    assert path.read_bytes() == data


def test_a_file_that_cannot_even_be_asked_for_its_size_is_told_of(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a folder whose names may be read, and nothing else."""
    draw(workshop.folder / "a.jpg", 1)
    lstat = Path.lstat

    def closed(self: Path) -> os.stat_result:
        if self.name == "a.jpg":
            raise PermissionError(13, "Permission denied", str(self))
        return lstat(self)

    monkeypatch.setattr(Path, "lstat", closed)
    with workshop.running(once=True) as daemon:
        wait_until(lambda: not daemon.tick())
        assert daemon.looker.missed == {workshop.folder / "a.jpg": "cannot be read (Permission denied)"}
    with workshop.running() as daemon:
        wait_until(lambda: (daemon.tick(), caplog.text.count("a.jpg: cannot be read (Permission denied)") == 2)[1])
        assert daemon.looker.missed == {}  # nobody asks for them; the log has said it
