"""What a job holds, where the disk does not do as it should."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from liif_engine.service.payload import ImagePayload
from liif_engine.service.request import Defaults, ImageRequest, parse

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full to stand for a full disk; Linux has one")
def test_a_picture_that_a_full_disk_did_not_take_is_removed(tmp_path: Path) -> None:
    payload = ImagePayload(parse(ImageRequest, b'{"scale": 2}', Defaults()), tmp_path, 1000)
    payload._file.close()
    payload._file = FULL.open("wb")
    payload.receive(b"a piece that waits in the file's buffer")
    payload.close()
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_opened_leaves_no_folder(tmp_path: Path) -> None:
    asked = parse(ImageRequest, b'{"scale": 2}', Defaults())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            ImagePayload(asked, tmp_path, 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
