"""config.yaml: every key documented and read, each mistake named with its line, unsafe layouts refused at the start."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from liif_daemon import mounts, places, progress, settings
from liif_daemon.settings import DaemonSettings, FolderSettings

from liif_engine.config import EngineSettings
from liif_engine.errors import ConfigError, LiifError
from liif_engine.target import Target

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return path


def with_example() -> dict[str, Any]:
    """The shipped file with its example folder uncommented, one kind of target left."""
    text = SHIPPED.read_text("utf-8").replace("folders: []", "folders:")
    text = re.sub(r"^#(  [- ] \w+:)", r"\1", text, flags=re.MULTILINE)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_shipped_file_is_valid_and_says_the_defaults() -> None:
    found = settings.load(SHIPPED)
    assert found.engine == EngineSettings()
    assert found.daemon == DaemonSettings()
    assert found.folders == ()


def test_the_shipped_file_documents_every_key_with_its_default() -> None:
    found = with_example()
    assert set(found["engine"]) >= set(EngineSettings.model_fields)
    assert set(found["daemon"]) == set(DaemonSettings.model_fields)
    example = found["folders"][0]
    assert set(example) == set(FolderSettings.model_fields)
    for key in ("scales", "size", "long_edge", "megapixels"):
        del example[key]
    example["path"] = "/tmp"
    assert FolderSettings.model_validate(example).model_dump(exclude={"scale"}) == FolderSettings(
        path=Path("/tmp")
    ).model_dump(exclude={"scale"})
    for line in SHIPPED.read_text("utf-8").splitlines():
        if re.match(r"#?\s+(- )?\w+:", line) and "include" not in line:
            assert "#" in line.lstrip("#"), f"not documented: {line}"


def ranges() -> list[tuple[str, str, str, str]]:
    """(section, key, least, most or nothing) where the shipped file says from where to where a number may go."""
    found, section = [], ""
    for line in re.sub(r"\n#? +# +", " ", SHIPPED.read_text("utf-8")).splitlines():  # what goes on is one line
        if name := re.match(r"\w+", line):
            section = name[0]
        key, said = re.match(r"#?[- ]+(\w+):", line), re.search(r"\b([\d.]+) (?:to ([\d.]+)\b|or more)", line)
        if key and said:
            found.append((section, key[1], said[1], said[2] or ""))
    return found


@pytest.mark.parametrize(("section", "key", "least", "most"), ranges())
def test_numbers_may_go_as_far_as_the_shipped_file_says_and_no_further(
    section: str, key: str, least: str, most: str, tmp_path: Path
) -> None:
    def accepted(value: float) -> bool:
        line = f"  - path: {tmp_path}\n    {key}" if section == "folders" else f"  {key}"
        try:
            settings.load(written(tmp_path, f"{section}:\n{line}: {value:g}\n"))
        except ConfigError:
            return False
        return True

    step = float(least) / 2 if "." in least else 1
    assert accepted(float(least))
    assert not accepted(float(least) - step)
    assert not most or (accepted(float(most)) and not accepted(float(most) + 1))


def test_the_shipped_file_says_how_far_most_numbers_may_go() -> None:
    assert len(ranges()) >= 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folders:\n  - path: /a\n    scael: 2\n", "line 3: unknown key 'folders.0.scael'"),
        ("folders:\n  - scale: 2\n", "line 2: folders.0.path: field required"),
        ('folders:\n  - path: ""\n', "line 2: folders.0.path: write the path of a folder"),
        ('folders:\n  - path: "/a\\0b"\n', "line 2: folders.0.path: write the path of a folder"),
        ('folders:\n  - path: "/a\\ud800b"\n', "line 2: folders.0.path: write the path of a folder"),
        ("folders:\n  - path: /a\n    keep_originals: 2026-13-45\n", "line 3: '2026-13-45' is no timestamp"),
        ("folders:\n  - path: /a\n    recursive: !!bool maybe\n", "line 3: 'maybe' is no bool"),
        (f"folders:\n  - path: /a\n    min_side: {'9' * 5000}\n", "line 3: '9999"),
        ("folders:\n  - path: ~nobody-has-this-name/a\n", "line 2: folders.0.path: this machine has no such user's"),
        ("folders:\n  - path: /a\n    scale: 0.5\n", "line 3: folders.0.scale"),
        ("folders:\n  - path: /a\n    scale: 2\n    long_edge: 9\n", "give one of scale"),
        ("folders:\n  - path: /a\n    scales: [2, 2]\n", "named twice"),
        ("folders:\n  - path: /a\n  - path: /b\n    keep_originals: a while\n", "line 4: folders.1.keep_originals"),
        ("folders:\n  - path: /a\n    keep_originals:  # for ever\n", "line 3: folders.0.keep_originals"),
        ("folders:\n  - path: /a\n    keep_originals: 0 days\n", "line 3: folders.0.keep_originals"),
        ("folders:\n  - path: /a\n    size: large\n", "line 3: folders.0.size"),
        (
            "folders:\n  - path: /a\n    polling: sometimes\n",
            "line 3: folders.0.polling: input should be 'auto' or a valid boolean",
        ),
        ("folders:\n  - path: /a\n    scales: [2, 0.5]\n", "line 3: folders.0.scales: input should be greater"),
        ("folders:\n  - path: /a\n    scales: []\n", "line 3: folders.0.scales: a list needs at least 1 item, not []"),
        ("folders:\n  - path: /a\n    scale: true\n", "line 3: folders.0.scale: write a number"),
        ("folders:\n  - path: /a\n    scales: [2, yes]\n", "line 3: folders.0.scales: write a number"),
        ("folders:\n  - path: /a\n    scales: [2, 2.0000001]\n", "named twice"),
        ("folders:\n  - path: /a\n    quality: yes\n", "line 3: folders.0.quality: write a number, not True"),
        ("folders:\n  - path: /a\n    model: ''\n", "line 3: folders.0.model: name a model"),
        ('folders:\n  - path: /a\n    model: "a\\0b"\n', "line 3: folders.0.model: name a model"),
        ("folders:\n  - path: /a\n    size: '0x9'\n", "line 3: folders.0.size: input should be greater than 0"),
        ("daemon:\n  max_attempts: yes\n", "line 2: daemon.max_attempts: write a number, not True"),
        ("daemon:\n  metrics: yes\n", "line 2: daemon.metrics: write a number, not True"),
        ("daemon:\n  poll_seconds: 1.0e+20\n", "line 2: daemon.poll_seconds: input should be less"),
        ("daemon:\n  retry_seconds: 1.0e+20\n", "line 2: daemon.retry_seconds: input should be less"),
        ("folders:\n  - path: /a\n    include: []\n", "line 3: folders.0.include"),
        ("folders:\n  - path: /a\n    include: '*.jpg'\n", "line 3: folders.0.include: input should be a list, not"),
        ("folders:\n  - path: /a\n    size: 1920\n", "line 3: folders.0.size: a size is WIDTHxHEIGHT"),
        ("folders:\n  - path: ~\n", "line 2: folders.0.path: write the path of a folder, the home folder as ~/"),
        ("daemon:\n  state: 5\n", "line 2: daemon.state: write the path of a folder, not 5"),
        ("folders: [/a]\n", "line 1: folders.0 holds keys with values, like `path: ...`"),
        ("folders: /a\n", "line 1: folders is a list"),
        ("daemon:\n  scan_minutes: 4\n", "line 2: unknown key 'daemon.scan_minutes'"),
        ("daemon:\n  jobs_at_once: 0\n", "line 2: daemon.jobs_at_once"),
        ("daemon:\n  metrics: abc\n", "line 2: daemon.metrics"),
        ("daemon:\n  metrics: 99999\n", "line 2: daemon.metrics"),
        ("daemon:\n  metrics: 0\n", "line 2: daemon.metrics: figures are shown at a port from 1 to 65535"),
        ("folder:\n  - path: /a\n", "line 1: unknown key 'folder'"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.load(written(tmp_path, text))
    assert message in str(caught.value)
    assert str(caught.value).count(", not ") <= 1  # a value is named once
    assert caught.value.remedy


def test_all_mistakes_of_all_sections_are_named(tmp_path: Path) -> None:
    text = "folders:\n  - path: /a\n    scale: 0\n  - size: 1\ndaemon:\n  state: []\nengine:\n  model: 7\nmore:\n"
    with pytest.raises(ConfigError) as caught:
        settings.load(written(tmp_path, text))
    found = re.findall(r"line (\d+): (?:unknown key '(\w+)'|([\w.]+):)", caught.value.message)
    assert [(int(line), one or other) for line, one, other in found] == [
        (3, "folders.0.scale"),
        (4, "folders.1.path"),
        (4, "folders.1.size"),
        (6, "daemon.state"),
        (8, "engine.model"),
        (9, "more"),
    ]


@pytest.mark.parametrize(
    ("values", "targets"),
    [
        ({}, (Target(scale=2),)),
        ({"scale": 1}, (Target(scale=1),)),
        ({"scales": [2, 4]}, (Target(scale=2), Target(scale=4))),
        ({"size": "640x480"}, (Target(size=(640, 480)),)),
        ({"long_edge": 900}, (Target(long_edge=900),)),
        ({"megapixels": 1.5}, (Target(megapixels=1.5),)),
    ],
)
def test_targets(values: dict[str, Any], targets: tuple[Target, ...]) -> None:
    found = settings.folder({"path": "/a", **values}).targets
    assert found == targets
    assert tuple(settings.target_of(settings.target_name(target)) for target in found) == targets


@pytest.mark.parametrize(("text", "days"), [("forever", math.inf), ("30 days", 30), ("1 day", 1), ("none", 0)])
def test_how_long_originals_are_kept(text: str, days: float) -> None:
    assert settings.folder({"path": "/a", "keep_originals": text}).keep_originals == days


def layout(tmp_path: Path, folders: str, daemon: str = "") -> settings.Settings:
    for name in ("a", "a/b", "c"):
        (tmp_path / name).mkdir(exist_ok=True)
    daemon = daemon or f"state: {tmp_path}/state"
    text = f"daemon:\n  {daemon}\nfolders:\n{folders}".replace("BASE", str(tmp_path))
    return settings.load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("folders", "daemon", "message"),
    [
        ("  - path: BASE/a\n  - path: BASE/a/b\n", "", "line 5: BASE/a/b overlaps"),
        ("  - path: BASE/a/b\n  - path: BASE/a\n", "", "line 4: BASE/a overlaps"),
        ("  - path: BASE/a\n  - path: BASE/a\n", "", "overlaps"),
        ("  - path: BASE/link\n  - path: BASE/a\n", "", "overlaps"),
        ("  - path: BASE/a\n", "originals: BASE/a/kept", "the backup store"),
        ("  - path: BASE/a\n", "state: BASE/a/state", "lies inside the watched folder"),
        ("  - path: BASE/config.yaml\n", "", "is not a folder"),
    ],
)
def test_unsafe_layouts_are_refused(tmp_path: Path, folders: str, daemon: str, message: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    found = layout(tmp_path, folders, daemon)
    with pytest.raises(ConfigError) as caught:
        places.check_layout(found)
    assert message.replace("BASE", str(tmp_path)) in str(caught.value)
    assert caught.value.remedy


def test_folders_of_the_command_line_are_no_mistake_of_config_yaml(tmp_path: Path) -> None:
    one = layout(tmp_path, "  - path: BASE/c\n")
    named = one.with_folders([settings.folder({"path": tmp_path / name}) for name in ("a", "a/b")])
    with pytest.raises(ConfigError, match=f"{tmp_path}/a/b overlaps") as caught:
        places.check_layout(named)
    assert "config.yaml" not in caught.value.explain()
    assert "line" not in caught.value.message


def test_all_unsafe_places_are_named(tmp_path: Path) -> None:
    found = layout(tmp_path, "  - path: BASE/a\n  - path: BASE/a/b\n  - path: BASE/c\n", f"state: {tmp_path}/c/state")
    with pytest.raises(ConfigError) as caught:
        places.check_layout(found)
    assert "line 5: " in caught.value.message
    assert caught.value.message.count("line 6: ") == 2, "the ledger and the originals"
    assert "recursive: false" in caught.value.remedy
    assert "daemon.state" in caught.value.remedy


def test_relative_paths_begin_at_the_file_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, elsewhere = tmp_path / "settings", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    text = "engine: {model: mine.pth+}\ndaemon: {state: ../state}\nfolders:\n  - {path: pictures, model: ./my.pth}\n"
    path = written(place, text + "  - {path: /absolute, model: fast}\n")
    monkeypatch.chdir(elsewhere)
    found = settings.load(Path("..") / "settings" / path.name)
    assert found.daemon.state == tmp_path / "state"
    assert [folder.path for folder in found.folders] == [place / "pictures", Path("/absolute")]
    assert [found.engine.model, *(folder.model for folder in found.folders)] == [
        str(place / "mine.pth+"),
        str(place / "my.pth"),
        "fast",
    ]
    with pytest.raises(ConfigError, match=r"line 1: engine.model: .* home folder"):
        settings.load(written(place, "engine: {model: ~nobody-of-this-name/x.pth}\n"))


def test_a_folder_inside_one_that_is_not_recursive_is_no_overlap(tmp_path: Path) -> None:
    places.check_layout(layout(tmp_path, "  - path: BASE/a\n    recursive: false\n  - path: BASE/a/b\n"))


def test_a_ledger_on_a_network_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda _: "cifs")
    with pytest.raises(ConfigError, match="network share"):
        places.check_layout(layout(tmp_path, "  - path: BASE/a\n"))


def test_one_daemon_for_each_ledger(tmp_path: Path) -> None:
    found = layout(tmp_path, "  - path: BASE/a\n")
    with places.only_one(found), pytest.raises(LiifError, match="another liif-daemon"), places.only_one(found):
        pass
    assert not places.is_running(found)


def test_a_lock_whose_holder_cannot_be_written_down_is_held_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.TextIOWrapper):
        def truncate(self, _: int | None = None) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    found = layout(tmp_path, "  - path: BASE/a\n")

    def opened(path: Path, mode: str, encoding: str) -> Failing:
        return Failing(io.BufferedRandom(io.FileIO(path, mode)), encoding)

    monkeypatch.setattr(Path, "open", opened)
    with places.only_one(found):
        monkeypatch.undo()
        assert places.is_running(found)


def test_a_file_system_without_locks_is_said_to_be_that_and_no_other_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(places.locks, "take", refuse)
    with (
        pytest.raises(LiifError, match="its file system has no locks") as caught,
        places.only_one(layout(tmp_path, "  - path: BASE/a\n")),
    ):
        pass
    assert "local disk" in caught.value.remedy


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_who_only_asks_for_a_daemon_keeps_none_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question holds the lock for an instant: a daemon that starts just then tries again."""
    import fcntl

    found = layout(tmp_path, "  - path: BASE/a\n")
    assert not places.is_running(found)
    with places.only_one(found):
        assert places.is_running(found)
    lock = found.daemon.state_folder / "daemon.lock"
    before = lock.read_bytes()
    with lock.open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr(places.time, "sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
        with places.only_one(found):
            pass
    assert not places.is_running(found)
    assert lock.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_another_process_with_a_dead_daemons_number_is_no_daemon(tmp_path: Path) -> None:
    found = layout(tmp_path, "  - path: BASE/a\n")
    with places.only_one(found):
        said = progress.Progress(places.status_path(found))
        said.write()
        assert progress.read(found) is not None
    assert places.status_path(found).exists()
    assert progress.read(found) is None
