"""``liif restore FOLDER --out FOLDER``: what it prints, and which words it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from liif_engine.errors import ExitCode
from tests.archive.folders import liif


def test_the_command(source: Path, tmp_path: Path, tiny: Path) -> None:
    assert source.name == "old"
    options = ("--model", tiny, "--device", "cpu")
    done = liif("old", "--out", "new", *options, "--workers", 2, folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "5 restored, 1 failed, 1 other file left alone (--verbose names them)" in done.stderr
    assert "failed, unreadable picture: 1" in done.stderr
    assert "note, 1 file: BMP has no place for a note of the restoration" in done.stderr
    again = liif("old", "--out", "new", *options, "--json", folder=tmp_path)
    figures = json.loads(again.stdout)
    assert (figures["kept"], figures["restored"], figures["failed"]) == (5, 0, 1)
    named = liif("old/a.jpg", "old/b.png", "--out", "named", *options, "--workers", 1, "--json", folder=tmp_path)
    assert named.returncode == 0, named.stderr
    assert {row["status"] for row in json.loads(named.stdout)} == {"restored"}
    assert (tmp_path / "named" / "a@2x.jpg").read_bytes() == (tmp_path / "new" / "a.jpg").read_bytes()
    (source / "link.jpg").symlink_to(source / "a.jpg")
    (source / "again.jpg").write_bytes((tmp_path / "new" / "a.jpg").read_bytes())
    if hasattr(os, "mkfifo"):
        os.mkfifo(source / "pipe.jpg")
    dry = liif("old", "--out", "dry", *options, "--dry-run", "--verbose", folder=tmp_path)
    assert "40x32 (dry run)" in dry.stdout
    said = " ".join(dry.stderr.split())
    assert "notes.txt: left alone: its name is not that of a picture" in said
    assert "pipe.jpg: left alone: neither a file nor a folder" in said or not hasattr(os, "mkfifo")
    assert "link.jpg: left alone: a symbolic link, and those are not followed" in said
    assert "again.jpg: left alone: its metadata says that it is a result of liif-restore" in said
    planned = json.loads(liif("old", "--out", "dry", *options, "--dry-run", "--json", folder=tmp_path).stdout)[
        "planned"
    ]
    assert {"source": "a.jpg", "out_width": 40, "out_height": 32} in planned
    assert len(planned) == dry.stdout.count("(dry run)")
    assert f"{len(planned)} would be restored, " in said
    assert not (tmp_path / "dry").exists()


@pytest.mark.parametrize(
    "words", [("--device", "cuda:77"), ("--device", "cuda:77", "--workers", "1")], ids=["here", "workers"]
)
@pytest.mark.parametrize("what", [("old",), ("old/a.jpg", "old/b.png")], ids=["folder", "files"])
def test_what_every_file_would_fail_of_is_said_once_and_of_no_file(
    source: Path, tiny: Path, what: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = liif(*what, "--out", "more/new", "--model", tiny, *words, folder=source.parent)
    lines = [line for line in done.stderr.splitlines() if "there is no CUDA GPU" in line]
    assert len(lines) == 1
    assert lines[0].startswith("liif: there is no CUDA GPU")
    assert "failed" not in done.stderr
    assert done.returncode == ExitCode.DEVICE
    assert not (source.parent / "more").exists(), "no folder is left of results that never came"


@pytest.mark.parametrize("what", ["old", "old/a.jpg"])
def test_a_model_that_is_missing_is_told_before_anything_is_written(source: Path, what: str) -> None:
    done = liif(what, "--out", "new", "--model", "none", folder=source.parent)
    assert done.returncode == ExitCode.MODEL
    assert done.stderr.count("there is no model 'none'") == 1
    assert [path.name for path in source.parent.iterdir()] == ["old"]


def test_what_fails_alike_is_named_ten_times(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "old").mkdir()
    for number in range(13):
        (tmp_path / "old" / f"{number:02}.jpg").write_bytes(b"no picture")
    options = ("old", "--out", "new", "--model", tiny, "--device", "cpu")
    said = liif(*options, folder=tmp_path).stderr
    assert [f"old/{number:02}.jpg" in said for number in range(13)] == [True] * 10 + [False] * 3
    assert "liif: and 3 more: is not a picture" in said
    assert "13 failed" in said
    said = liif(*options, "--verbose", folder=tmp_path).stderr
    assert all(f"{number:02}.jpg" in said for number in range(13))
    assert "more: " not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("old",), "--out"),
        (("old", "old/a.jpg", "--out", "new"), "a run of its own"),
        (("old", "--out", "new", "--workers", "many"), "workers are"),
    ],
)
def test_commands_that_make_no_sense(source: Path, words: tuple[str, ...], said: str) -> None:
    done = liif(*words, folder=source.parent)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
