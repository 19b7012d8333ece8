"""What a file is besides its bytes, on file systems that are full, that refuse, or that know less than others."""

from __future__ import annotations

import errno
import os
import struct
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from liif_daemon.carry import carry
from liif_daemon.undo import undo
from liif_daemon.undoable import undoable

from .workshop import Workshop, draw, size_of, wait_until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="extended attributes as Linux has them")


@pytest.fixture
def path(workshop: Workshop) -> Path:
    """A picture with an attribute."""
    path = workshop.folder / "a.jpg"
    draw(path, 1)
    try:
        os.setxattr(path, "user.tag", b"holiday")
    except OSError:
        pytest.skip("this file system has no attributes of users; ext4, XFS and btrfs do")
    return path


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An ACL as Linux keeps it in an attribute: of each entry its kind, what it permits, and for whom."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_an_access_list_goes_with_the_picture_and_comes_back_with_its_original(workshop: Workshop) -> None:
    """Of a folder too: what that gives to new files by default is not the picture's."""
    owner, user, group, mask, other, nobody = 1, 2, 4, 16, 32, 0xFFFFFFFF
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    path.chmod(0o640)
    listed = acl((owner, 6, nobody), (user, 4, 1234), (group, 4, nobody), (mask, 4, nobody), (other, 0, nobody))
    given = acl((owner, 7, nobody), (user, 7, 4321), (group, 5, nobody), (mask, 7, nobody), (other, 0, nobody))
    try:
        os.setxattr(path, "system.posix_acl_access", listed)
        os.setxattr(workshop.folder, "system.posix_acl_default", given)
    except OSError:
        pytest.skip("this file system has no ACLs; ext4, XFS and btrfs do")
    plain = workshop.folder / "plain.jpg"
    draw(plain, 2)
    os.removexattr(plain, "system.posix_acl_access")
    mode = plain.stat().st_mode
    assert workshop.once() == {"done": 2}
    assert size_of(path) == size_of(plain) == (40, 32)
    assert os.getxattr(path, "system.posix_acl_access") == listed
    assert "system.posix_acl_access" not in os.listxattr(plain)
    assert plain.stat().st_mode == mode
    with closing(workshop.ledger()) as ledger:
        (job,) = undoable(path, ledger)
        undo(job, ledger, workshop.store)
    assert path.read_bytes() == data
    assert os.getxattr(path, "system.posix_acl_access") == listed


def refuse(number: int, times: list[int]) -> Any:
    """`os.setxattr` that fails so many times, or for ever."""
    given = os.setxattr

    def setxattr(*arguments: Any, **rest: Any) -> None:
        if times:
            times[0] -= 1
            if not times[0]:
                times.clear()
            raise OSError(number, os.strerror(number), str(arguments[0]))
        given(*arguments, **rest)

    return setxattr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_without_room_for_an_attribute_is_waited_for(
    workshop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "setxattr", refuse(number, [3]))
    with workshop.running():
        wait_until(lambda: workshop.counts().keys() & {"done", "failed"})
    assert workshop.counts() == {"done": 1}
    assert os.getxattr(path, "user.tag") == b"holiday"


def test_an_attribute_that_is_refused_fails_the_picture_with_the_reason(
    workshop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = path.read_bytes()
    monkeypatch.setattr(os, "setxattr", refuse(errno.EPERM, [-1]))
    assert workshop.once() == {"failed": 1}
    assert "user.tag cannot be given" in workshop.ledger().jobs()[0].reason
    assert path.read_bytes() == data


def test_an_attribute_that_goes_as_it_is_read_is_no_fault(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, target = os.listxattr, tmp_path / "result.jpg"
    target.touch()
    monkeypatch.setattr(os, "listxattr", lambda name: [*listed(name), "user.gone"])
    carry(path, target, mtime=True)
    assert os.getxattr(target, "user.tag") == b"holiday"


def test_where_a_file_system_says_of_all_attributes_that_the_disk_fails_it_has_none(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rclone does."""
    draw(workshop.folder / "a.jpg", 1)
    monkeypatch.setattr(os, "listxattr", refuse(errno.EIO, [-1]))
    assert workshop.once() == {"done": 1}
    assert size_of(workshop.folder / "a.jpg") == (40, 32)


def test_attributes_that_a_failing_disk_does_not_give_are_not_lost(
    workshop: Workshop, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, listed = path.read_bytes(), os.listxattr

    def listxattr(name: Path | int) -> list[str]:
        if name == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))
        return listed(name)

    monkeypatch.setattr(os, "listxattr", listxattr)
    assert workshop.once() == {"queued": 1}
    assert "input/output error" in workshop.ledger().jobs()[0].reason
    assert path.read_bytes() == data


def test_where_all_files_have_one_mode_none_is_asked_for(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some shares and disks without permissions, which refuse it."""

    def chmod(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    draw(workshop.folder / "a.jpg", 1)
    monkeypatch.setattr(os, "chmod", chmod)
    assert workshop.once() == {"done": 1}
    assert size_of(workshop.folder / "a.jpg") == (40, 32)


def test_a_link_that_somebody_puts_in_a_result_s_place_gives_nothing_away(tmp_path: Path) -> None:
    """In a folder where others may write: what it leads to is not opened up to all."""
    source, private, result = tmp_path / "a.jpg", tmp_path / "private", tmp_path / "result.jpg"
    source.touch()
    source.chmod(0o666)
    private.touch()
    private.chmod(0o600)
    result.symlink_to(private)
    with pytest.raises(OSError, match="symbolic links"):
        carry(source, result, mtime=True)
    assert private.stat().st_mode & 0o777 == 0o600


def test_a_mode_that_the_system_does_not_give_is_not_lost_without_a_word(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the set-group-id bit of a file whose group is not one's own: the call succeeds, the bit is not there."""
    path = workshop.folder / "a.jpg"
    data = draw(path, 1)
    path.chmod(0o2664)
    chmod = os.chmod
    monkeypatch.setattr(os, "chmod", lambda name, mode, **rest: chmod(name, mode & ~0o2000, **rest))
    assert workshop.once() == {"failed": 1}
    assert "mode 2664" in workshop.ledger().jobs()[0].reason
    assert path.read_bytes() == data
