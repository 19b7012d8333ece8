"""What somebody puts under a result's name stays, whenever the run that was to make that result was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from liif_engine.archive.journal import NAME
from liif_engine.crew import Crew
from liif_engine.errors import OutputExistsError
from liif_engine.picture.results import MARK
from liif_engine.target import Target
from liif_engine.workers import Answer, FileWork
from liif_engine.workers.freight import Parcel
from tests.archive.folders import HERE, ROOT, draw, restore

#: Formats whose results carry a marker, and one that has no place for it.
SUFFIXES = ["jpg", "png", "bmp"]

#: Where the run dies: its file has its name and no row says so, or it has not got it yet.
NAMED, UNNAMED = "Journal, 'done'", "atomic, '_rename_if_free'"

RUN = """
import os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from liif_engine.archive.journal import Journal
from liif_engine.picture import atomic
from tests.archive.folders import HERE, restore
setattr({where}, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
restore(Path({source!r}), Path({new!r}))
"""


def die(source: Path, new: Path, where: str) -> None:
    """A run that is killed, with nothing to say about it."""
    code = RUN.format(path=[str(ROOT), str(ROOT / "tests")], where=where, source=str(source), new=str(new))
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=100, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("where", [NAMED, UNNAMED])
def test_a_file_that_appears_under_a_begun_result_s_name_is_never_overwritten(
    tmp_path: Path, suffix: str, where: str
) -> None:
    source, new = tmp_path / "old", tmp_path / "new"
    draw(source / f"a.{suffix}", 1)
    die(source, new, where)
    foreign = draw(tmp_path / f"foreign.{suffix}", 2, width=40, height=32)
    result = new / f"a.{suffix}"
    foreign.replace(result)
    theirs = result.read_bytes()
    for _ in range(2):
        summary = restore(source, new)
        assert (summary.restored, summary.kept) == (0, 0)
        assert [type(error) for _, error in summary.failures] == [OutputExistsError]
        assert result.read_bytes() == theirs
    result.unlink()
    assert restore(source, new).restored == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_result_that_got_its_name_in_the_last_moment_is_known_again(tmp_path: Path, suffix: str) -> None:
    source, new = tmp_path / "old", tmp_path / "new"
    draw(source / f"a.{suffix}", 1)
    die(source, new, NAMED)
    before = (new / f"a.{suffix}").stat()
    summary = restore(source, new)
    assert summary.failures == []
    after = (new / f"a.{suffix}").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "it is not written again"
    assert restore(source, new).kept == 1


def test_a_file_that_appears_during_the_work_is_not_ours_in_the_next_run_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, new = tmp_path / "old", tmp_path / "new"
    draw(source / "a.bmp", 1)
    from liif_engine.picture import image_file

    write = image_file.write

    def slow(*arguments: object, **rest: object) -> object:
        (new / "a.bmp").write_bytes(b"somebody else's")
        return write(*arguments, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(image_file, "write", slow)
    assert [type(error) for _, error in restore(source, new).failures] == [OutputExistsError]
    monkeypatch.undo()
    assert [type(error) for _, error in restore(source, new).failures] == [OutputExistsError]
    assert (new / "a.bmp").read_bytes() == b"somebody else's"


def test_work_that_its_worker_died_with_after_the_result_had_its_name_is_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try finds the first one's result."""
    from dataclasses import replace

    from tests.archive.folders import COPYING

    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "tests")])
    source, new = tmp_path / "old", tmp_path / "new"
    draw(source / "a.bmp", 1)
    monkeypatch.setenv("LIIF_TEST_ONCE", str(tmp_path / "died"))
    dying = replace(COPYING, engine="faults:DiesOnceAfterNaming")
    summary = restore(source, new, Crew("processes", 1), dying)
    assert (tmp_path / "died").exists()
    assert summary.failures == []
    assert (summary.restored, summary.begun_again) == (1, 1)
    assert {path.name for path in new.iterdir()} == {NAME, MARK, "a.bmp"}
    assert restore(source, new, HERE).kept == 1


@pytest.mark.parametrize("there", ["nothing", "the same", "something else"])
def test_a_result_from_another_machine_gets_its_name_by_the_same_rule(tmp_path: Path, there: str) -> None:
    destination = tmp_path / "result.bmp"
    if there != "nothing":
        destination.write_bytes(b"the result" if there == "the same" else b"somebody's")
    source = str(draw(tmp_path / "a.bmp", 1))
    parcel = Parcel(FileWork(source, str(destination), Target(scale=2), resume=True))
    answer = Answer("copy", "fp32", "cpu", 0.0, 40, 32)
    if there == "something else":
        with pytest.raises(OutputExistsError, match="is not the result that was begun"):
            parcel.unpack(answer, b"the result")
        assert destination.read_bytes() == b"somebody's"
    else:
        assert parcel.unpack(answer, b"the result").destination == str(destination)
        assert destination.read_bytes() == b"the result"
    assert list(tmp_path.glob(".liif-*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes; runs on Linux and macOS")
def test_a_result_from_another_machine_is_read_by_nobody_who_may_not_read_its_original(tmp_path: Path) -> None:
    source, destination = draw(tmp_path / "a.bmp", 1), tmp_path / "result.bmp"
    source.chmod(0o640)
    parcel = Parcel(FileWork(str(source), str(destination), Target(scale=2)))
    parcel.unpack(Answer("copy", "fp32", "cpu", 0.0, 40, 32), b"the result")
    assert destination.stat().st_mode & 0o007 == 0
