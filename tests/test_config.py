"""config.yaml: every key reaches the settings, and each mistake is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from liif_engine import config
from liif_engine.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return path


def test_defaults_without_a_file() -> None:
    assert config.load() == config.EngineSettings()


@pytest.mark.parametrize("text", ["", "# nothing\n", "engine:\n", "folders: []\n"])
def test_empty_sections_mean_defaults(tmp_path: Path, text: str) -> None:
    assert config.load(written(tmp_path, text)) == config.EngineSettings()


def test_the_file_in_its_default_place_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "default_path", lambda: written(tmp_path, "engine: {quality: 80, model: published}"))
    assert config.load() == config.EngineSettings(quality=80, model="published")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("engine:\n  quality: 95\n  qualty: 90\n", "line 3: unknown key 'engine.qualty'"),
        ("engine:\n  quality: 0\n", "line 2: engine.quality: input should be greater"),
        ("engine:\n  quality: high\n", "line 2: engine.quality"),
        ("engine:\n  precision: fp8\n", "line 2: engine.precision"),
        ("engine:\n  device: cpu:0\n", "line 2: engine.device: a device is auto, cpu, cuda, cuda:N or mps"),
        ("engine:\n  device: gpu\n", "line 2: engine.device: a device is auto, cpu, cuda, cuda:N or mps"),
        ("engine:\n  workers: many\n", "line 2: engine.workers"),
        ("engine:\n  workers: yes\n", "line 2: engine.workers: workers are N"),
        ("engine:\n  workers: 0\n", "line 2: engine.workers: workers are N"),
        ("\nmotor:\n  quality: 5\n", "line 2: unknown key 'motor'"),
        ("\n[engine, daemon]: 5\n", "line 2: a key that is a list"),
        ("engine:\n  quality: true\n", "line 2: engine.quality: input should be a number, not True"),
        ("engine:\n  max_megapixels: .inf\n", "line 2: engine.max_megapixels: input should be a finite number"),
        ("engine:\n  model: ''\n", "line 2: engine.model: name a model"),
        ("engine: false\n", "line 1: engine holds keys with values"),
        ("engine: []\n", "line 1: engine holds keys with values"),
        (f"engine: {'[' * 5000}\n", "nested too deep"),
        ("engine: [1, 2]\n", "line 1: engine holds keys with values, like `model: ...`"),
        ("engine:\n  model: [\n", "not YAML"),
        ("engine:\n  model: !!python/object/apply:os.system ['true']\n", "line 2"),
        ("engine:\n\tmodel: web\n", "line 2: not YAML"),
        ("engine:\n  workers: ray:\n", "line 2: not YAML (two keys in 'workers: ray:': a value that ends with a colon"),
        ("engine:\n  workers: 'ray:'\n", "line 2: engine.workers: workers are N"),
        ("engine:\n  quality: 5\nfolders: []\nengine:\n  quality: 6\n", "line 4: 'engine' is there twice"),
        ("folders: []\nengine:\n  quality: 5\n  quality: 6\n", "line 4: 'quality' is there twice"),
        ("hello\n", "holds no settings"),
        ("- engine\n", "holds no settings"),
        ("engine: &again {model: *again}\n", "engine"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_value_too_long_to_be_shown_is_named_as_shortly_as_any(tmp_path: Path) -> None:
    lists = "".join(f"  - &list{n} [{', '.join([f'*list{n - 1}'] * 10)}]\n" for n in range(1, 9))
    for value in (f"\n  - &list0 [a]\n{lists}", f"0x{'f' * 9999}", f"[0x{'f' * 9999}]", "9" * 4000, "a" * 9999):
        with pytest.raises(ConfigError, match=r"line 2: engine\.max_megapixels: ") as caught:
            config.load(written(tmp_path, f"engine:\n  max_megapixels: {value}\n"))
        assert len(caught.value.message) < 600


def test_a_missing_or_unreadable_file_is_an_error_when_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"engine: {model: '\xe9'}")
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load(tmp_path / "latin.yaml")


def test_all_mistakes_are_named_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = "engine:\n  quality: 101\n  qualty: 90\n  quality: 102\n  precision: fp8\nmotor: 1\n"
    with pytest.raises(ConfigError) as caught:
        config.load(written(tmp_path, text))
    messages = caught.value.message.split("; line ")
    assert [message[:26] for message in messages] == [
        "line 2: engine.quality: in",
        "3: unknown key 'engine.qua",
        "4: 'quality' is there twic",
        "5: engine.precision: input",
        "6: unknown key 'motor'; kn",
    ]
    assert "lines" in caught.value.remedy
