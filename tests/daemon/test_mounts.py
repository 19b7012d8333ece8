"""What kind of file system a folder lies on, and where shares are polled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from liif_daemon import mounts

from .workshop import Workshop


def test_a_network_share_is_polled_and_it_is_said(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda _: "nfs4")
    with workshop.running() as daemon:
        status = daemon.watcher.status()[0]
        assert status["how"] == "polling"
        assert "nfs4" in status["why"]


def test_a_device_that_has_another_s_number_is_known_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares come and go while the daemon runs, and the system gives their numbers again."""
    device, clock, kinds = tmp_path.stat().st_dev, [0.0], ["nfs4"]
    numbers = f"{os.major(device)}:{os.minor(device)}"
    monkeypatch.setattr(mounts, "_mounts", lambda: [(numbers, "/", kind) for kind in kinds])
    monkeypatch.setattr("liif_daemon.mounts.time.monotonic", lambda: clock[0])
    mounts._kind_of_device.cache_clear()
    assert mounts.is_network(tmp_path)
    kinds[0] = "ext4"
    clock[0] += 60
    assert not mounts.is_network(tmp_path)
    mounts._kind_of_device.cache_clear()


@pytest.mark.parametrize("kind", ["vboxsf", "prl_fs", "fuse.vmhgfs-fuse", "fuse.juicefs", "fuse.kio-fuse"])
def test_folders_of_a_host_and_of_a_cloud_are_shares_and_a_local_one_under_fuse_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda _: kind)
    assert mounts.is_network(tmp_path)
    monkeypatch.setattr(mounts, "kind_of", lambda _: "fuse.gocryptfs")
    assert not mounts.is_network(tmp_path)


@pytest.mark.parametrize("name", ["one\u3000two", "one\x0btwo", "one\u2028two"])
def test_a_mount_whose_name_python_would_split_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The system writes a space, a tab and the end of a line otherwise; all else as it is."""
    place = tmp_path / name
    line = f"36 25 8:1 / {place} rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: line)
    assert mounts._mounts() == [("8:1", str(place), "ext4")]
    assert mounts.is_mount(place)
