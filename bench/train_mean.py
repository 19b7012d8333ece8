"""The mean of several checkpoints' weights: how good it is on the held-out pictures, and the mean as a checkpoint.

    python bench/train_mean.py --data train/a train/b --of web --of runs/web/state-0009244 --shares 0.5 0.5 [--out FILE]

Runs that went on from one another lie close together, and the middle of them is often better than each. `--of` takes a
shipped name, a checkpoint, or a training's state, of which the moving average counts. Looks at the held-out training
pictures only, the same that choose a checkpoint.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from liif_engine.lab.pairs import PairShape, build_pool, is_held_out
from liif_engine.lab.validate import validate, validation_pairs
from liif_engine.network import checkpoint
from liif_engine.network.card import SHIPPED, read_card
from liif_engine.network.model import EdsrLiif

SHAPE = PairShape(patch=96, queries=2304)
AVERAGE = "average."


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="the folders of training pictures")
    parser.add_argument("--of", action="append", required=True, help="a name, a checkpoint or a state")
    parser.add_argument("--shares", nargs="+", type=float, required=True, help="one for each, of sum 1")
    parser.add_argument("--pictures", type=int, default=48, help="held-out pictures, at most")
    parser.add_argument("--out", type=Path, help="write the mean, with its card")
    options = parser.parse_args()
    if len(options.of) != len(options.shares) or abs(sum(options.shares) - 1) > 1e-9:
        parser.error("one share for each checkpoint, of sum 1")
    first = checkpoint.load(file_of(options.of[0])[0])
    all_weights = [weights(name) for name in options.of]
    if any(sizes(one) != sizes(all_weights[0]) for one in all_weights):
        parser.error("these are not all of one network: their sizes differ")
    network = mean(first, all_weights, options.shares)
    with tempfile.TemporaryDirectory() as scratch:
        file, threads = Path(scratch) / "held-out.rgb", os.cpu_count() or 1
        pool = build_pool(options.data, file, keep=is_held_out, threads=threads, smallest=SHAPE.canvas)
        columns = validation_pairs(pool, options.pictures, SHAPE)
        scores = validate(partial(answer, network), columns, torch.device("cpu"))
    said = ", ".join(f"{column} {value:.2f}" for column, value in scores.items())
    print(said)
    if options.out:
        count = min(len(pool), options.pictures)
        checkpoint.save(network, options.out, card(options.of, options.shares, f"{said} (of {count} pictures)"))


def answer(network: EdsrLiif, pixels: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    return network.decode(network.encode(pixels), coord, cell)


def file_of(name: str) -> tuple[Path, bool]:
    """The checkpoint and whether it is a training's state, beside whose folder the checkpoint lies."""
    path = Path(name)
    if path.is_dir():
        beside = next(path.parent.glob("*.safetensors"), None)
        if beside is None or not (path / "weights.safetensors").is_file():
            sys.exit(f"{path}: no training's state, or none with a checkpoint beside it.")
        return beside, True
    return (path if path.is_file() else SHIPPED / f"{name}.safetensors"), False


def tensors_of(name: str) -> Path:
    file, is_state = file_of(name)
    return Path(name) / "weights.safetensors" if is_state else file


def weights(name: str) -> dict[str, Tensor]:
    file, is_state = file_of(name)
    if not is_state:
        return dict(checkpoint.load(file).state_dict())
    tensors = load_file(tensors_of(name))
    return {key.removeprefix(AVERAGE): value for key, value in tensors.items() if key.startswith(AVERAGE)}


def sizes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in tensors.items()}


def mean(network: EdsrLiif, all_weights: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> EdsrLiif:
    pairs = list(zip(shares, all_weights, strict=True))
    network.load_state_dict(
        {key: torch.stack([share * of[key] for share, of in pairs]).sum(0) for key in network.state_dict()}
    )
    return network


def card(names: Sequence[str], shares: Sequence[float], validation: str) -> dict[str, str]:
    """The first's, with what all went through."""
    made = dict(read_card(file_of(names[0])[0]).card)
    for of_one_run in ("command", "validation_of_the_start"):
        made.pop(of_one_run, None)
    made["started_from"] = ", ".join(f"sha256 {checkpoint.sha256_of(tensors_of(name))}" for name in names)
    parts = [f"{share:g} of {past(name)}" for name, share in zip(names, shares, strict=True)]
    made["training"] = "; ".join([f"the mean of {len(parts)} runs' weights", *parts])
    made["validation"] = f"RGB PSNR [dB] on held-out patches, for choosing only: {validation}"
    return made


def past(name: str) -> str:
    """What a checkpoint or a state went through, in words."""
    file, is_state = file_of(name)
    of = read_card(file)
    if is_state:
        return f"step {Path(name).name.rpartition('-')[2].lstrip('0')} of {of.card.get('command', of.name)}"
    return of.card.get("training", of.name)


if __name__ == "__main__":
    main()
