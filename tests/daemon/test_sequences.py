"""What may happen between two steps: files that come, folders that go, Ctrl+C, promises that are renewed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import (
    asked,
    dispatch,
    exchange,
    find,
    observe,
    places,
    run,
    steps,
    swap,
    undo,
    watcher,
    work,
    workplace,
)
from liif_daemon.engine import EngineError, Order
from liif_daemon.ledger import Ledger, Owner
from liif_daemon.ledger.database import Database
from liif_daemon.ledger.folders import Folders
from liif_daemon.names import pictures
from liif_daemon.prune import prune
from liif_daemon.reload import read_anew
from liif_daemon.scan import scan
from liif_daemon.store import Store

from liif_engine.errors import ExitCode, OutputError

from .test_faults import NOBODY
from .test_undo import undo_all
from .test_words import config, invoke
from .workshop import Copying, Workshop, draw, sha, size_of, wait_until

__all__ = ["config"]  # a fixture

#: For what is over in a moment, if it ends at all. [s]
SOON = 30


def at(monkeypatch: pytest.MonkeyPatch, step: str, action: Callable[[], object]) -> None:
    """Does something once, when a step is reached."""
    left = [action]

    def reached(name: str) -> None:
        if name == step and left:
            left.pop()()

    monkeypatch.setattr(steps, "on_step", reached)


def no_engine(_: Order) -> None:
    raise EngineError("no engine", "wait")


def a_picture_and_a_newer_one(workshop: Workshop) -> tuple[Path, Path]:
    """A picture in the watched folder, and another one outside that is to take its place."""
    path, newer = workshop.folder / "a.jpg", workshop.base / "newer.jpg"
    draw(path, 1)
    draw(newer, 2, 24, 20)
    return path, newer


@pytest.mark.parametrize("step", ["swapped", "swap verified"])
def test_a_file_that_comes_as_a_result_takes_its_place_is_seen(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path, newer = a_picture_and_a_newer_one(workshop)
    at(monkeypatch, step, lambda: newer.replace(path))
    workshop.once()
    assert workshop.once() == {"done": 2}
    assert size_of(path) == (48, 40)


def test_a_file_that_comes_as_an_original_comes_back_is_seen(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, newer = a_picture_and_a_newer_one(workshop)
    workshop.once()
    at(monkeypatch, "swap verified", lambda: newer.replace(path))
    assert undo_all(workshop, path) == 1
    assert workshop.once() == {"done": 1, "undone": 1}


def test_a_file_that_comes_as_a_killed_run_is_put_in_order_is_seen(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, newer = a_picture_and_a_newer_one(workshop)
    recover = work.recover

    def and_then(*arguments: Any) -> str | None:
        here = recover(*arguments)
        if newer.exists():
            newer.replace(path)
        return here

    def stumble() -> None:
        raise OSError(5, os.strerror(5))

    at(monkeypatch, "swap verified", stumble)
    monkeypatch.setattr(work, "recover", and_then)
    workshop.once()
    assert workshop.once() == {"done": 2}


@pytest.mark.parametrize("step", ["about to swap", "swapped", "folders flushed", "swap verified"])
def test_an_undo_that_is_interrupted_is_undone_or_not(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()

    def interrupt() -> None:
        raise KeyboardInterrupt

    at(monkeypatch, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        undo_all(workshop, path)
    back = path.read_bytes() == data
    assert back == (step != "about to swap")
    assert workshop.once() == ({"undone": 1} if back else {"done": 1})  # and nothing is restored again
    assert (path.read_bytes() == data) == back


def test_a_result_put_over_a_picture_that_waits_ends_its_wait(workshop: Workshop) -> None:
    done, path = workshop.folder / "a.jpg", workshop.folder / "b.jpg"
    data = draw(done, 1)
    workshop.once()
    engine, workshop.engine = workshop.engine, Copying(no_engine)
    path.write_bytes(data)
    assert workshop.once() == {"done": 1, "queued": 1}
    workshop.engine = engine
    shutil.copy(done, path)
    assert workshop.once() == {"done": 1, "skipped": 1}
    assert undo_all(workshop, path) == 1  # the copy, by its content
    assert path.read_bytes() == data


def test_retry_of_a_size_that_is_no_longer_asked_for_ends(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    engine, workshop.engine = workshop.engine, Copying(no_engine)
    assert workshop.once() == {"queued": 1}
    workshop.engine = engine
    assert workshop.once(scale=4) == {"done": 1, "skipped": 1}
    with workshop.running(scale=4) as daemon:
        assert daemon.ledger.retry(daemon.ledger.jobs(path=path)) == 1
        daemon._wake.set()
        wait_until(lambda: workshop.counts() == {"done": 1, "skipped": 1}, SOON)
    assert size_of(path) == (80, 64)
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_retry_of_what_an_undo_that_was_killed_had_not_brought_back(workshop: Workshop) -> None:
    """The row is undone, but its result lies there still."""
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    workshop.once()
    ledger = workshop.ledger()
    ledger.finish(ledger.jobs()[0], "undone", "undone")
    assert ledger.retry(ledger.jobs()) == 1
    ledger.close()
    assert workshop.once() == {"done": 1}
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_under_a_picture_s_name_holds_nobody_up(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    engine, workshop.engine = workshop.engine, Copying(no_engine)
    workshop.once()
    workshop.engine = engine
    path.unlink()
    os.mkfifo(path)
    with workshop.running(once=True) as daemon:
        try:
            wait_until(lambda: not daemon.tick(), SOON)
        finally:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # lets go who waits for a writer
    assert workshop.counts() == {"skipped": 1}


def test_ctrl_c_answers_the_question_before_a_first_run(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    (workshop.folder / "a.jpg").write_bytes(b"of no size, so that no engine is asked")
    workshop.daemon_values["ask_above"] = 0
    monkeypatch.setattr(run, "write_log", lambda *_, **__: None)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def ask(_: str) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return True

    try:
        with pytest.raises(KeyboardInterrupt):
            run.run(workshop.settings(), workshop.settings, once=True, ask=ask)
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_once_ends_though_a_folder_is_away_in_which_something_waits(workshop: Workshop) -> None:
    draw(workshop.folder / "a.jpg", 1)
    workshop.engine = Copying(no_engine)
    assert workshop.once() == {"queued": 1}
    workshop.folder.rename(workshop.base / "away")
    with workshop.running(once=True) as daemon:
        wait_until(lambda: not daemon.tick(), SOON)


def test_once_ends_though_each_try_takes_longer_than_the_wait_for_the_next(workshop: Workshop) -> None:
    def slowly(order: Order) -> None:
        time.sleep(0.3)
        no_engine(order)

    for seed in range(3):
        draw(workshop.folder / f"{seed}.jpg", seed)
    workshop.engine = engine = Copying(slowly)
    with workshop.running(once=True) as daemon:
        wait_until(lambda: not daemon.tick(), SOON)
    assert workshop.counts() == {"queued": 3}
    assert len({order.source for order in engine.orders}) == len(engine.orders) == 3


def test_a_result_whose_folder_went_away_amid_the_swap_can_be_undone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, away = workshop.folder / "a.jpg", workshop.base / "away"
    data = draw(path, 1)
    at(monkeypatch, "swapped", lambda: workshop.folder.rename(away))
    workshop.once()
    assert (away / "a.jpg").read_bytes() != data
    away.rename(workshop.folder)
    assert workshop.once() == {"done": 1}
    assert workshop.leftovers() == []
    assert undo_all(workshop, path) == 1
    assert path.read_bytes() == data


def test_a_picture_of_somebody_s_is_never_taken_for_an_older_result_beside_another(workshop: Workshop) -> None:
    """As with icon.png and icon@2x.png: the second was restored in its own right."""
    theirs = workshop.folder / "a@4x.jpg"
    draw(theirs, 1)
    assert workshop.once(keep_originals="none") == {"done": 1}
    restored = theirs.read_bytes()
    draw(workshop.folder / "a.jpg", 2)
    assert workshop.once(scales=[2, 4]) == {"done": 2, "failed": 1}
    assert theirs.read_bytes() == restored
    draw(workshop.folder / "b.jpg", 3)
    assert workshop.once(scales=[2, 4]) == {"done": 4, "failed": 1}
    draw(workshop.folder / "b.jpg", 4)
    assert workshop.once(scales=[2, 4]) == {"done": 6, "failed": 1}  # an older result gives way to a newer one


def test_a_copy_of_a_result_that_is_redone_takes_nothing_from_the_one_it_was_copied_from(workshop: Workshop) -> None:
    first, path = workshop.folder / "a copy.jpg", workshop.folder / "b.jpg"
    data = draw(path, 1)
    workshop.once()
    shutil.copy(path, first)
    settings = workshop.settings(scale=4)
    ledger = workshop.ledger()
    assert scan(settings, ledger, again=True, dry_run=False, say=lambda _: None) == {"to be restored": 2}
    ledger.close()
    assert workshop.once(scale=4) == {"done": 2, "skipped": 2}
    for one in (first, path):
        assert size_of(one) == (80, 64)
        assert undo_all(workshop, one) == 1
        assert one.read_bytes() == data


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


def test_a_full_disk_under_the_ledger_is_waited_out(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    workshop.daemon_values["scan_seconds"] = 1
    with ExitStack() as opened:
        met: list[list[str]] = []
        at(monkeypatch, "backup written", lambda: met.append(opened.enter_context(full(monkeypatch))))
        with workshop.running() as daemon:
            wait_until(lambda: daemon.posts.faults or (met and len(met[0]) > 9), SOON)
            assert not daemon.posts.faults
            assert (workshop.folder / "a.jpg").read_bytes() == data
            opened.close()
            wait_until(lambda: workshop.counts() == {"done": 1})


def test_what_comes_while_the_ledger_s_disk_is_full_is_looked_at_when_it_has_room(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workshop.running() as daemon:
        wait_until(lambda: daemon._in_order.is_set() and not daemon.scans.due(()))
        with full(monkeypatch) as met:
            draw(workshop.folder / "a.jpg", 1)
            draw(workshop.folder / "b.jpg", 2)
            wait_until(lambda: workshop.folder / "a.jpg" in daemon.looker.missed and len(met) > 9)
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


def test_once_counts_what_failed_though_the_clock_went_back_meanwhile(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workshop.folder / "bad.jpg").write_bytes(b"no picture" * 50)
    draw(workshop.folder / "a.jpg", 1)
    with workshop.running(once=True) as daemon:
        monkeypatch.setattr(daemon.ledger.jobs.__globals__["time"], "time", lambda: 1e9)
        wait_until(lambda: not daemon.tick())
        assert run._summary(daemon) is ExitCode.SEVERAL
    assert capsys.readouterr().out.startswith("1 restored, 0 left as they are, 1 failed, 0 waiting")


def test_what_goes_from_one_stage_to_the_next_as_once_asks_whether_it_is_done_is_not_overlooked(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = workshop.ledger()
    daemon = dispatch.Daemon(workshop.settings(), ledger, workshop.engine, once=True)
    daemon._looking = False
    assert daemon._is_done()

    def begun() -> bool:
        daemon.scans.ask(daemon.settings.folders[0])
        return False

    def settled() -> list[Path | None]:
        daemon._looking = True
        return []

    with monkeypatch.context() as context:
        context.setattr(daemon.watcher, "is_beginning", begun)
        assert not daemon._is_done()
    daemon.scans.clear()
    monkeypatch.setattr(daemon, "_settling_now", settled)
    assert not daemon._is_done()
    ledger.close()


def test_a_promise_renewed_while_others_are_let_go_is_kept(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, store = workshop.ledger(), workshop.store
    kept = []
    for seed in range(3):
        data = draw(workshop.base / f"{seed}.jpg", seed)
        ledger.originals.promise(sha(data), store.keep(workshop.base / f"{seed}.jpg", sha(data)), store.folder, 0)
        kept.append(sha(data))
    row = {"path": workshop.folder / "2.jpg", "source_sha256": kept[2], "target": "2x", "in_place": True}
    row |= {"folder": workshop.folder, "size": 1, "mtime_ns": 1, "model": "", "width": 1, "height": 1}
    remove = Store.remove

    def meanwhile(self: Store, sha256: str) -> None:
        remove(self, sha256)
        ledger.originals.promise(kept[1], 1, store.folder, 1e12)
        ledger.queue([row])

    monkeypatch.setattr(Store, "remove", meanwhile)
    assert prune(ledger, store).count == 1
    assert [store.holds(one) for one in kept] == [False, True, True]
    assert {one["sha256"] for one in ledger.originals.all()} == set(kept[1:])
    ledger.close()


def test_a_scan_that_is_asked_for_during_a_scan_is_made(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an overflow of events: what it is asked for lies where the first has been already."""
    pictures, running = find.pictures, list[Any]()

    def and_then(*arguments: Any) -> Iterator[Path]:
        yield from pictures(*arguments)
        if not running[0].settings.folders[0].path.joinpath("a.jpg").exists():
            draw(workshop.folder / "a.jpg", 1)
            running[0].scans.ask(running[0].settings.folders[0])

    monkeypatch.setattr(observe._Handler, "on_any_event", lambda *_: None)
    monkeypatch.setattr(find, "pictures", and_then)
    monkeypatch.setattr(dispatch.Daemon, "_look_for_ever", _after(running, dispatch.Daemon._look_for_ever))
    with workshop.running() as daemon:
        running.append(daemon)
        wait_until(lambda: workshop.counts() == {"done": 1}, SOON)


