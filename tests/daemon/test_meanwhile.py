"""Files that are changed, opened, linked to, put there or deleted while the daemon works on them: nothing is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from liif_daemon import check, free, steps, swap
from liif_daemon.engine import Made, Order

from liif_engine.picture import image_file

from .workshop import Copying, Workshop, check_whole, draw, invoke, sha, size_of, wait_until


@pytest.mark.parametrize("how", ["written", "renamed over"])
@pytest.mark.parametrize("step", ["engine done", "about to swap"])
def test_a_file_that_changes_during_the_work_is_not_overwritten(
    workshop: Workshop, on_step: Callable[..., None], step: str, how: str
) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    edited = draw(workshop.base / "b.jpg", 2, 24, 20)

    def edit() -> None:
        if how == "written":
            path.write_bytes(edited)
        else:
            (workshop.base / "b.jpg").replace(path)

    on_step(step, edit)
    with workshop.running():
        wait_until(lambda: workshop.counts().get("done") == 1)
    # The newer version was restored itself, and is kept.
    assert workshop.store.path_of(sha(edited)).read_bytes() == edited
    assert size_of(path) == (48, 40)
    assert workshop.leftovers() == []


class _Killed(BaseException):
    """Ends a thread where it is, as a kill would."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_is_put_under_the_name_beside_in_the_instant_of_the_swap_survives_a_kill(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, beside = workshop.folder / "a.jpg", workshop.folder / "a@4x.jpg"
    draw(path, 1)
    assert workshop.once(scales=[2, 4]) == {"done": 2}
    draw(path, 2)
    theirs = draw(workshop.base / "theirs.jpg", 3, 7, 7)  # too small to be restored itself

    def meddle(step: str) -> None:
        if step == "about to swap":
            (workshop.base / "theirs.jpg").replace(beside)
        if step == "swapped":
            raise _Killed

    monkeypatch.setattr(steps, "on_step", meddle)
    with contextlib.suppress(_Killed), workshop.running(once=True, scales=[2, 4]) as daemon:
        wait_until(lambda: not daemon.tick())
    monkeypatch.undo()
    assert beside.read_bytes() != theirs
    workshop.once(scales=[2, 4])
    assert beside.read_bytes() == theirs
    assert size_of(path) == (40, 32)
    assert workshop.leftovers() == []


