"""The main loop and `run --once`: nothing holds them up, and `--once` ends when all is done, and not before."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from liif_daemon import dispatch, find, observe, run
from liif_daemon.engine import Order
from liif_daemon.ledger.originals import Originals
from liif_daemon.prune import prune

from liif_engine.errors import ExitCode

from .workshop import SOON, Copying, Workshop, draw, no_engine, sha, wait_until


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


def test_once_counts_what_failed_though_the_clock_went_back_meanwhile(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workshop.folder / "bad.jpg").write_bytes(b"no picture" * 50)
    draw(workshop.folder / "a.jpg", 1)
    with workshop.running(once=True) as daemon:
        monkeypatch.setattr(time, "time", lambda: 1e9)
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


def test_many_originals_go_beside_the_main_loop(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is heard of meanwhile, by systemd's watchdog among others, also if the store does not answer."""
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
    # The ledger knows first that one goes.
    wait_until(lambda: not any(store.holds(sha(workshop.base / f"{seed}.jpg")) for seed in range(5)))
    ledger.close()


def test_letting_many_originals_go_reads_them_once_and_ends_with_the_daemon(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, store, stopping, reads = workshop.ledger(), workshop.store, threading.Event(), []
    every, let_go = Originals.all, Originals.let_go
    with ledger.together():
        for number in range(300):
            ledger.originals.promise(f"{number:064x}", 1, store.folder, 0)

    def read(self: Originals) -> Any:
        reads.append(every(self))
        return reads[-1]

    def go(self: Originals, original: Any) -> bool:
        if len(every(self)) == 51:
            stopping.set()
        return let_go(self, original)

    monkeypatch.setattr(Originals, "all", read)
    monkeypatch.setattr(Originals, "let_go", go)
    daemon: Any = SimpleNamespace(ledger=ledger, store=store, stopping=stopping)
    run._let_go(daemon)
    assert (len(reads), len(every(ledger.originals))) == (1, 50)
    ledger.close()


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
