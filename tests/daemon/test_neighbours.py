"""Two daemons with ledgers of their own over the same pictures: each says at its start that the other is there."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from liif_daemon import check, neighbours
from liif_daemon.neighbours import Claim
from liif_daemon.settings import FolderSettings

from .test_undo import undo_all
from .workshop import Workshop, draw, size_of, wait_until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has such sockets")

CLAIMING = """
import sys
from pathlib import Path
from liif_daemon.neighbours import Claim
from liif_daemon.settings import FolderSettings
claim = Claim(FolderSettings(path=sys.argv[1], recursive=sys.argv[2] == "deep"))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_daemon(folder: Path, depth: str = "deep") -> Iterator[subprocess.Popen[str]]:
    """A process that watches a folder."""
    command = [sys.executable, "-c", CLAIMING, str(folder), depth]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def others(folder: Path, *, recursive: bool = True) -> list[int]:
    claim = Claim(FolderSettings(path=folder, recursive=recursive))
    try:
        return claim.others()
    finally:
        claim.end()


def test_another_daemon_is_said_at_the_start_and_keeps_nobody_from_work(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    draw(workshop.folder / "a.jpg", 1)
    with other_daemon(workshop.folder) as process:
        assert workshop.once() == {"done": 1}
    (said,) = (one.getMessage() for one in caplog.records if "another liif-daemon" in one.getMessage())
    assert said.startswith(f"{workshop.folder}: another liif-daemon (process {process.pid}) with a ledger of its own")
    assert "take the folder out of its settings" in said
    caplog.clear()
    workshop.once()
    assert "another liif-daemon" not in caplog.text, "that one was killed"
    assert [path.name for path in workshop.folder.iterdir()] == ["a.jpg"]


def test_check_names_another_daemon_and_not_the_one_of_this_ledger(tmp_path: Path) -> None:
    folder = FolderSettings(path=tmp_path)
    with other_daemon(tmp_path) as process:
        (finding,) = check._neighbours(folder, None)
        assert finding.level == "warning"
        assert finding.words.startswith(f"{tmp_path}: another liif-daemon (process {process.pid})")
        assert list(check._neighbours(folder, process.pid)) == []
    assert list(check._neighbours(folder, None)) == []


def test_what_one_undoes_the_other_restores_again(workshop: Workshop) -> None:
    """Which is why it is said."""
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    other = Workshop(workshop.base)
    other.daemon_values["state"] = workshop.base / "other"
    workshop.once()
    assert other.once() == {}
    undo_all(workshop, path)
    assert other.once() == {"done": 1}
    assert size_of(path) == (40, 32)


def test_a_bmp_is_enlarged_by_each_in_turn(workshop: Workshop) -> None:
    """Which is why it is said, too."""
    path, other = workshop.folder / "a.bmp", Workshop(workshop.base)
    draw(path, 1)
    other.daemon_values["state"] = workshop.base / "other"
    for size, one in (((40, 32), workshop), ((80, 64), other), ((160, 128), workshop)):
        one.once()
        assert size_of(path) == size


def test_folders_around_and_below_count_if_they_are_looked_at(tmp_path: Path) -> None:
    middle = tmp_path / "middle"
    (middle / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(middle)
    with other_daemon(middle) as process:
        assert others(middle) == others(tmp_path / "link") == others(middle / "inner") == [process.pid]
        assert others(tmp_path) == [process.pid]
        assert others(tmp_path, recursive=False) == []
    with other_daemon(middle, "flat") as process:
        assert others(middle) == [process.pid]
        assert others(middle / "inner") == []
    assert others(middle) == []


def test_a_killed_daemon_is_not_found_and_one_does_not_find_itself(tmp_path: Path) -> None:
    first, second = (Claim(FolderSettings(path=tmp_path)) for _ in range(2))
    assert first.others() == second.others() == []
    first.end()
    second.end()
    with other_daemon(tmp_path) as process:
        assert others(tmp_path) == [process.pid]
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: others(tmp_path) == [])


def test_a_deep_folder_s_name_is_cut_where_it_becomes_too_long(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcdefghijklmnopqrstuvwxyz")
    deep.mkdir(parents=True)
    with other_daemon(deep) as process:
        assert others(deep) == others(deep.parent) == [process.pid]


def test_where_the_system_refuses_nothing_is_said_and_the_work_goes_on(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no such sockets here")

    monkeypatch.setattr(neighbours.socket, "socket", refuse)
    monkeypatch.setattr(neighbours, "_ALL", workshop.base / "nothing")
    draw(workshop.folder / "a.jpg", 1)
    assert workshop.once() == {"done": 1}
    assert others(workshop.base / "missing") == []