def _after(running: list[Any], run: Callable[..., None]) -> Callable[..., None]:
    def wait(*arguments: Any) -> None:
        wait_until(lambda: running)
        run(*arguments)

    return wait


def test_what_new_settings_leave_out_is_not_restored_though_it_was_seen_before(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    with path.open("r+b") as writer, workshop.running() as daemon:
        if exchange.is_open_for_writing(path) is None:
            pytest.skip("this file system does not tell who writes a file")
        wait_until(lambda: len(daemon.settling) == 1)
        daemon.reload(workshop.settings(exclude=["a.*"]))
        writer.close()
        draw(workshop.folder / "b.jpg", 2)
        wait_until(lambda: workshop.counts().get("done") and not len(daemon.settling))
    assert workshop.once(exclude=["a.*"]) == {"done": 1}
    assert path.read_bytes() == data


def test_what_waits_under_a_former_name_of_its_folder_is_restored_under_the_present_one(workshop: Workshop) -> None:
    data = draw(workshop.folder / "a.jpg", 1)
    link = workshop.base / "link"
    link.symlink_to(workshop.folder)
    workshop.once(path=link)
    undo_all(workshop, link / "a.jpg")
    assert workshop.once() == {"undone": 1}
    assert (workshop.folder / "a.jpg").read_bytes() == data
    ledger = workshop.ledger()
    assert ledger.retry(ledger.jobs(path=link / "a.jpg")) == 1
    ledger.close()
    assert workshop.once() == {"done": 1, "skipped": 1}


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


def test_ending_an_observer_that_is_stuck_blocks_nobody() -> None:
    free = threading.Event()

    class Stuck:
        def stop(self) -> None:
            free.wait(60)

        def is_alive(self) -> bool:
            return True

        def join(self, timeout: float) -> None:
            free.wait(timeout)

    started = time.monotonic()
    observe._end(Stuck())
    assert time.monotonic() - started < 20
    free.set()


def test_a_file_that_is_named_is_not_taken_for_another_case(tmp_path: Path) -> None:
    for seed, name in enumerate(["A.jpg", "a.jpg"]):
        draw(tmp_path / name, seed)
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes both names for one")
    (folder,) = asked.folders([tmp_path / "A.jpg"], {})
    assert [path.name for path in pictures(folder, tmp_path)] == ["A.jpg"]
    assert (folder, folder.model_copy()) == (asked.folders([tmp_path / "A.jpg"], {})[0], folder)
    (whole,) = asked.folders([tmp_path], {"include": ("A.*",)})
    assert len(list(pictures(whole, tmp_path))) == 2


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


def test_many_originals_go_beside_the_main_loop(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is heard of meanwhile, by systemd's watchdog among others, also if the store does not answer."""
    monkeypatch.setattr(run, "PRUNE_AT_ONCE", 2)
    monkeypatch.setattr(run, "FOLDER_SECONDS", 0.0)
    ledger, store, answers = workshop.ledger(), workshop.store, threading.Event()
    for seed in range(5):
        data = draw(workshop.base / f"{seed}.jpg", seed)
        ledger.originals.promise(sha(data), store.keep(workshop.base / f"{seed}.jpg", sha(data)), store.folder, 0)
    monkeypatch.setattr(run, "prune", lambda *arguments, **rest: (answers.wait(SOON), prune(*arguments, **rest))[1])
    heard = [0]

    def tick() -> bool:
        heard[0] += 1
        if heard[0] == 9:
            assert len(ledger.originals.all()) == 5
            answers.set()
        return bool(ledger.originals.all())

    daemon: Any = SimpleNamespace(
        settings=workshop.settings(), once=False, tick=tick, ledger=ledger, store=store, stopping=threading.Event()
    )
    run._loop(daemon, workshop.settings, SimpleNamespace(ends=False, reloads=False))  # type: ignore[arg-type]
    assert heard[0] > 9
    assert not any(store.holds(sha(workshop.base / f"{seed}.jpg")) for seed in range(5))
    ledger.close()


def test_a_ledger_s_name_in_the_store_is_made_whole_and_follows_the_ledger(tmp_path: Path) -> None:
    """A power loss may leave an empty file; a state folder may be moved."""
    folder = tmp_path / "originals"
    for words in (b"", b"/former/ledger"):
        mine = folder / "ledgers" / ("1" * 32)
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_bytes(words)
        assert Store(folder, Owner("1" * 32, tmp_path / "ledger")).claim() == []
        assert Store(folder, Owner("2" * 32, tmp_path / "other")).claim() == [tmp_path / "ledger"]
        (folder / "ledgers" / ("2" * 32)).unlink()


def test_what_a_kill_left_of_somebody_s_picture_beside_is_put_back(workshop: Workshop) -> None:
    theirs, beside = workshop.folder / "c.jpg", workshop.folder / "a@4x.jpg"
    draw(theirs, 1)
    workshop.once()
    draw(workshop.folder / "a.jpg", 2)
    workshop.once(scales=[2, 4])
    ledger = workshop.ledger()
    (job,) = [job for job in ledger.jobs() if not job.in_place]
    beside.unlink()
    left = shutil.copy(theirs, workshop.base / "left.jpg")
    workplace._clear(left, job, workshop.store, ledger)
    ledger.close()
    assert beside.read_bytes() == theirs.read_bytes()


def test_a_file_that_cannot_even_be_asked_for_its_size_is_told_of(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
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
