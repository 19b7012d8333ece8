"""Where files of a user lie, whatever the variables hold that say so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from liif_daemon import unit
from liif_daemon.settings import default_state_folder

from liif_engine import config
from liif_engine.base_folder import base_folder


@pytest.mark.parametrize("relative", ["", ".", "state", "~/state"])
def test_a_relative_folder_counts_as_none(monkeypatch: pytest.MonkeyPatch, relative: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", relative)
    assert base_folder("XDG_STATE_HOME", ".local/state") == Path.home() / ".local" / "state"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert base_folder("XDG_STATE_HOME", ".local/state") == Path.home() / ".local" / "state"


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="these systems have folders of their own")
def test_settings_ledger_and_unit_lie_where_the_variables_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def places() -> list[Path]:
        return [config.default_path(), default_state_folder(), unit.path()]

    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    assert all(place.is_relative_to(tmp_path) for place in places())
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, "here")
    assert all(place.is_relative_to(Path.home()) for place in places())
