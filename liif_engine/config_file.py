"""A config.yaml as it is written: its sections as typed settings, and every mistake in it with its line."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError, ValidationInfo

from liif_engine.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)

#: Keys and indexes that lead to a value: ("folders", 0, "scale").
Place = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """PyYAML's, whose own errors are all of one kind: of a date such as 2026-13-45 it tells in Python's words."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A node as a plain value."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            kind, given = node.tag.rpartition(":")[2], str(node.value)[:40]
            message = f"{given!r} is no {kind} that can be read; text needs quotes"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from error


class ConfigFile:
    """One file, read once. What is asked of it notes the mistakes it meets; `refuse_mistakes` names them all.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds no settings.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = _compose(path)
        self._mistakes: list[tuple[int, str]] = []

    def check_keys(self, known: Collection[str]) -> None:
        """Notes sections that nobody knows, and keys that are there twice: PyYAML takes the last without a word."""
        if isinstance(self.root, yaml.MappingNode):
            for node in (node for node, _ in self.root.value):
                if not isinstance(node, yaml.ScalarNode):
                    words = f"a key that is a list or holds keys itself; known are {', '.join(known)}"
                    self._mistakes.append((node.start_mark.line + 1, words))
                elif node.value not in known:
                    self._note((node.value,), f"unknown key {node.value!r}; known are {', '.join(known)}")
        self._mistakes += [
            (key.start_mark.line + 1, f"{key.value!r} is there twice") for key in _repeated_keys(self.root)
        ]

    def section(self, kind: type[Settings], name: str) -> Settings:
        """A section as settings of `kind`; the defaults if it is missing or wrong."""
        plain = self._plain(name)
        return next(iter(self._settings(kind, {} if plain is None else plain, (name,))), kind())

    def entries(self, kind: type[Settings], name: str) -> tuple[Settings, ...]:
        """The entries of a section that is a list, each as settings of `kind`; without those that are wrong."""
        found = self._plain(name)
        found = [] if found is None else found
        if not isinstance(found, list):
            self._note((name,), f"{name} is a list; begin each entry with `- `")
            return ()
        return tuple(one for index, entry in enumerate(found) for one in self._settings(kind, entry, (name, index)))

    def line_of(self, where: Place) -> int:
        """The line, from 1, of the deepest part of `where` that is there; for a mapping's entry, that of its key."""
        line, node = 1, self.root
        for part in where:
            if isinstance(node, yaml.MappingNode):
                line = next((key.start_mark.line + 1 for key, _ in node.value if key.value == str(part)), line)
            node = _child(node, part)
            if node is None:
                break
            if not isinstance(part, str):
                line = node.start_mark.line + 1
        return line

    def refuse_mistakes(self) -> None:
        """Ends the reading.

        Raises:
            ConfigError: naming each mistake that was met, with its line.
        """
        if self._mistakes:
            lines = [f"line {line}: {message}" for line, message in sorted(set(self._mistakes))]
            raise several(lines, self.path)

    def _settings(self, kind: type[Settings], values: Any, where: Place) -> Iterator[Settings]:
        try:
            yield kind.model_validate(values, context=self.path.parent)
        except ValidationError as error:
            for place, message in in_words(error, kind, where):
                self._note(place, message)

    def _plain(self, name: str) -> Any:
        """A section as plain values; None if it is missing, empty, or more than plain YAML, which is noted."""
        node = _child(self.root, name)
        if node is None:
            return None
        loader = _Loader("")
        try:
            return loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            self._mistakes.append((_line(error), str(error.problem)))
            return None
        finally:
            loader.dispose()

    def _note(self, where: Place, message: str) -> None:
        self._mistakes.append((self.line_of(where), message))


def placed(path: Path, info: ValidationInfo) -> Path:
    """An absolute path: in a config.yaml a relative one begins at that file's folder, wherever a program is started.

    Symbolic links are not resolved.

    Raises:
        ValueError: ``~somebody`` is nobody.
    """
    try:
        home = path.expanduser()
    except RuntimeError as error:
        raise ValueError("this machine has no such user's home folder") from error
    return Path(os.path.abspath(Path(info.context or "") / home))  # noqa: PTH100


