"""What a checkpoint says of itself, read without its tensors and without torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from liif_engine.errors import ModelError
from liif_engine.model_names import names_a_file

#: The checkpoints that come with the package.
SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint says of itself.

    Attributes:
        name: the shipped name, or the file's stem.
        path: the file.
        size_bytes: of the file.
        card: free fields: task, paper, repository, license, trained_for, sha256 of an original, and so on.
    """

    name: str
    path: Path
    size_bytes: int
    card: Mapping[str, str] = field(default_factory=dict)


def shipped_models() -> dict[str, ModelCard]:
    """The models that come with the package, by name, without loading their tensors."""
    return {path.stem: read_card(path) for path in sorted(SHIPPED.glob("*.safetensors"))}


def read_card(path: Path) -> ModelCard:
    """The metadata of a .safetensors file, read from its header alone.

    Raises:
        ModelError: the file is missing or no .safetensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
            if header_bytes > size:
                raise ModelError("not a .safetensors file: its header is longer than the file", path=path)
            metadata = json.loads(file.read(header_bytes)).get("__metadata__", {})
    except (OSError, ValueError, struct.error, AttributeError) as error:
        raise ModelError(f"cannot read the model card ({error})", path=path) from error
    return ModelCard(path.stem, path, size, {str(key): str(value) for key, value in metadata.items()})


def find(name_or_path: str | Path) -> Path:
    """The file of a shipped name, or the path itself.

    Raises:
        ModelError: neither a shipped name nor a file.
    """
    shipped = SHIPPED / f"{name_or_path}.safetensors"
    if not names_a_file(str(name_or_path)) and shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = ", ".join(["auto", *shipped_models()])
    raise ModelError(f"there is no model {str(name_or_path)!r}: neither a file nor one of {names}")
