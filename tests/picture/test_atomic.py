"""The old file or the new one, never half a file: crashes, full disks and taken names, all scripted."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from liif_engine.errors import OutputError, OutputExistsError
from liif_engine.picture import atomic
from liif_engine.picture.atomic import write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(path: Path, content: bytes, *, overwrite: bool, then: Callable[[], object]) -> None:
    """Writes `content` and lets something happen before the block ends."""
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
        then()


def failing(error: BaseException | type[BaseException]) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_a_new_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new.bin"
    with write_atomically(path, overwrite=False) as temporary:
        temporary.write_bytes(b"all")
        assert not path.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(atomic.TEMPORARY_PREFIX)
        assert temporary.name.endswith(atomic.TEMPORARY_SUFFIX)
    assert path.read_bytes() == b"all"
    assert names(tmp_path) == ["new.bin"]


def test_a_share_that_says_first_at_the_close_that_it_is_full_keeps_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, failures = os.close, [system_error(errno.EDQUOT)]

    def fail_once(descriptor: int) -> None:
        close(descriptor)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(os, "close", fail_once)
    with pytest.raises(OutputError, match="quota"), write_atomically(tmp_path / "new", overwrite=False):
        pytest.fail("the block ran")
    assert names(tmp_path) == []


def test_an_existing_file_is_refused_before_the_block_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    with pytest.raises(OutputExistsError) as caught, write_atomically(path, overwrite=False):
        pytest.fail("the block ran")
    assert caught.value.path == path
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["old"]


@pytest.mark.parametrize("has_renameat2", [True, False])
@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_renameat2: bool, has_links: bool
) -> None:
    if not has_renameat2:
        monkeypatch.setattr(atomic, "rename_no_replace", lambda *_: False)
    if not has_links:
        monkeypatch.setattr(os, "link", failing(system_error(errno.EPERM)))
    path = tmp_path / "name"
    with pytest.raises(OutputExistsError):
        fill(path, b"ours", overwrite=False, then=lambda: path.write_bytes(b"theirs"))
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["name"]


@pytest.mark.parametrize("said_of_links", [0, errno.EPERM, errno.EIO, errno.EXDEV])
def test_file_systems_without_a_safe_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said_of_links: int
) -> None:
    """Each has its own error for what it does not know: rclone's is a failing disk's."""
    monkeypatch.setattr(atomic, "rename_no_replace", lambda *_: False)
    if said_of_links:
        monkeypatch.setattr(os, "link", failing(system_error(said_of_links)))
    with write_atomically(tmp_path / "name", overwrite=False) as temporary:
        temporary.write_bytes(b"ours")
    assert (tmp_path / "name").read_bytes() == b"ours"
    assert names(tmp_path) == ["name"]


def test_a_file_that_cannot_be_opened_to_be_changed_in_part_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on rclone without a cache, which says so at the close."""
    opened, closed, parts = os.open, os.close, set[int]()

    def open_(path: Path, flags: int, *more: int) -> int:
        descriptor = opened(path, flags, *more)
        if flags & os.O_RDWR and not flags & os.O_TRUNC:
            parts.add(descriptor)
        return descriptor

    def close(descriptor: int) -> None:
        closed(descriptor)
        if descriptor in parts:
            parts.remove(descriptor)
            raise system_error(errno.EPERM)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "close", close)
    fill(tmp_path / "name", b"ours", overwrite=False, then=lambda: None)
    assert (tmp_path / "name").read_bytes() == b"ours"
    assert names(tmp_path) == ["name"]


@pytest.mark.parametrize("error", [system_error(errno.EIO), KeyboardInterrupt()])
def test_a_name_that_was_claimed_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(atomic, "rename_no_replace", lambda *_: False)
    monkeypatch.setattr(os, "link", failing(system_error(errno.EPERM)))
    monkeypatch.setattr(Path, "replace", failing(error))
    with pytest.raises((OutputError, KeyboardInterrupt)), write_atomically(tmp_path / "name", overwrite=False) as one:
        one.write_bytes(b"ours")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error):
        fill(path, b"half", overwrite=True, then=failing(error))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = (
        "import os, signal, sys; from liif_engine.picture.atomic import write_atomically\n"
        "with write_atomically(sys.argv[1], overwrite=True) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    [rest] = [name for name in names(tmp_path) if name != "file"]
    assert rest.startswith(atomic.TEMPORARY_PREFIX)
    assert rest.endswith(atomic.TEMPORARY_SUFFIX)


def test_windows_counts_the_characters_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert atomic.name_size(Path("folder", "画" * 100 + ".jpg")) == (104, 255)
    assert atomic.name_size(Path("folder", "\U0001f5bc.jpg")) == (6, 255)  # one that it writes as two


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "input/output error"),
        (errno.EROFS, "read-only"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_errors_of_the_system_come_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str, step: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", failing(system_error(number)))
    else:
        monkeypatch.setattr(Path, "replace", failing(system_error(number)))
    with pytest.raises(OutputError, match=words) as caught, write_atomically(path, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert caught.value.path == path
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_that_goes_and_then_is_closed_comes_in_words_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", failing(system_error(errno.ENOENT)))
    monkeypatch.setattr(Path, "is_dir", failing(system_error(errno.EACCES)))
    with pytest.raises(OutputError, match="cannot be written"), write_atomically(tmp_path / "new", overwrite=False):
        pytest.fail("the block ran")


def test_a_disk_that_fills_while_the_block_writes(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        fill(tmp_path / "file", b"half", overwrite=False, then=failing(system_error(errno.ENOSPC)))
    assert names(tmp_path) == []


def test_the_data_is_durable_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").resolve()
        steps.append("flush folder" if target == tmp_path.resolve() else "flush data")
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell which file is flushed")
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    with write_atomically(tmp_path / "file", overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert steps == ["flush data", "rename", "flush folder"]


def test_a_replaced_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    old.chmod(0o640)
    before = os.umask(0o027)
    try:
        for path in (old, tmp_path / "new"):
            with write_atomically(path, overwrite=True) as temporary:
                temporary.write_bytes(b"new")
    finally:
        os.umask(before)
    assert old.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_a_new_file_is_never_open_to_more_than_was_asked_for(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "new", overwrite=False, mode=0o600) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"target")
    link.symlink_to(target)
    with pytest.raises(OutputExistsError), write_atomically(link, overwrite=False):
        pass
    with write_atomically(link, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert not link.is_symlink()
    assert (target.read_bytes(), link.read_bytes()) == (b"target", b"new")


def test_a_dangling_link_counts_as_taken(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError), write_atomically(link, overwrite=False):
        pass
    assert names(tmp_path) == ["link"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path, words in [
        (tmp_path / "missing" / "name", "its folder does not exist"),
        *([(Path("/proc/name"), "no file can be made")] if sys.platform.startswith("linux") else []),
        (tmp_path / "folder", "it is a folder"),
        (tmp_path / "file" / "name", "not a folder"),
        (tmp_path / ("x" * 300), "too long"),
        (Path("/dev/null"), "device"),
    ]:
        with pytest.raises(OutputError, match=words), write_atomically(path, overwrite=True):
            pytest.fail("the block ran")
    assert names(tmp_path) == ["file", "folder"]
