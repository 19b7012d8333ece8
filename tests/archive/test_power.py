"""A power loss at each step of `liif restore`: what has a result's name is one, and the next run does the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.target import Target
from tests.archive.folders import COPYING, HERE, draw, restore, results
from tests.calling import jpeg, liif, model  # noqa: F401 - fixtures
from tests.daemon.power import Disk

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="unflushed bytes are read through /proc")


def test_a_folder_is_complete_after_the_next_run_and_what_was_told_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "out" / "new"
    for number, name in enumerate(["a.jpg", "deep/er/b.png", "deep/er/c.webp"]):
        draw(old / name, number)
    disk, whole = Disk(tmp_path), results(old)

    def told(relative: Path, *_: object) -> None:
        result = (new / relative).read_bytes()
        assert {tree.get(f"out/new/{relative}") for tree in disk.left()} == {result}

    with disk.losing_power(monkeypatch), Archive(Order(old, new, target=Target(scale=2), model="copy"), told) as one:
        one.run(HERE, COPYING)
    assert one.summary.restored == 3
    made = results(new)
    assert len(disk.cuts) > 5
    for cut in disk.cuts:
        cut.lay_out(tmp_path)
        there = results(new) if new.exists() else {}
        assert {name: content for name, content in there.items() if ".liif-" not in name}.items() <= made.items(), (
            cut.when
        )
        summary = restore(old, new)
        assert (summary.failures, summary.restored + summary.kept) == ([], 3), cut.when
        assert made.items() <= results(new).items(), cut
        assert results(old) == whole, cut.when
        assert restore(old, new).restored == 0, cut.when


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_picture_has_the_whole_result_or_what_was_there(
    liif: Callable[..., tuple[int, str, str]],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overwrite: bool,
) -> None:
    original, result = jpeg(tmp_path / "a.jpg").read_bytes(), tmp_path / "a@2x.jpg"
    before = None
    if overwrite:
        result.write_bytes(before := b"somebody's")
    disk = Disk(tmp_path)
    with disk.losing_power(monkeypatch):
        assert liif("restore", tmp_path / "a.jpg", *["--overwrite"] * overwrite)[0] == 0
        assert {tree.get(result.name) for tree in disk.left()} == {result.read_bytes()}
    assert {cut.tree.get(result.name) for cut in disk.cuts} == {before, result.read_bytes()}
    assert {cut.tree.get("a.jpg") for cut in disk.cuts} == {original}
