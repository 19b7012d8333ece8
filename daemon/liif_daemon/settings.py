"""config.yaml's ``folders:`` and ``daemon:`` sections as typed settings; each mistake is named with its line."""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from liif_engine import config
from liif_engine.base_folder import base_folder, home
from liif_engine.config import EngineSettings, ModelName
from liif_engine.config_file import ConfigFile, in_words, placed
from liif_engine.errors import LiifError, UsageError
from liif_engine.target import Target, parse_size

#: What is restored unless `include` says otherwise: names of the formats that `liif restore` reads and writes.
SUFFIXES = ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "tif", "tiff", "bmp", "gif", "avif", "heic", "heif")
PICTURES = tuple(f"*.{suffix}" for suffix in SUFFIXES)

#: `keep_originals: none`, in days.
NOTHING = 0.0


def _size(value: Any) -> Any:
    try:
        return parse_size(str(value)) if isinstance(value, str | int | float) else value
    except LiifError as error:
        raise ValueError(error.message) from error


def _days(value: Any) -> Any:
    """``forever``, ``none`` or ``30 days`` as days: infinite, 0 or a number."""
    if value == "none":
        return NOTHING
    if value == "forever":
        return math.inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*days?", value.strip()) if isinstance(value, str) else None
    if match is None or not float(match[1]):  # whoever says nothing, or 0, need not mean that originals are lost
        raise ValueError("write forever, none or a number of days, like 30 days")
    return float(match[1])


def _no_switch(value: Any) -> Any:
    if any(isinstance(one, bool) for one in (value if isinstance(value, list) else [value])):
        raise ValueError("write a number")  # YAML's true and yes would be 1
    return value


def _is_name(path: str) -> bool:
    """Whether the system can be asked for it at all."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half of a character, which YAML can write
        return False


def _home(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str | Path) or not str(value).strip() or not _is_name(str(value)):
        # An empty one would be wherever the daemon was started; YAML's ~ alone is null.
        raise ValueError("write the path of a folder" + (", the home folder as ~/" if value is None else ""))
    return placed(Path(value), info)


#: Absolute, with ``~`` for the home folder.
FolderPath = Annotated[Path, BeforeValidator(_home)]


class FolderSettings(BaseModel):
    """One entry of ``folders:``. The shipped config.yaml says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: FolderPath
    recursive: bool = True
    scale: float | None = Field(default=None, ge=1, le=100)
    scales: tuple[Annotated[float, Field(ge=1, le=100)], ...] | None = Field(default=None, min_length=1)
    size: Annotated[tuple[PositiveInt, PositiveInt] | None, BeforeValidator(_size)] = None
    long_edge: int | None = Field(default=None, ge=1)
    megapixels: float | None = Field(default=None, gt=0, le=1e6)
    model: ModelName | None = None
    quality: int | None = Field(default=None, ge=1, le=100)
    include: tuple[str, ...] = Field(default=PICTURES, min_length=1)
    exclude: tuple[str, ...] = ()
    min_side: int = Field(default=16, ge=1)
    max_megapixels: float = Field(default=8, gt=0, le=1e6)
    only_below_quality: int | None = Field(default=None, ge=1, le=100)
    settle_seconds: float = Field(default=2, ge=0, le=86400)
    keep_originals: Annotated[float, BeforeValidator(_days)] = math.inf
    polling: Literal["auto"] | bool = "auto"
    hard_links: Literal["skip", "replace"] = "skip"
    mtime: Literal["keep", "now"] = "keep"
    _spelled: bool = PrivateAttr(default=False)

    _are_numbers = field_validator(
        *("scale", "scales", "long_edge", "megapixels", "quality", "min_side", "max_megapixels"),
        *("only_below_quality", "settle_seconds"),
        mode="before",
    )(_no_switch)

    @model_validator(mode="after")
    def _one_target(self) -> FolderSettings:
        given = [
            key for key in ("scale", "scales", "size", "long_edge", "megapixels") if getattr(self, key) is not None
        ]
        if len(given) > 1:
            raise ValueError(f"give one of scale, scales, size, long_edge and megapixels, not {' and '.join(given)}")
        if self.scales and len({target_name(one) for one in self.targets}) < len(self.scales):
            raise ValueError("a scale is named twice in scales")
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        """How large the results are to be: the first takes the original's place, the others lie beside it."""
        if self.scales is not None:
            return tuple(Target(scale=scale) for scale in self.scales)
        if self.size or self.long_edge or self.megapixels:
            return (Target(size=self.size, long_edge=self.long_edge, megapixels=self.megapixels),)
        return (Target(scale=self.scale or 2),)

    @property
    def is_spelled(self) -> bool:
        """Whether upper and lower case count in `include`: files that were named, not patterns of names."""
        return self._spelled

    @property
    def rules(self) -> str:
        """Changes when what is skipped in this folder may change."""
        size = (self.size, self.long_edge, self.megapixels)  # a picture may be larger already
        asked = (self.min_side, self.max_megapixels, self.only_below_quality, self.hard_links, *size)
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