def test_a_file_that_is_still_open_for_writing_is_left_alone(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    with path.open("r+b") as writer:
        if free.is_open_for_writing(path) is None:
            pytest.skip("this file system does not tell who writes a file")
        with workshop.running() as daemon:
            wait_until(lambda: len(daemon.settling) == 1)
            assert workshop.counts() == {}
            assert path.read_bytes() == data
            writer.close()
            wait_until(lambda: workshop.counts() == {"done": 1})


def test_a_file_that_stays_open_for_writing_is_not_restored_again_and_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    passed: list[str] = []
    engine = workshop.engine = Copying()
    with contextlib.ExitStack() as opened:

        def reached(step: str) -> None:
            if step == "engine done" and step not in passed:
                opened.enter_context(path.open("r+b"))
            passed.append(step)

        monkeypatch.setattr(steps, "on_step", reached)
        if free.is_open_for_writing(path) is None:
            pytest.skip("this file system does not tell who writes a file")
        with workshop.running():
            wait_until(lambda: passed.count("claimed") > 4)
            assert len(engine.orders) == 1
            opened.close()
            wait_until(lambda: workshop.counts() == {"done": 1})
    assert len(engine.orders) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own on Windows")
def test_a_link_under_the_name_beside_is_a_stranger_s(workshop: Workshop) -> None:
    """Also one that leads to a result of ours."""
    draw(workshop.folder / "a.jpg", 1)
    (workshop.folder / "a@4x.jpg").symlink_to(workshop.folder / "b.jpg")
    assert workshop.once() == {"done": 1}
    shutil.copy(workshop.folder / "a.jpg", workshop.folder / "b.jpg")
    draw(workshop.folder / "a.jpg", 2)
    assert workshop.once(scales=[2, 4]) == {"done": 2, "failed": 1}
    assert (workshop.folder / "a@4x.jpg").is_symlink()


@pytest.mark.parametrize("step", ["workplace made", "engine done", "about to swap"])
def test_a_file_that_is_deleted_during_the_work_stays_deleted(
    workshop: Workshop, on_step: Callable[..., None], step: str
) -> None:
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    on_step(step, path.unlink)
    assert workshop.once() == {"skipped": 1}
    assert not path.exists()
    assert workshop.leftovers() == []
    data = draw(path, 1)
    assert workshop.once() == {"done": 1}
    assert workshop.store.path_of(sha(data)).read_bytes() == data


def test_where_case_is_no_matter_a_result_has_the_name_that_its_file_was_given_meanwhile(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on exFAT, of which three names of one file, and a folder that shows one of them, take the place."""
    spelled = [workshop.folder / name for name in ("Photo.JPG", "pHOTO.jpg", "photo.jpg")]
    draw(spelled[0], 1)

    def rename(_: object) -> None:
        for other in spelled[1:]:
            if not other.exists():
                other.hardlink_to(spelled[0])
        monkeypatch.setattr(os, "listdir", lambda _: ["photo.jpg", "b.jpg"])

    workshop.engine = Copying(before=rename)
    assert workshop.once(include=("Photo.*",), hard_links="replace")["done"] >= 1
    assert size_of(workshop.folder / "photo.jpg") == (40, 32)
    assert spelled[0].stat().st_size != spelled[2].stat().st_size, "the old spelling did not come back"


def test_where_names_cannot_be_exchanged_files_are_replaced(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "exchange", lambda *_: False)
    data = draw(workshop.folder / "a.jpg", 1)
    assert workshop.once() == {"done": 1}
    assert workshop.store.path_of(sha(data)).read_bytes() == data
    path = workshop.folder / "b.jpg"
    draw(path, 2)
    edited = draw(workshop.base / "c.jpg", 3, 24, 20)
    writers: list[int] = []

    def write_into_the_old_file(step: str) -> None:
        if step == "engine done" and not writers:
            writers.append(os.open(path, os.O_RDWR))
        if step == "swapped" and len(writers) == 1:
            os.ftruncate(writers[0], 0)
            os.pwrite(writers[0], edited, 0)
            os.close(writers[0])
            writers.append(-1)

    monkeypatch.setattr(swap, "is_open_for_writing", lambda _: False)
    monkeypatch.setattr(steps, "on_step", write_into_the_old_file)
    workshop.once()
    assert workshop.store.path_of(sha(edited)).read_bytes() == edited
    assert size_of(path) == (48, 40)
    assert workshop.leftovers() == []


def test_where_an_exchange_of_names_is_taken_for_a_rename_files_are_replaced_and_come_back(
    workshop: Workshop, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by FUSE file systems that do not look at the flags of a rename."""

    def exchange(one: Path, other: Path) -> bool:
        one.replace(other)
        return True

    monkeypatch.setattr(swap, "exchange", exchange)
    monkeypatch.setattr(check, "exchange", exchange)
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    assert workshop.once() == {"done": 1}
    (job,) = workshop.ledger().jobs()
    assert (job.reason, job.model) == ("", "copy"), "there was no interruption"
    assert size_of(path) == (40, 32)
    said = invoke("undo", path, "--config", config)
    assert (said.exit_code, said.output) == (0, f"{path}: the original is back\n")
    check_whole(workshop, path, data)
    words = [found.words for found in check._folder(workshop.settings().folders[0])]
    assert f"{workshop.folder}: names cannot be exchanged there; a window of microseconds remains" in words


def test_a_file_that_was_another_only_while_it_was_read_does_not_get_the_result_of_that_one(workshop: Workshop) -> None:
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)

    class TooLate(Copying):
        def restore(self, order: Order, on_progress: Callable[[float], None]) -> Made:
            if not self.orders:
                draw(path, 2)
            made = super().restore(order, on_progress)
            path.write_bytes(data)
            return made

    workshop.engine = TooLate()
    with workshop.running():
        wait_until(lambda: workshop.counts().get("done") == 1)
    marker = image_file.read_marker(path)
    assert marker is not None
    assert marker.source_sha256 == sha(data)


@pytest.mark.parametrize("has_links", [True, False])
def test_where_the_system_cannot_rename_to_free_names_alone_a_taken_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(free, "rename_no_replace", lambda *_: False)
    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"ours")
    other.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        free.rename_if_free(one, other)
    assert (one.read_bytes(), other.read_bytes()) == (b"ours", b"theirs")
    other.unlink()
    free.rename_if_free(one, other)
    assert other.read_bytes() == b"ours"
    assert not one.exists()
