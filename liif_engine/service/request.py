"""What a caller may ask for, checked in full before anything is done."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from liif_engine.errors import UsageError
from liif_engine.picture.image_file import format_named
from liif_engine.target import Target

Asked = TypeVar("Asked", bound="JobRequest")

#: Bytes of one value, by the name of its format.
ITEM_BYTES = {"u8": 1, "u16": 2, "f16": 2, "f32": 4}

REMEDY = "See docs/service.md."

Pixel = Annotated[int, Field(ge=1, le=1_000_000)]


class JobRequest(BaseModel):
    """What every job may say.

    Attributes:
        scale, size, long_edge, megapixels: how large the result is to be, exactly one of them, as in `Target`.
        model: a shipped name or the absolute path of a checkpoint; by default the service's own.
        precision: ``auto``, ``fp32`` or ``bf16``; by default the service's own.
        priority: ``person`` goes ahead of ``backlog``.
        detach: whether the job goes on though nobody follows it.
        client: who asks; equals take turns by this name.
        reference: the caller's own name of the job, for the logs of every process that has to do with it.
        timeout_seconds: the most time the work may take, waiting not counted; by default the service's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    scale: float | None = Field(default=None, ge=1, le=10_000)
    size: tuple[Pixel, Pixel] | None = None
    long_edge: Pixel | None = None
    megapixels: float | None = Field(default=None, gt=0, le=1_000_000)
    model: str = Field(default="web", min_length=1, max_length=4096)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    priority: Literal["person", "backlog"] = "person"
    detach: bool = False
    client: str = Field(default="", max_length=100)
    reference: str = Field(default="", max_length=100)
    timeout_seconds: float | None = Field(default=None, gt=0)

    @property
    def target(self) -> Target:
        """How large the result is to be.

        Raises:
            UsageError: none or several of the four are given.
        """
        return Target(self.scale, self.size, self.long_edge, self.megapixels)


class PixelRequest(JobRequest):
    """Raw pixels: rows from the top, channels interleaved, little endian, nothing between rows.

    Attributes:
        shape: (height, width, channels).
        dtype: ``u8`` and ``u16`` use their full range; ``f16`` and ``f32`` are in [0, 1].
        layout: ``CMYK`` for four channels of (255 - ink); otherwise 1 is gray, 2 gray and alpha, 3 RGB, 4 RGBA.
    """

    shape: tuple[Pixel, Pixel, Annotated[int, Field(ge=1, le=4)]]
    dtype: Literal["u8", "u16", "f16", "f32"]
    layout: Literal["CMYK"] | None = None

    @property
    def source_bytes(self) -> int:
        """Length of the body."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def result_size(self) -> tuple[int, int]:
        """(width, height) of the result."""
        return self.target.size_of_result(self.shape[1], self.shape[0])

    @property
    def result_bytes(self) -> int:
        """Length of the result."""
        return math.prod(self.result_size) * self.shape[2] * ITEM_BYTES[self.dtype]


class ImageRequest(JobRequest):
    """A picture file's bytes in the body, and the result's bytes back.

    Attributes:
        format: of the result, a name or suffix such as ``png``; by default the picture's own, or for a path the one
            that the destination's suffix says.
        quality: of a lossy result.
        allow_truncated: whether to restore what is there of a picture that ends early.
    """

    format: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]{1,5}$")
    quality: int = Field(default=95, ge=1, le=100)
    allow_truncated: bool = False


class FileRequest(ImageRequest):
    """Paths on the service's machine. Each is absolute, or a ``file:`` URI where the name is not UTF-8.

    Attributes:
        source: a picture file.
        destination: a file, an existing folder, or None for ``name@2x.ext`` beside the source.
        overwrite: whether an existing file may be replaced.
    """

    source: str = Field(min_length=1, max_length=8192)
    destination: str | None = Field(default=None, min_length=1, max_length=8192)
    overwrite: bool = False


@dataclass(frozen=True)
class Defaults:
    """What holds where a request says nothing: the service's own settings.

    Attributes:
        model, precision, quality: as in the requests.
    """

    model: str = "web"
    precision: str = "auto"
    quality: int = 95


def parse(kind: type[Asked], text: bytes, defaults: Defaults) -> Asked:
    """A request from JSON.

    Args:
        kind: of request.
        text: a JSON object in UTF-8.
        defaults: for what it leaves open.

    Raises:
        UsageError: not JSON, an unknown field, a value out of range, or fields that contradict each other.
    """
    try:
        asked = kind.model_validate_json(text)
    except ValidationError as error:
        raise UsageError(_in_words(error, kind), remedy=REMEDY) from None
    unsaid = {name: value for name, value in asdict(defaults).items() if name not in asked.model_fields_set}
    asked = asked.model_copy(update={name: value for name, value in unsaid.items() if name in kind.model_fields})
    target = asked.target
    if isinstance(asked, PixelRequest):
        target.size_of_result(asked.shape[1], asked.shape[0])
        if asked.layout == "CMYK" and asked.shape[2] != 4:
            raise UsageError("CMYK has four channels", remedy=REMEDY)
    if isinstance(asked, ImageRequest) and asked.format is not None:
        format_named(asked.format)
    if isinstance(asked, FileRequest):
        path_of(asked.source)
        if asked.destination is not None:
            path_of(asked.destination)
    if ("/" in asked.model or "\\" in asked.model) and not Path(asked.model).is_absolute():
        raise UsageError("a model is a name or an absolute path", remedy=REMEDY)
    if "\0" in asked.model:
        raise UsageError("a path holds no NUL", remedy=REMEDY)
    return asked


def path_of(text: str) -> str:
    """An absolute path from a path or a ``file:`` URI.

    Raises:
        UsageError: it is relative or holds a NUL.
    """
    path = os.fsdecode(unquote_to_bytes(text[7:])) if text.startswith("file:///") else text
    if not Path(path).is_absolute():
        raise UsageError("paths must be absolute: the service has a working folder of its own", remedy=REMEDY)
    if "\0" in path:
        raise UsageError("a path holds no NUL", remedy=REMEDY)
    return path


def sendable(path: str) -> str:
    """A path as text, or as a ``file:`` URI where it is not UTF-8; the inverse of `path_of`."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(path))
    return path


def _in_words(error: ValidationError, kind: type[JobRequest]) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return f"the job is not JSON ({first['msg'].partition(': ')[2] or first['msg']})"
    if first["type"] == "extra_forbidden":
        return f"unknown field {where[:100]!r}; known are {', '.join(kind.model_fields)}"
    if first["type"] == "missing":
        return f"the field {where!r} is missing"
    message = first["msg"]
    return f"{where}: {message[0].lower()}{message[1:]}" if where else "the job is not a JSON object"
