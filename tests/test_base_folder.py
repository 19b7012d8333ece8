"""Where files of a user lie, whatever the variables hold that say so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from liif_daemon import settings, unit
from liif_daemon.settings import default_state_folder

from liif_engine import config
from liif_engine.base_folder import base_folder
from liif_engine.errors import ConfigError
from liif_engine.service import client


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


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom no passwd file knows, and without HOME; as in many containers."""
    for name in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)

    def nowhere(_: object) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(nowhere))
    monkeypatch.setattr("os.path.expanduser", lambda path: path)


@pytest.mark.usefixtures("homeless")
def test_who_has_no_home_folder_has_no_config_there() -> None:
    assert config.load() == config.EngineSettings()
    assert settings.load() == settings.Settings()


@pytest.mark.usefixtures("homeless")
def test_who_has_no_home_folder_is_told_what_to_set() -> None:
    with pytest.raises(ConfigError, match="this user has no home folder") as caught:
        default_state_folder()
    if sys.platform not in {"win32", "darwin"}:
        assert caught.value.remedy == "Set HOME, or XDG_STATE_HOME."


@pytest.mark.usefixtures("homeless")
def test_no_folder_is_called_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    client.record_interpreter(sys.executable, "1.0")
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_that_is_closed_has_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(config, "default_path", lambda: tmp_path / "config.yaml")
    monkeypatch.setattr(Path, "is_file", closed)
    for load in (config.load, settings.load):
        with pytest.raises(ConfigError, match=r"config.yaml: cannot be looked for \(Permission denied\)") as caught:
            load()
        assert "Set HOME" in caught.value.remedy


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_a_config_that_leads_nowhere_is_not_left_out_in_silence(
    make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(config, "default_path", lambda: tmp_path / "config.yaml")
    make(tmp_path / "config.yaml")
    for load in (config.load, settings.load):
        with pytest.raises(ConfigError, match=r"config.yaml: is no file that can be read"):
            load()
