"""config.yaml's ``engine:`` section as typed settings; anything unknown or out of range is an error with its line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from liif_engine import crew
from liif_engine.errors import ConfigError, UsageError

Settings = TypeVar("Settings", bound=BaseModel)


class EngineSettings(BaseModel):
    """The ``engine:`` section. Each field is a key of the same name.

    Attributes:
        model: auto, which suits the model to each picture; a shipped name; or the path of a checkpoint.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32 or bf16.
        quality: of JPEG, WebP and AVIF results, 1 to 100.
        memory_megabytes: the most that work on the CPU may take; null for what the system allows.
        max_megapixels: larger inputs are refused.
        workers: as `crew.parse` takes them; null for what suits the command.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "auto"
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    quality: int = Field(default=95, ge=1, le=100)
    memory_megabytes: int | None = Field(default=None, ge=256)
    max_megapixels: float = Field(default=250, gt=0)
    workers: str | int | None = None

    @field_validator("workers", mode="before")
    @classmethod
    def _names_workers(cls, value: object) -> object:
        if value is not None:
            try:
                crew.parse(str(value))  # YAML's `yes` is "True" here, and no number
            except UsageError as error:
                raise ValueError(f"workers are {crew.WORDS}") from error
        return value


def default_path() -> Path:
    """Where config.yaml is looked for: the platform's configuration folder."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "liif-restore" / "config.yaml"


def load(path: Path | None = None) -> EngineSettings:
    """The engine's settings from `path`, or from the default place if there is a file, or the defaults.

    Raises:
        ConfigError: no such file, not YAML, an unknown key or a bad value, with its line.
    """
    if path is None:
        path = default_path()
        if not path.is_file():
            return EngineSettings()
    root = read_yaml(path)
    unknown = [key for key in sections(root) if key not in {"engine", "folders", "daemon"}]
    if unknown:
        line = line_of(root, (unknown[0],))
        raise ConfigError(f"line {line}: unknown key {unknown[0]!r}; known are engine, folders, daemon", path=path)
    return validate(EngineSettings, root, "engine", path)


def read_yaml(path: Path) -> yaml.Node | None:
    """The file's node tree, which remembers lines; None if the file is empty.

    Raises:
        ConfigError: the file cannot be read, is not YAML, holds no settings, or names a key twice.
    """
    try:
        root = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot read it ({error.strerror})", path=path, remedy="Check --config.") from error
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", path=path) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"line {line}: not YAML ({error.problem})", path=path) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML ({error})", path=path) from error
    if not (root is None or isinstance(root, yaml.MappingNode)):
        raise ConfigError("holds no settings", path=path, remedy="Begin with a line such as `engine:` or `folders:`.")
    _refuse_repeated_keys(root, path)
    return root


def _refuse_repeated_keys(root: yaml.Node | None, path: Path) -> None:
    """YAML forbids them, PyYAML takes the last without a word.

    Raises:
        ConfigError: naming the line of the second.
    """
    waiting, met = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in met:
            continue
        met.add(id(node))  # an alias can lead back to where it stands
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [value for _, value in node.value]
            seen = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    raise ConfigError(f"line {key.start_mark.line + 1}: {key.value!r} is there twice", path=path)
                seen.add(key.value)


def sections(root: yaml.Node | None) -> list[str]:
    """The top-level keys."""
    return [str(key.value) for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []


def validate(kind: type[Settings], root: yaml.Node | None, section: str, path: Path) -> Settings:
    """One section of the file as settings of `kind`.

    Raises:
        ConfigError: naming the line, the key and what is wrong with it.
    """
    node = child(root, section)
    values: Any = {} if node is None else (plain(node, path) or {})
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = (section, *first["loc"])
        key = ".".join(str(part) for part in where)
        if first["type"] == "extra_forbidden":
            message = f"unknown key {key!r}; known are {', '.join(kind.model_fields)}"
        else:
            said = first["msg"].removeprefix("Value error, ")
            message = f"{key}: {said[0].lower()}{said[1:]}, not {first['input']!r}"
        raise ConfigError(f"line {line_of(root, where)}: {message}", path=path) from error


def plain(node: yaml.Node, path: Path) -> Any:
    """A node as plain Python values.

    Raises:
        ConfigError: a tag that is not plain YAML, or a key that is no plain value.
    """
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"line {line}: {error.problem}", path=path) from error
    finally:
        loader.dispose()


def child(node: yaml.Node | None, key: str | int) -> yaml.Node | None:
    """The value under a key of a mapping or at an index of a sequence."""
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == str(key)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        found: yaml.Node = node.value[key]
        return found
    return None


def line_of(root: yaml.Node | None, where: tuple[str | int, ...]) -> int:
    """The line, from 1, of the deepest part of `where` that the file has; for a mapping's entry, that of its key."""
    line, node = 1, root
    for part in where:
        if isinstance(node, yaml.MappingNode):
            line = next((key.start_mark.line + 1 for key, _ in node.value if key.value == str(part)), line)
        node = child(node, part)
        if node is None:
            break
        if not isinstance(part, str):
            line = node.start_mark.line + 1
    return line