def several(messages: list[str], path: Path | None, remedy: str | None = None) -> ConfigError:
    """One error for all that is wrong with a file."""
    if remedy is None and len(messages) > 1:
        remedy = "Correct the lines named, or delete them to use the defaults."
    return ConfigError("; ".join(messages), path=path, remedy=remedy)


def in_words(error: ValidationError, kind: type[BaseModel], where: Place = ()) -> Iterator[tuple[Place, str]]:
    """What is wrong with values that were to be settings of `kind`: for each key where it is, and words.

    Args:
        error: Pydantic's.
        kind: what they were to be.
        where: what leads to them.
    """
    by_place: dict[Place, list[Any]] = {}
    for one in error.errors(include_url=False):
        # Below a key, Pydantic names the kinds of value that it tried.
        by_place.setdefault((*where, *one["loc"][:1]), []).append(one)
    for place, found in by_place.items():
        # A list whose entry is wrong counts as too short as well.
        errors = [one for one in found if one["type"] != "too_short"] or found
        key = ".".join(map(str, place))
        first = errors[0]
        if first["type"] == "extra_forbidden":
            yield place, f"unknown key {key!r}; known are {', '.join(kind.model_fields)}"
        elif first["type"] == "model_type":
            yield place, f"{key} holds keys with values, like `{next(iter(kind.model_fields))}: ...`"
        else:
            own = first["type"] == "missing" or place == where
            words, given = _any_of(one["msg"] for one in errors), f", not {_shown(first['input'])}"
            words += "" if own or ", not " in words else given
            yield place, f"{key}: {words}" if key else words


#: A few lines of YAML may name each other, and so stand for more values than there is memory to write them out in.
_SHOWN = reprlib.Repr()
_SHOWN.maxlevel = 2
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 200


def _shown(value: Any) -> str:
    """A value as it is written, the middle of a long one left out."""
    try:
        return _SHOWN.repr(value)
    except ValueError:  # Python writes out no number of more than some thousand digits
        return "a number of thousands of digits"


def _any_of(messages: Iterable[str]) -> str:
    """Pydantic's messages for the kinds of value that a key may have, as one."""
    first, *others = dict.fromkeys(_plain(message) for message in messages)
    return " or ".join([first[0].lower() + first[1:], *(other.removeprefix("Input should be ") for other in others)])


def _plain(message: str) -> str:
    """Pydantic's message in words of YAML, not of Python."""
    message = message.removeprefix("Value error, ").removesuffix(", not 0").replace(" after validation", "")
    return message.replace("a valid tuple", "a list").replace("Tuple should have", "a list needs")


def _compose(path: Path) -> yaml.Node | None:
    """The file's node tree, which remembers lines; None if the file is empty."""
    try:
        text = path.read_text("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot read it ({error.strerror})", path=path, remedy="Check --config.") from error
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", path=path) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"line {_line(error)}: not YAML ({_why(error, text)})", path=path) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML ({' '.join(str(error).split())})", path=path) from error
    except RecursionError as error:
        raise ConfigError("nested too deep", path=path) from error
    if not (root is None or isinstance(root, yaml.MappingNode)):
        raise ConfigError("holds no settings", path=path, remedy="Begin with a line such as `engine:` or `folders:`.")
    return root


def _why(error: yaml.MarkedYAMLError, text: str) -> str:
    """YAML's own words, or clearer ones for the mistake that a value such as ``ray:`` leads to."""
    if error.problem != "mapping values are not allowed here":
        return str(error.problem)
    line = text.splitlines()[_line(error) - 1].strip()
    return f"two keys in {line!r}: a value that ends with a colon, or has one before a space, needs quotes around it"


def _repeated_keys(root: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
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
                    yield key
                seen.add(key.value)


def _child(node: yaml.Node | None, key: str | int) -> yaml.Node | None:
    """The value under a key of a mapping or at an index of a sequence."""
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == str(key)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        found: yaml.Node = node.value[key]
        return found
    return None


def _line(error: yaml.MarkedYAMLError) -> int:
    return error.problem_mark.line + 1 if error.problem_mark else 1