class DaemonSettings(BaseModel):
    """The ``daemon:`` section. The shipped config.yaml says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    state: FolderPath | None = None
    originals: FolderPath | None = None
    jobs_at_once: int = Field(default=2, ge=1, le=64)
    scan_seconds: float = Field(default=900, ge=1)
    poll_seconds: float = Field(default=10, ge=0.1, le=86400)
    ask_above: int = Field(default=200, ge=0)
    retry_seconds: float = Field(default=5, ge=0, le=86400)
    max_attempts: int = Field(default=4, ge=1)
    job_minutes: float = Field(default=120, gt=0)
    low_priority: bool = True
    metrics: str | int | None = None

    _are_numbers = field_validator(
        *("jobs_at_once", "scan_seconds", "poll_seconds", "ask_above", "retry_seconds", "max_attempts"),
        *("job_minutes", "metrics"),
        mode="before",
    )(_no_switch)

    @field_validator("metrics")
    @classmethod
    def _is_a_place(cls, value: str | int | None) -> str | int | None:
        match = re.fullmatch(r"(?:\S+:)?(\d{1,5})", str(value))
        if value is not None and (match is None or not 1 <= int(match[1]) <= 65535):
            raise ValueError("figures are shown at a port from 1 to 65535, or at HOST:PORT")
        return value

    @property
    def state_folder(self) -> Path:
        """Where ledger, log and status lie."""
        return self.state or default_state_folder()

    @property
    def originals_folder(self) -> Path:
        """Where the backups of the originals lie."""
        return self.originals or self.state_folder / "originals"


@dataclass(frozen=True)
class Settings:
    """All that config.yaml or the command line says.

    Attributes:
        engine: what is asked of the engine where a folder does not say otherwise.
        daemon: the daemon's own.
        folders: what is watched.
        path: the file they were read from, None if there was none.
        are_named: whether the command line named the folders.
    """

    engine: EngineSettings = field(default_factory=EngineSettings)
    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    folders: tuple[FolderSettings, ...] = ()
    path: Path | None = None
    are_named: bool = False

    def folder_of(self, path: Path) -> FolderSettings | None:
        """The folder whose settings a file falls under; below a link in one that is a folder of its own, that."""
        around = (
            one for one in self.folders if path.parent == one.path or (one.recursive and one.path in path.parents)
        )
        return max(around, key=lambda one: len(one.path.parts), default=None)

    def with_folders(self, folders: list[FolderSettings]) -> Settings:
        """The same with other folders, as the command line names them."""
        return replace(self, folders=tuple(folders), are_named=True)


def load(path: Path | None = None) -> Settings:
    """Settings from `path`, or from the default place if there is a file, or the defaults.

    Raises:
        ConfigError: no such file, not YAML, unknown keys or bad values, each with its line.
    """
    path = path or config.found()
    if path is None:
        return Settings()
    file = ConfigFile(path)
    engine = config.engine_of(file)
    daemon = file.section(DaemonSettings, "daemon")
    folders = file.entries(FolderSettings, "folders")
    file.refuse_mistakes()
    return Settings(engine, daemon, folders, path)


def load_daemon(path: Path | None = None) -> Settings:
    """The ``daemon:`` section alone, whatever is wrong with the others.

    Raises:
        ConfigError: as `load`.
    """
    file = ConfigFile(path or config.default_path())
    daemon = file.section(DaemonSettings, "daemon")
    file.refuse_mistakes()
    return Settings(daemon=daemon, path=file.path)


def folder(values: dict[str, Any], *, spelled: bool = False) -> FolderSettings:
    """A folder's settings from the command line.

    Args:
        values: by their names.
        spelled: whether upper and lower case count in `include`.

    Raises:
        UsageError: in words.
    """
    try:
        found = FolderSettings.model_validate(values)
        found._spelled = spelled
        return found
    except ValidationError as error:
        messages = [message for _, message in in_words(error, FolderSettings)]
        raise UsageError("; ".join(messages), remedy="Correct the command line.") from error


def default_state_folder() -> Path:
    """The platform's folder for what a program remembers.

    Raises:
        ConfigError: this user has no home folder.
    """
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home() / "Library" / "Application Support"
    else:
        base = base_folder("XDG_STATE_HOME", ".local/state")
    return base / "liif-restore"


def target_name(target: Target) -> str:
    """A target in the ledger and in words: ``2x``, ``1920x1080``, ``long edge 4000`` or ``8 megapixels``."""
    if target.scale is not None:
        return f"{target.scale:g}x"
    if target.size is not None:
        return f"{target.size[0]}x{target.size[1]}"
    if target.long_edge is not None:
        return f"long edge {target.long_edge}"
    return f"{target.megapixels:g} megapixels"


def target_of(name: str) -> Target:
    """The target of that name; the opposite of `target_name`."""
    if name.startswith("long edge "):
        return Target(long_edge=int(name.removeprefix("long edge ")))
    if name.endswith(" megapixels"):
        return Target(megapixels=float(name.removesuffix(" megapixels")))
    if name.endswith("x"):
        return Target(scale=float(name[:-1]))
    return Target(size=parse_size(name))
