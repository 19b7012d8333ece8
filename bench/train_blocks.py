"""Which residual blocks of an encoder are worth least: what is left out one after the other, and what that costs.

    python bench/train_blocks.py --data train/a train/b [--model web] [--keep 13]

Looks at the held-out training pictures only, the same that choose a checkpoint. The last line is what
`liif train --inherit-blocks` wants.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from liif_engine.lab.pairs import PairShape, build_pool, is_held_out
from liif_engine.lab.validate import COLUMNS, Answer, validate, validation_pairs
from liif_engine.network import checkpoint
from liif_engine.network.model import EdsrLiif

SHAPE = PairShape(patch=64, queries=512)
CHOSEN = ("x1 q20", "x2 q20", "x2 clean", "x3 clean")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="the folders of training pictures")
    parser.add_argument("--model", default="web", help="a shipped name or a checkpoint")
    parser.add_argument("--keep", type=int, default=13, help="blocks that stay")
    parser.add_argument("--pictures", type=int, default=12, help="held-out pictures, at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "held-out.rgb"
        threads = os.cpu_count() or 1
        pool = build_pool(options.data, file, keep=is_held_out, threads=threads, smallest=SHAPE.canvas)
        columns = validation_pairs(pool, options.pictures, SHAPE, {name: COLUMNS[name] for name in CHOSEN})

        def score(kept: list[int]) -> float:
            return validate(answer(options.model, kept), columns, torch.device("cpu"))["mean"]

        kept = list(range(checkpoint.load(options.model).blocks))
        print(f"| blocks | left out | PSNR-RGB, mean of {', '.join(CHOSEN)} |\n|---|---|---|")
        print(f"| {len(kept)} | - | {score(kept):.2f} |")
        while len(kept) > options.keep:
            left, gone = max((score([block for block in kept if block != gone]), gone) for gone in kept)
            kept.remove(gone)
            print(f"| {len(kept)} | {gone} | {left:.2f} |", flush=True)
        print("\n" + ",".join(map(str, kept)))


def answer(model: str, kept: list[int]) -> Answer:
    network: EdsrLiif = checkpoint.load(model)
    *blocks, last = network.encoder.body
    network.encoder.body = torch.nn.Sequential(*(blocks[block] for block in kept), last)

    def decoded(pixels: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network.decode(network.encode(pixels), coord, cell)

    return decoded


if __name__ == "__main__":
    main()
