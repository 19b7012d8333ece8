"""Disks that fill, permissions that go, engines that die, clocks that jump: nothing is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from liif_daemon import check, look, replace
from liif_daemon.engine import EngineError, Made, Order, ServiceEngine
from liif_daemon.examine import examine
from liif_daemon.undo import undo

from liif_engine.service.client import ServiceError

from .workshop import Copying, Workshop, check_whole, draw, sha, size_of, wait_until


def test_a_result_that_is_not_what_it_should_be_is_never_put_in_place(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)

    class Lying(Copying):
        def restore(self, order: Order, on_progress: Callable[[float], None]) -> Made:
            super().restore(order, on_progress)
            whole = order.destination.read_bytes()
            lie = (whole[: len(whole) // 2], whole, b"")[len(self.orders) % 3]
            if lie == whole:
                draw(order.destination, 5, 39, 32)  # a picture, but of another size
            else:
                order.destination.write_bytes(lie)
            return Made("lying", 0)

    workshop.engine = Lying()
    assert workshop.once() == {"failed": 1}
    check_whole(workshop, path, data)
    assert len(workshop.engine.orders) == 4


def test_a_failing_engine_is_tried_again_and_then_given_up(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)

    def fail(_: Order) -> None:
        raise EngineError("the process that did the work crashed", "again")

    workshop.engine = Copying(before=fail)
    assert workshop.once() == {"failed": 1}
    assert len(workshop.engine.orders) == 4
    check_whole(workshop, path, data)
    job = workshop.ledger().jobs()[0]
    assert "crashed" in job.reason
    assert "4 tries" in job.reason
    workshop.engine = Copying()
    assert workshop.once() == {"failed": 1}  # not tried again until it changes
    draw(path, 2)
    assert workshop.once() == {"done": 1, "skipped": 1}


@pytest.mark.parametrize("number", [5, 32, -errno.EBUSY, -errno.ETXTBSY])
def test_a_file_that_another_program_has_open_on_windows_is_tried_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Or on a share of its kind, but not for ever, since each try is the whole work anew."""
    path, left = workshop.folder / "a.jpg", [2]
    draw(path, 1)

    def held(*files: Path) -> Path | None:
        if not left[0]:
            return swap(*files)
        left[0] -= 1
        if number < 0:
            raise OSError(-number, os.strerror(-number), str(files[0]), None, str(files[1]))
        error = PermissionError(errno.EACCES, "Access is denied", str(path))
        error.winerror = number
        raise error

    swap = replace.swap
    monkeypatch.setattr(replace, "swap", held)
    assert workshop.once() == {"done": 1}
    assert size_of(path) == (40, 32)
    draw(workshop.folder / "b.jpg", 2)
    left[0] = 100
    assert workshop.once() == {"done": 1, "failed": 1}
    (reason,) = (job.reason for job in workshop.ledger().jobs(state="failed"))
    assert "another program has it open" in reason
    assert "given up after 4 tries" in reason


