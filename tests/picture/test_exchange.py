"""The renames that `os` does not have."""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from liif_engine.picture.exchange import exchange, rename_no_replace

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has renameat2")


@linux_only
def test_two_names_change_places_and_a_taken_one_stays(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    if not exchange(one, other):
        pytest.skip("this file system cannot")
    assert (one.read_text(), other.read_text()) == ("2", "1")
    with pytest.raises(FileExistsError):
        rename_no_replace(one, other)
    with pytest.raises(FileNotFoundError):
        exchange(one, tmp_path / "missing")
    assert rename_no_replace(one, tmp_path / "free")
    assert (tmp_path / "free").read_text() == "2"


@linux_only
@pytest.mark.parametrize("call", [exchange, rename_no_replace])
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EXDEV])
def test_a_system_that_cannot_says_so_and_so_does_a_sandbox_that_knows_no_such_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Path, Path], bool], number: int
) -> None:
    def renameat2(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renameat2=renameat2))
    assert call(tmp_path / "one", tmp_path / "other") is False
