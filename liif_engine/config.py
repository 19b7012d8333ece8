"""config.yaml's ``engine:`` section as typed settings; anything unknown or out of range is an error with its line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from liif_engine import crew, device_names
from liif_engine.base_folder import base_folder, home
from liif_engine.config_file import ConfigFile, placed
from liif_engine.errors import ConfigError, DeviceError, UsageError
from liif_engine.model_names import names_a_file


def _named(value: object) -> object:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError("name a model, or leave the key out")
    return value


def _placed(model: str, info: ValidationInfo) -> str:
    # On the command line a path begins where that was typed, and is opened there.
    return str(placed(Path(model), info)) if info.context and names_a_file(model) else model


#: A name, or the path of a checkpoint, which in a config.yaml begins at that file's folder.
ModelName = Annotated[str, BeforeValidator(_named), AfterValidator(_placed)]


class EngineSettings(BaseModel):
    """The ``engine:`` section. Each field is a key of the same name.

    Attributes:
        model: auto, which suits the model to each picture; a shipped name; or the path of a checkpoint.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32 or bf16.
        quality: of lossy results: JPEG, WebP, AVIF, HEIC; 1 to 100.
        memory_megabytes: the most that work on the CPU may take; null for what the system allows.
        max_megapixels: larger inputs are refused.
        workers: as `crew.parse` takes them; null for what suits the command.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelName = "auto"
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    quality: int = Field(default=95, ge=1, le=100)
    memory_megabytes: int | None = Field(default=None, ge=256)
    max_megapixels: float = Field(default=250, gt=0, allow_inf_nan=False)
    workers: str | int | None = None

    @property
    def memory_bytes(self) -> int | None:
        """`memory_megabytes` in bytes."""
        return None if self.memory_megabytes is None else self.memory_megabytes * 1_000_000

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return int(self.max_megapixels * 1e6)

    @field_validator("quality", "memory_megabytes", "max_megapixels", mode="before")
    @classmethod
    def _is_a_number(cls, value: object) -> object:
        if isinstance(value, bool):  # which Pydantic takes for 1 and 0
            raise ValueError("input should be a number")  # noqa: TRY004 - Pydantic listens for this one
        return value

    @field_validator("device")
    @classmethod
    def _names_a_device(cls, value: str) -> str:
        try:
            device_names.check(value)
        except DeviceError as error:
            raise ValueError(f"a device is {device_names.WORDS}") from error
        return value

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
    """Where config.yaml is looked for: the platform's configuration folder.

    Raises:
        ConfigError: this user has no home folder.
    """
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA", home() / "AppData" / "Roaming"))
    elif sys.platform == "darwin":
        base = home() / "Library" / "Application Support"
    else:
        base = base_folder("XDG_CONFIG_HOME", ".config")
    return base / "liif-restore" / "config.yaml"


def found() -> Path | None:
    """config.yaml at its default place; None where there is no such file.

    Raises:
        ConfigError: it cannot be known, or something else is there.
    """
    try:
        path = default_path()
    except ConfigError:  # who has no home folder has no such file in it
        return None
    try:
        if path.is_file():
            return path
    except OSError as error:
        remedy = "Set HOME or XDG_CONFIG_HOME to a folder of your own."
        raise ConfigError(f"cannot be looked for ({error.strerror})", path=path, remedy=remedy) from error
    if os.path.lexists(path):  # a link into a folder that is not mounted, say: its settings are not left out in silence
        raise ConfigError("is no file that can be read", path=path, remedy="See where its link leads, or remove it.")
    return None


def load(path: Path | None = None) -> EngineSettings:
    """The engine's settings from `path`, or from the default place if there is a file, or the defaults.

    Raises:
        ConfigError: no such file, not YAML, unknown keys or bad values, each with its line.
    """
    path = path or found()
    if path is None:
        return EngineSettings()
    file = ConfigFile(path)
    engine = engine_of(file)
    file.refuse_mistakes()
    return engine


def engine_of(file: ConfigFile) -> EngineSettings:
    """The ``engine:`` section of a file; notes what is wrong with it, and keys that no section has."""
    file.check_keys(("engine", "daemon", "folders"))
    return file.section(EngineSettings, "engine")
