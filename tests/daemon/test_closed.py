"""What cannot be read or written, for a while or for good: a dead share, a closed store, a closed file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import swap, undo
from liif_daemon.store import Store

from liif_engine.errors import ExitCode

from .test_faults import NOBODY
from .workshop import Copying, Workshop, at, draw, invoke, no_engine, wait_until


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