def test_an_engine_that_is_not_there_blames_no_picture(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    away = [True]

    def fail(_: Order) -> None:
        if away[0]:
            raise EngineError("the engine does not answer", "wait")

    workshop.engine = engine = Copying(before=fail)
    with workshop.running():
        wait_until(lambda: len(engine.orders) > 6)
    assert workshop.counts() == {"queued": 1}
    assert caplog.text.count("the engine does not answer") == 1, "thousands of pictures may wait like that for days"
    with workshop.running():
        wait_until(lambda: len(engine.orders) > 12)
        away[0] = False
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert workshop.store.holds(sha(data))
    assert caplog.text.count("the engine does not answer") == 2, "each run says it"


@pytest.mark.timeout(300)
def test_the_real_engine_is_started_and_outlived(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(workshop.base))
    kill_the_engine_twice(workshop)


def kill_the_engine_twice(workshop: Workshop, *words: str) -> None:
    """Six pictures by a `liif serve` that the daemon starts with these words, killed after the first and the third."""
    from liif_engine.network.checkpoint import save
    from tests.conftest import tiny_network

    save(tiny_network(), workshop.base / "tiny.safetensors", {})
    workshop.model = str(workshop.base / "tiny.safetensors")
    runtime = tempfile.mkdtemp(prefix="liif-")
    engine = ServiceEngine(runtime, arguments=words)
    workshop.engine = engine
    killed = []
    originals = [draw(workshop.folder / f"{n}.jpg", n) for n in range(6)]
    try:
        with workshop.running():
            for target in (1, 3):
                wait_until(lambda target=target: workshop.counts().get("done", 0) >= target)
                pid = engine.status()
                if pid is not None:
                    os.kill(pid["pid"], signal.SIGKILL)
                    killed.append(pid["pid"])
            wait_until(lambda: workshop.counts() == {"done": 6})
        assert killed
    finally:
        with contextlib.suppress(ServiceError, OSError):
            os.kill(engine.client.ensure_running()["pid"], signal.SIGTERM)
        shutil.rmtree(runtime, ignore_errors=True)
    assert workshop.leftovers() == []
    assert all(workshop.store.holds(sha(data)) for data in originals)


def test_a_clock_that_jumps_leaves_nobody_waiting(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    os.utime(path, (time.time() + 1e7, time.time() + 1e7))  # a file from the future
    fails = [True]

    def fail_once(_: Order) -> None:
        if fails.pop() if fails else False:
            # The job is told to wait in a time that will not come for months: the clock goes back.
            monkeypatch.setattr(time, "time", lambda real=time.time: real() - 1e7)
            raise EngineError("crashed", "again")

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1e7)
    workshop.engine = Copying(before=fail_once)
    assert workshop.once() == {"done": 1}


NOBODY = """
import os, sys, tempfile
sys.path[:0] = {path!r}
from pathlib import Path
from tests.daemon.workshop import Workshop, draw
with tempfile.TemporaryDirectory() as first:
    # The interpreter's own files may be root's alone: whatever is imported late is imported now.
    workshop = Workshop(Path(first))
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(Workshop(Path({base!r})).once())
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to become uid 65534")
@pytest.mark.parametrize(
    ("lost", "state", "reason"),
    [
        ("folder", "failed", "permission"),
        ("file", None, ""),
        ("owner", "failed", "another user"),
        ("group", "failed", "(chgrp "),
        ("none", "done", ""),
    ],
)
def test_lost_permission_is_said_and_nothing_is_touched(lost: str, state: str | None, reason: str) -> None:
    base = Path(tempfile.mkdtemp(prefix="liif-nobody-"))
    try:
        workshop = Workshop(base)
        path = workshop.folder / "a.jpg"
        data = draw(path, 1)
        for one in (base, workshop.folder, path):
            os.chown(one, 65534, 65534)
        base.chmod(0o755)
        if lost == "folder":
            workshop.folder.chmod(0o555)
        elif lost == "file":
            path.chmod(0)
        elif lost == "owner":
            os.chown(path, 0, 0)
        elif lost == "group":
            os.chown(path, 65534, 0)
        code = NOBODY.format(path=[str(Path(__file__).parents[2])], base=str(base))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str({state: 1} if state else {})
        assert (path.read_bytes() == data) == (lost != "none")
        assert workshop.leftovers() == []
        if state:
            assert reason in workshop.ledger().jobs()[0].reason
    finally:
        shutil.rmtree(base)


def test_a_time_that_no_64_bits_hold_is_kept_and_comes_back(workshop: Workshop) -> None:
    """Broken clocks and archives make such times; NTFS and ext4 hold them."""
    original, far = draw(workshop.folder / "a.jpg", 1), 10**19 + 7  # [ns], in the year 2286
    draw(workshop.folder / "b.jpg", 2)
    os.utime(workshop.folder / "a.jpg", ns=(far, far))
    if (workshop.folder / "a.jpg").stat().st_mtime_ns != far:
        pytest.skip("this file system has no times after 2262; ext4, tmpfs and btrfs do")
    assert workshop.once() == {"done": 2}
    assert size_of(workshop.folder / "a.jpg") == (40, 32)
    assert (workshop.folder / "a.jpg").stat().st_mtime_ns == far
    assert workshop.once() == {"done": 2}  # known, not looked at again
    rows = workshop.ledger()
    undo(next(job for job in rows.jobs() if job.path.name == "a.jpg"), rows, workshop.store)
    rows.close()
    assert (workshop.folder / "a.jpg").read_bytes() == original
    assert (workshop.folder / "a.jpg").stat().st_mtime_ns == far


def test_a_folder_that_only_grows_is_said_to_and_no_empty_folders_are_left_in_it(workshop: Workshop) -> None:
    """There what a workplace was made for is refused, and so is its removal."""
    original = draw(workshop.folder / "a.jpg", 1)
    draw(workshop.folder / "b.jpg", 2)
    workshop.once(include=("b.jpg",))
    before = sorted(workshop.folder.iterdir())
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, "+a", workshop.folder], capture_output=True).returncode:
        pytest.skip("only root may have a folder grow alone, and on some file systems nobody")
    try:
        assert workshop.once() == {"done": 1, "failed": 1}
        ledger, store = workshop.ledger(), workshop.store
        assert "attributes" in ledger.jobs(state="failed")[0].reason
        with pytest.raises(PermissionError):
            undo(ledger.jobs(state="done")[0], ledger, store)
        assert [found.level for found in check._folder(workshop.settings().folders[0])] == ["error"]
        assert sorted(workshop.folder.iterdir()) == before
        assert (workshop.folder / "a.jpg").read_bytes() == original
    finally:
        subprocess.run([chattr, "-a", workshop.folder], check=True)


def test_a_fault_of_ours_at_one_file_stops_no_other(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(path: Path, *rest: object) -> object:
        if path.name == "a.jpg":
            raise OverflowError("as it were")
        return examine(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(look, "examine", stumble)
    for name in ("a.jpg", "b.jpg"):
        draw(workshop.folder / name, 1 + ord(name[0]))
    assert workshop.once() == {"done": 1}
    assert "a.jpg: unexpected" in caplog.text
