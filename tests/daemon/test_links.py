"""Symbolic links in a watched folder, and folders that give way to one or take a name of ours: none is followed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from liif_daemon import free
from liif_daemon.ledger import Job, Ledger

from .workshop import Workshop, at, draw, size_of, wait_until


@pytest.mark.parametrize("inner_first", [False, True])
def test_a_link_in_a_watched_folder_is_followed_if_it_is_watched_itself(workshop: Workshop, inner_first: bool) -> None:
    draw(workshop.base / "disk" / "a.jpg", 1)
    link = workshop.folder / "link"
    link.symlink_to(workshop.base / "disk")
    folders = workshop.settings().folders + workshop.settings(path=link, scales=[4]).folders
    settings = dataclasses.replace(workshop.settings(), folders=folders[::-1] if inner_first else folders)
    with workshop.running(once=True, settings=settings) as daemon:
        wait_until(lambda: not daemon.tick())
    assert workshop.counts() == {"done": 1}
    assert size_of(link / "a.jpg") == (80, 64)


def gives_way_to_a_link(folder: Path, other: Path) -> None:
    folder.rename(folder.with_name(".aside"))
    folder.symlink_to(other)


def test_a_folder_that_gives_way_to_a_link_before_its_files_settle_is_not_followed(workshop: Workshop) -> None:
    path = workshop.folder / "sub" / "a.jpg"
    outside = draw(workshop.base / "private" / "a.jpg", 1)
    path.parent.mkdir()
    with workshop.running() as daemon, path.open("wb") as writer:
        if free.is_open_for_writing(path) is None:
            pytest.skip("this file system does not tell who writes a file")
        wait_until(lambda: len(daemon.settling) == 1)
        gives_way_to_a_link(path.parent, workshop.base / "private")
        wait_until(lambda: not len(daemon.settling))
        writer.close()
        draw(workshop.folder / "b.jpg", 2)
        wait_until(lambda: workshop.counts().get("done") and not len(daemon.settling))
    assert workshop.once() == {"done": 1}
    assert (workshop.base / "private" / "a.jpg").read_bytes() == outside


@pytest.mark.parametrize("step", ["claimed", "workplace made", "engine done", "result promised"])
def test_a_folder_that_gives_way_to_a_link_at_any_step_is_not_followed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Though the very picture lies where the link leads."""
    path, private = workshop.folder / "sub" / "a.jpg", workshop.base / "private"
    data = draw(path, 1)
    draw(private / "a.jpg", 1)
    at(monkeypatch, step, lambda: gives_way_to_a_link(path.parent, private))
    # What lies beside its original takes its place first.
    assert workshop.once(scales=[2, 4]) == ({"done": 1, "skipped": 1} if step == "result promised" else {"skipped": 2})
    assert [one.read_bytes() for one in private.iterdir()] == [data]


def test_nothing_is_put_beside_a_picture_whose_folder_gives_way_to_a_link_at_the_last_moment(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, private = workshop.folder / "sub" / "a.jpg", workshop.base / "private"
    data = draw(path, 1)
    draw(private / "a.jpg", 1)
    promise = Ledger.promise

    def then_the_link(self: Ledger, job: Job, **rest: Any) -> None:
        promise(self, job, **rest)
        if not path.parent.is_symlink():
            (workplace,) = path.parent.glob(".liif-*")
            shutil.copytree(workplace, private / workplace.name)  # so that the result's own name leads there as well
            gives_way_to_a_link(path.parent, private)

    monkeypatch.setattr(Ledger, "promise", then_the_link)
    workshop.once(scales=[2, 4])
    assert {one.name: one.read_bytes() for one in private.iterdir() if one.is_file()} == {"a.jpg": data}


@pytest.mark.parametrize("step", ["workplace made", "engine done", "ledger done"])
def test_a_folder_of_somebody_s_that_takes_a_workplace_s_name_keeps_what_is_in_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    """Who may write into the watched folder may rename what lies there, but not remove what others' folders hold."""
    draw(workshop.folder / "a.jpg", 1)
    album = workshop.base / "pictures" / ".album"
    kept = {draw(album / name, seed) for seed, name in enumerate(["b.jpg", "deep/c.jpg"], start=2)}

    def give_it_the_name() -> None:
        (made,) = workshop.folder.glob(".liif-*.tmp")
        made.rename(made.with_name(".aside"))
        album.rename(made)

    at(monkeypatch, step, give_it_the_name)
    workshop.once()
    (left,) = workshop.folder.glob(".liif-*.tmp")
    assert {one.read_bytes() for one in left.rglob("*.jpg")} == kept
    assert f"{left}: holds what is not ours" in caplog.text
    assert workshop.once() == {"done": 1}
    assert left.exists()
