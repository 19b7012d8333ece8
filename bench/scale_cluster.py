"""A real Ray cluster of several nodes on this machine: 500 small files, one in fifty broken, a node killed amid them;
then the throughput of 1 and 2 workers, as processes and on Ray, and what share of it transport takes.

The network is a stand-in that repeats pixels, since transport is the question, or with --real a tiny random one. Each
worker has one thread. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from liif_engine.archive.journal import NAME
from liif_engine.archive.order import Order
from liif_engine.archive.restore import Archive
from liif_engine.archive.summary import Summary
from liif_engine.crew import Crew
from liif_engine.target import Target
from liif_engine.workers import WorkerSettings

BROKEN_EACH = 50
NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
COPYING = "liif_engine.workers.stand_in:Copying"


def draw(folder: Path, count: int, width: int, height: int) -> set[str]:
    """Photograph-like files of about 15 kB; returns the names of the broken ones."""
    folder.mkdir(parents=True)
    broken = set()
    for number in range(count):
        random = np.random.default_rng(number)
        small = random.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
        pixels = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(pixels + random.integers(-8, 8, pixels.shape), 0, 255).astype(np.uint8)
        path = folder / f"{number:04}.jpg"
        Image.fromarray(noisy).save(path, quality=60)
        if number % BROKEN_EACH == 17:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            broken.add(path.name)
    return broken


def restore(source: Path, destination: Path, crew: Crew, settings: WorkerSettings, on_end: Any = None) -> Summary:
    """One run; how long it took is without the start of the workers, which is shown by the first result."""
    order = Order(source, destination, Target(scale=2), model=settings.model)
    with Archive(order, on_end or (lambda *_: None)) as archive:
        archive.run(crew, settings)
    return archive.summary


def digest(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if not path.name.startswith(NAME)
    }


def kill(cluster: Any, base: Path, count: int, settings: WorkerSettings) -> None:
    """Every file once, whatever dies."""
    broken = draw(base / "old", count, 320, 240)
    node, ended = cluster.add_node(**NODE), Counter[str]()

    def on_end(relative: Path, *_: Any) -> None:
        ended[relative.name] += 1
        if sum(ended.values()) == count // 2:
            cluster.remove_node(node, allow_graceful=False)

    summary = restore(base / "old", base / "ray", Crew("ray", address=cluster.address), settings, on_end)
    restore(base / "old", base / "local", Crew("processes", 1), settings)
    found, wanted = digest(base / "ray"), digest(base / "local")
    print(f"{count} files, {len(broken)} broken, one of three nodes killed after {count // 2}:")
    print(f"  told of once: {sum(n == 1 for n in ended.values())}, of more often: {sum(n > 1 for n in ended.values())}")
    print(f"  restored {summary.restored}, failed {len(summary.failures)}, the broken ones and no others:", end=" ")
    print({path.name for path, _ in summary.failures} == broken)
    print(f"  results the same bytes as the local run's: {found == wanted} ({len(found)} files)")
    print(f"  begun again: {summary.begun_again}; {summary.seconds:.1f} s\n", flush=True)


def throughput(cluster: Any, base: Path, settings: WorkerSettings) -> None:
    """Files per second from the 20th result on, when every worker has started."""
    print("| place | workers | files/s | read | network | write | carry | driver's CPU a file |")
    print("|---|---|---|---|---|---|---|---|")
    places = [("processes", 1), ("processes", 2), ("ray", 1), ("ray", 2)]
    extra = cluster.list_all_nodes()[2]
    for run, (place, workers) in enumerate([*places[:2], places[3], places[2]]):
        if (place, workers) == ("ray", 1):
            cluster.remove_node(extra)
            time.sleep(3)  # until the cluster has noticed
        crew = Crew("ray", address=cluster.address) if place == "ray" else Crew("processes", workers)
        ends: list[float] = []
        before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        summary = restore(
            base / "old", base / f"run{run}", crew, settings, lambda *_, e=ends: e.append(time.monotonic())
        )
        spent = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before
        rate = (len(ends) - 20) / (ends[-1] - ends[20])
        total = sum(summary.stages.values())
        shares = [f"{summary.stages.get(key, 0) / total:.0%}" for key in ("read", "restore", "write", "carry")]
        print(
            f"| {place} | {workers} | {rate:.1f} | {' | '.join(shares)} | {spent / len(ends) * 1e3:.1f} ms |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--real", action="store_true", help="a tiny random network instead of a stand-in")
    parser.add_argument("--rates-alone", action="store_true", help="kill no node")
    parser.add_argument("--wait", type=float, help="a stand-in that takes so long without any CPU, as a GPU does [s]")
    arguments = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        settings = WorkerSettings(device="cpu", model="copy", engine=COPYING, threads=1, attempts=3)
        if arguments.real:
            settings = WorkerSettings(device="cpu", model=tiny(base), threads=1, attempts=3)
        if arguments.wait is not None:
            waiting = COPYING.replace("Copying", "Waiting")
            settings = WorkerSettings(device="cpu", model=f"wait:{arguments.wait}", engine=waiting, threads=1)
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        for _ in range(2):
            cluster.add_node(**NODE)
        if arguments.rates_alone:
            draw(base / "old", arguments.files, 320, 240)
        else:
            kill(cluster, base, arguments.files, settings)
        throughput(cluster, base, settings)
        cluster.shutdown()


def tiny(base: Path) -> str:
    """A random network's file."""
    import torch

    from liif_engine.network import checkpoint
    from liif_engine.network.model import EdsrLiif

    torch.manual_seed(0)
    checkpoint.save(EdsrLiif(16, 2, (32, 32)), base / "tiny.safetensors", {})
    return str(base / "tiny.safetensors")


if __name__ == "__main__":
    main()
