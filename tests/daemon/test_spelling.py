"""File systems on which one file has many names: exFAT and NTFS whatever its case, HFS+ however accents are written."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from liif_daemon.examine import examine

from .workshop import Workshop, draw, invoke

#: How a folder shows a file, how somebody else spells it, and one more spelling that leads to it.
SPELLINGS = [("Photo.JPG", "photo.jpg", "PHOTO.JPG"), ("e\u0301.jpg", "\u00e9.jpg", "\u00c9.JPG")]


@pytest.mark.parametrize("names", SPELLINGS)
def test_where_spelling_is_no_matter_undo_of_another_spelling_is_undo_of_the_file(
    workshop: Workshop, config: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """As on exFAT and HFS+, of which some names of one file, and a folder that shows one of them, take the place."""
    shown, *others = (workshop.folder / name for name in names)
    data = draw(shown, 1)
    assert workshop.once() == {"done": 1}
    for other in others:
        other.hardlink_to(shown)
    monkeypatch.setattr(os, "listdir", lambda _: [shown.name])
    assert invoke("undo", others[0], "--config", config).exit_code == 0
    assert shown.read_bytes() == data
    assert workshop.counts() == {"undone": 1}
    said = invoke("why", others[0], "--config", config)
    assert "was undone" in said.output


@pytest.mark.parametrize("names", SPELLINGS)
def test_where_spelling_is_no_matter_what_was_undone_is_not_restored_when_it_is_spelled_otherwise(
    workshop: Workshop, config: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    shown, before, _ = (workshop.folder / name for name in names)
    draw(before, 1)
    assert workshop.once() == {"done": 1}
    assert invoke("undo", before, "--config", config).exit_code == 0
    for other in {shown, before.with_name(before.name.swapcase())}:
        shutil.copy(before, other)  # no links: under FUSE each spelling has its own inode
    monkeypatch.setattr(os, "listdir", lambda _: [shown.name])
    with closing(workshop.ledger()) as ledger:
        settings = workshop.settings()
        assert examine(shown, settings.folders[0], settings, ledger).kind == "undone"
        monkeypatch.undo()  # two files, where spelling is a matter
        assert examine(shown, settings.folders[0], settings, ledger).kind == "job"
