"""Peak memory of the work beyond the input and output arrays, for growing pictures: it must not grow with them.

The network is a cheap random one of the shipped width (64 channels), so that 24 megapixels take a minute, not an hour;
the encoder's feature maps, which are what fills memory, have their true size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import numpy as np
import torch

MEGAPIXELS = (0.25, 1, 4, 12, 24)


def measure(megapixels: float, scale: float) -> dict[str, float]:
    """Bytes, in this process."""
    from liif_engine import Engine, memory
    from liif_engine.network.model import EdsrLiif

    memory.keep_freed()  # as the programs do
    torch.manual_seed(0)
    network = EdsrLiif(channels=64, blocks=1, hidden=(32,))
    type(network).halo = 36  # type: ignore[assignment, method-assign]  # that of the shipped models
    engine = Engine(network, device="cpu", precision="fp32")
    width = round((megapixels * 1.5e6) ** 0.5)
    height = round(megapixels * 1e6 / width)
    engine.restore(np.zeros((16, 16, 3), np.uint8), scale=scale)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    result = engine.restore(pixels, scale=scale)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"arrays": pixels.nbytes + result.nbytes, "work": peak - pixels.nbytes - result.nbytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.scale)))
        return
    print("| input MP | input and output arrays, MB | peak beyond them, MB |\n|---|---|---|")
    for megapixels in MEGAPIXELS:
        command = [sys.executable, __file__, "--scale", str(arguments.scale), "--child", str(megapixels)]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        print(f"| {megapixels:g} | {row['arrays'] / 1e6:.0f} | {row['work'] / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
