"""A name or a path becomes a model. Sizes are read off the tensors; nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from liif_engine.errors import ModelError, UnsafeCheckpointError
from liif_engine.network.card import find
from liif_engine.network.model import EdsrLiif

#: Larger files are no EDSR-LIIF; refusing them bounds the memory a wrong path can take.
MAX_CHECKPOINT_BYTES = 1 << 30
_TOO_LARGE = "too large to be an EDSR-LIIF checkpoint"

#: Keys of the published state dict that hold EDSR's unused mean shift.
UNUSED_KEYS = re.compile(r"encoder\.(sub|add)_mean\.")


def load(name_or_path: str | Path) -> EdsrLiif:
    """A model in fp32 on the CPU, in evaluation mode.

    Args:
        name_or_path: a shipped name, a .safetensors, or a .pth / .pt in the published format.

    Raises:
        ModelError: no such model, or its tensors are not those of an EDSR-LIIF.
        UnsafeCheckpointError: a pickle that holds more than numbers.
    """
    path = find(name_or_path)
    if path.stat().st_size > MAX_CHECKPOINT_BYTES:
        raise ModelError(_TOO_LARGE, path=path)
    try:
        tensors = _read_pickle(path) if path.suffix in {".pth", ".pt"} else _read_safetensors(path)
    except OSError as error:
        remedy = "Check the file's permissions."
        raise ModelError(f"cannot be read ({error.strerror or error})", path=path, remedy=remedy) from error
    try:
        return from_tensors(tensors)
    except ModelError as error:
        raise error.at(path) from None


def from_tensors(tensors: Mapping[str, Tensor]) -> EdsrLiif:
    """An EDSR-LIIF whose sizes are those of its tensors.

    Args:
        tensors: a state dict with the published keys; fp32, fp16 or bf16.

    Raises:
        ModelError: a key is missing or unknown, a shape does not fit, or a value is not finite.
    """
    tensors = {key: value for key, value in tensors.items() if not UNUSED_KEYS.match(key)}
    # A small pickle may say one number often.
    if sum(value.numel() for value in tensors.values()) > MAX_CHECKPOINT_BYTES // 4:
        raise ModelError(_TOO_LARGE)
    try:
        channels = tensors["encoder.head.0.weight"].shape[0]
        blocks = sum(re.fullmatch(r"encoder\.body\.\d+\.body\.0\.weight", key) is not None for key in tensors)
        linears = sorted(
            (int(key.split(".")[2]), value)
            for key, value in tensors.items()
            if re.fullmatch(r"imnet\.layers\.\d+\.weight", key)
        )
        hidden = [weight.shape[0] for _, weight in linears[:-1]]
        with torch.device("meta"):  # a few kilobytes may name sizes that all memory has no room for
            EdsrLiif(channels, blocks, hidden).load_state_dict(tensors, assign=True)
        model = EdsrLiif(channels, blocks, hidden)
        model.load_state_dict({key: value.float() for key, value in tensors.items()})
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        # torch names the first key that does not fit in its second line.
        reason = (str(error).splitlines() or [""])[:2][-1].strip()
        raise ModelError(f"not an EDSR-LIIF checkpoint ({reason})") from error
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
        raise ModelError("the checkpoint holds infinities or not-a-numbers")
    return model.eval().requires_grad_(False)


def copy_of(model: EdsrLiif) -> EdsrLiif:
    """An independent copy, in fp32 on the CPU."""
    return from_tensors(model.state_dict())


def save(model: EdsrLiif, path: Path, card: Mapping[str, str]) -> None:
    """Writes a model with its card as fp32 .safetensors."""
    tensors = {key: value.detach().float().contiguous().cpu() for key, value in model.state_dict().items()}
    path.write_bytes(save_safetensors(tensors, metadata=dict(card)))


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_safetensors(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"not a .safetensors file ({error})", path=path) from error


def _read_pickle(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a published .pth: ``{"model": {"sd": state_dict}}``, or a bare state dict.

    `weights_only` runs torch's own interpreter of the pickle opcodes, which builds tensors and plain
    containers and refuses every other name, so a hostile file cannot execute anything.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:  # which torch would unpack
                if sum(part.file_size for part in parts.infolist()) > MAX_CHECKPOINT_BYTES:
                    raise ModelError(_TOO_LARGE, path=path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickle protocols; whether it loads is what counts
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeCheckpointError("refused: the file holds more than numbers", path=path) from error
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        IndexError,
        zipfile.BadZipFile,
    ) as error:
        raise ModelError(f"not a PyTorch checkpoint ({type(error).__name__})", path=path) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"].get("sd", content["model"])
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError("not in the published format: no state dict of tensors in it", path=path)
    return content
