"""Checkpoints: what loads, what is refused, and that nothing in a file is executed."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from liif_engine.errors import ModelError, UnsafeCheckpointError
from liif_engine.network import card, checkpoint
from liif_engine.network.model import EdsrLiif

from ..conftest import tiny_network


def same(a: EdsrLiif, b: EdsrLiif) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("sizes", [(4, 0, (5,)), (8, 2, (9, 7)), (64, 16, (256, 256, 256, 256))])
def test_sizes_are_read_off_the_tensors(tmp_path: Path, sizes: tuple[int, int, tuple[int, ...]]) -> None:
    channels, blocks, hidden = sizes
    model = tiny_network(channels=channels, blocks=blocks, hidden=hidden)
    checkpoint.save(model, tmp_path / "m.safetensors", {"task": "none"})
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    assert (loaded.channels, loaded.blocks, loaded.hidden) == sizes
    assert same(loaded, model)
    assert card.read_card(tmp_path / "m.safetensors").card == {"task": "none"}


def test_published_format_loads_with_its_mean_shift_left_out(tmp_path: Path) -> None:
    model = tiny_network()
    state = dict(
        model.state_dict(), **{"encoder.sub_mean.weight": torch.eye(3), "encoder.add_mean.bias": torch.ones(3)}
    )
    content = {"model": {"name": "liif", "args": {}, "sd": state}, "optimizer": {"name": "adam"}, "epoch": 1000}
    torch.save(content, tmp_path / "m.pth")
    assert same(checkpoint.load(tmp_path / "m.pth"), model)
    torch.save(state, tmp_path / "bare.pth")
    assert same(checkpoint.load(tmp_path / "bare.pth"), model)


class Hostile:
    """Runs a command when a plain unpickler meets it."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.proof}'",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    proof, path = tmp_path / "owned", tmp_path / "m.pth"
    if legacy:
        path.write_bytes(pickle.dumps(Hostile(proof)))
    else:
        torch.save({"model": {"sd": Hostile(proof)}}, path)
    with pytest.raises(UnsafeCheckpointError) as caught:
        checkpoint.load(path)
    assert not proof.exists()
    assert str(path) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut", b"\xff" * 100])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_rubbish_is_refused_in_words(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="m\\."):
        checkpoint.load(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_that_may_not_be_read_is_not_called_one_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def closed(*_: object, **__: object) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = tmp_path / f"m{suffix}"
    path.touch()
    monkeypatch.setattr(Path, "read_bytes", closed)  # root may read all
    monkeypatch.setattr(torch, "load", closed)
    with pytest.raises(ModelError, match=r"cannot be read \(Permission denied\)") as refused:
        checkpoint.load(path)
    assert "permissions" in refused.value.remedy


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(ModelError, match="published"):
        checkpoint.load("nothing")


def test_missing_extra_and_misshapen_tensors_are_refused() -> None:
    state = tiny_network().state_dict()
    with pytest.raises(ModelError):
        checkpoint.from_tensors({key: value for key, value in state.items() if "head" not in key})
    with pytest.raises(ModelError):
        checkpoint.from_tensors({**state, "stranger": torch.zeros(1)})
    with pytest.raises(ModelError):
        checkpoint.from_tensors({**state, "imnet.layers.0.weight": torch.zeros(12, 5)})


def test_sizes_that_a_small_file_only_names_take_no_memory(tmp_path: Path) -> None:
    tensors = dict(tiny_network().state_dict())
    tensors["encoder.head.0.weight"] = torch.zeros(200_000, 3, 3, 3)  # with 1.4 TB of convolutions after it
    with pytest.raises(ModelError, match=r"\(size mismatch"):
        checkpoint.from_tensors(tensors)
    often = torch.zeros(1).expand(20_000, 20_000)
    torch.save({"model": {"sd": tensors | {"imnet.layers.0.weight": often}}}, tmp_path / "often.pth")
    with pytest.raises(ModelError, match="too large"):
        checkpoint.load(tmp_path / "often.pth")


def test_a_packed_checkpoint_is_refused_by_its_size_when_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"model": {"sd": {"x": torch.zeros(1_000_000)}}}, tmp_path / "plain.pth")
    packed = zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert (tmp_path / "packed.pth").stat().st_size < 100_000
    monkeypatch.setattr(checkpoint, "MAX_CHECKPOINT_BYTES", 100_000)
    with pytest.raises(ModelError, match="too large"):
        checkpoint.load(tmp_path / "packed.pth")


def test_non_finite_weights_are_refused() -> None:
    state = dict(tiny_network().state_dict())
    state["encoder.head.0.bias"] = torch.full_like(state["encoder.head.0.bias"], float("nan"))
    with pytest.raises(ModelError, match="not-a-numbers"):
        checkpoint.from_tensors(state)


@pytest.mark.parametrize(
    ("name", "blocks", "hidden"), [("published", 16, (256,) * 4), ("web", 16, (256,) * 4), ("fast", 13, (96, 48))]
)
def test_shipped_models_have_a_card_and_their_sizes(name: str, blocks: int, hidden: tuple[int, ...]) -> None:
    fields = card.shipped_models()[name].card
    assert {"task", "paper", "repository", "license", "trained_for"} <= fields.keys()
    assert "sha256" in fields.get("started_from", "") or "original_sha256" in fields  # what it was made from
    model = checkpoint.load(name)
    assert (model.channels, model.blocks, model.hidden, model.halo) == (64, blocks, hidden, 2 * blocks + 4)


def test_published_is_the_published_checkpoint() -> None:
    """Its tensors hash to what the tensors of the original .pth, with the sha256 on the card, hash to."""
    digest = hashlib.sha256()
    for key, value in sorted(checkpoint.load("published").state_dict().items()):
        digest.update(key.encode() + value.numpy().tobytes())
    assert digest.hexdigest() == PUBLISHED_TENSORS
    assert card.shipped_models()["published"].card["original_sha256"].startswith("1cf77e16f33ee17b")


PUBLISHED_TENSORS = "3a91a300174b5d324652b97b4a6fc43530b9f77f8cae68c8bacc3458b0aef687"
