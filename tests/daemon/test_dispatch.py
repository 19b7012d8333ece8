"""The daemon as a whole, with an engine that copies pixels: what is dropped is restored, once, and nothing is lost."""

from __future__ import annotations

from .workshop import Workshop, draw, sha, size_of, wait_until


def test_what_is_there_is_restored_once_and_kept(workshop: Workshop) -> None:
    originals = {n: draw(workshop.folder / f"{n}.jpg", n) for n in range(3)}
    assert workshop.once() == {"done": 3}
    for n, data in originals.items():
        assert size_of(workshop.folder / f"{n}.jpg") == (40, 32)
        assert workshop.store.path_of(sha(data)).read_bytes() == data
    assert workshop.leftovers() == []
    after = {path: path.read_bytes() for path in workshop.folder.iterdir()}
    assert workshop.once() == {"done": 3}
    assert {path: path.read_bytes() for path in workshop.folder.iterdir()} == after


def test_what_is_dropped_is_restored(workshop: Workshop) -> None:
    with workshop.running() as daemon:
        wait_until(lambda: daemon.watcher.present())
        data = draw(workshop.folder / "deep" / "er" / "one.png", 7)
        wait_until(lambda: workshop.counts() == {"done": 1})
    assert size_of(workshop.folder / "deep" / "er" / "one.png") == (40, 32)
    assert workshop.store.path_of(sha(data)).read_bytes() == data


def test_what_is_no_picture_fails_at_once_also_when_it_is_tried_again(workshop: Workshop) -> None:
    (workshop.folder / "text.jpg").write_bytes(b"hello" * 50)
    assert workshop.once() == {"failed": 1}
    ledger = workshop.ledger()
    (job,) = ledger.jobs(state="failed")
    assert ledger.retry([job]) == 1
    assert workshop.once() == {"failed": 1}
    (again,) = ledger.jobs(state="failed")
    assert "not a picture" in again.reason
    assert again.attempts <= job.attempts + 1
    ledger.close()
