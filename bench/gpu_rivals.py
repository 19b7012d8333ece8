"""Other ways to do what the engine does on a GPU, for `gpu.py`: the encoder, the decoder, a step of training."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.gpu_measuring import HALF, Bench
from liif_engine.lab.muon import Muon
from liif_engine.network.graphs import CAPTURED_AT, GraphedEncoder
from liif_engine.network.model import EdsrLiif

#: How long the candidate for the decoder may take, compiling included.
CANDIDATE_SECONDS = 60


def candidate(bench: Bench) -> None:
    """The candidate for the decoder: in a process of its own, since a fault in its barriers would never end."""
    if bench.rehearse:
        bench.say("candidate", None, "cannot be rehearsed: Gluon has no interpreter")
        return
    command = [sys.executable, "-m", "bench.paired"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CANDIDATE_SECONDS)
        said, lines = done.stdout, done.stderr.splitlines()
        words = lines[-1] if done.returncode and lines else ""
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        words = f"not done after {CANDIDATE_SECONDS} s"
    found = json.loads(said.splitlines()[-1]) if said.strip() else {}
    bench.say(
        "candidate", found, "; ".join([f"{name}: {value}" for name, value in found.items()] + [words] * bool(words))
    )


def encoder(bench: Bench) -> None:
    """The encoder on a large window and on small ones: as the engine runs it, and in other ways that may be faster."""
    model = bench.network()
    for side in (bench.size(1096, 24), bench.size(256, 16), bench.size(96, 8)):
        pixels = torch.rand(1, 3, side, side, device=bench.device).contiguous(memory_format=torch.channels_last)

        def rate_of(name: str, work: Callable[[], Any], *, searched: bool = False, side: int = side) -> float:
            flags = {"enabled": True, "benchmark": searched, "deterministic": True, "allow_tf32": False}
            with torch.backends.cudnn.flags(**flags):
                seconds = bench.seconds(work)
            rate = 2 * model.encoder_work * side * side / seconds
            share = rate / bench.results["matrix_bf16"]
            words = f"{seconds * 1e3:.2f} ms, {rate / 1e12:.1f} TFLOP/s, {share:.0%} of the matrix rate"
            bench.say(f"encoder_{side}{name}", {"seconds": seconds, "rate": rate, "matrix_share": share}, words)
            return seconds

        plain = rate_of("", lambda pixels=pixels: model.encode(pixels))
        rate_of("_searched", lambda pixels=pixels: model.encode(pixels), searched=True)
        if bench.device.type != "cuda":
            continue
        _summed(bench, model, pixels, rate_of)
        try:
            compiled = torch.compile(model.encode, dynamic=False)
            rate_of("_compiled", lambda compiled=compiled, pixels=pixels: compiled(pixels))
        except Exception as error:
            bench.say(f"encoder_{side}_compiled", None, f"cannot be used: {(str(error).splitlines() or [''])[0]}")
        if side > 512:
            continue
        graphed = GraphedEncoder(model)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            for _ in range(CAPTURED_AT):
                found = graphed(pixels, lambda: None)
            same = torch.equal(found, model.encode(pixels))
            seconds = bench.seconds(lambda pixels=pixels, graphed=graphed: graphed(pixels, lambda: None))
        words = f"{seconds * 1e3:.2f} ms as a graph, {plain / seconds:.2f} times as fast, same bytes: {same}"
        bench.say(f"encoder_{side}_graph", {"seconds": seconds, "same_bytes": same}, words)


def _summed(bench: Bench, model: EdsrLiif, pixels: Tensor, rate_of: Callable[..., Any]) -> None:
    """The candidate for the encoder, and how far it and the one that is used are from fp32."""
    from bench import summed  # not in a rehearsal, where there may be no Triton

    side = pixels.shape[-1]
    try:
        exact = bench.network(dtype=torch.float32).encode(pixels)
        far = [float((one(pixels) - exact).abs().max()) for one in (model.encode, partial(summed.encode, model))]
        rate_of("_summed", lambda: summed.encode(model, pixels))
        words = f"{far[1]:.3f} from fp32 at the most; the one that is used {far[0]:.3f}"
        bench.say(f"encoder_{side}_summed_distance", {"summed": far[1], "used": far[0]}, words)
    except Exception as error:
        bench.say(f"encoder_{side}_summed", None, f"cannot be used: {(str(error).splitlines() or [''])[0]}")


def training(bench: Bench) -> None:
    """A step of `liif train` as docs/training.md runs it, with and without torch.compile, and what takes its time."""
    batch, patch, queries = bench.size(32, 2), bench.size(96, 16), bench.size(3072, 64)
    pixels = torch.rand(batch, 3, patch, patch, device=bench.device).contiguous(memory_format=torch.channels_last)
    coord = torch.rand(batch, queries, 2, device=bench.device) * 2 - 1
    sizes = torch.full((batch, 1, 2), 1 / patch, device=bench.device)
    truth = torch.rand(batch, queries, 3, device=bench.device)
    with torch.inference_mode(False), torch.enable_grad():
        pixels, coord, sizes, truth = (given.clone() for given in (pixels, coord, sizes, truth))
        cell = sizes.expand_as(coord)  # as the training's own, so that what is compiled here serves there too
        model = bench.network(dtype=torch.float32).train().requires_grad_(True)
        optimizer = Muon([{"params": list(model.parameters())}], 1e-9)

        def answer(*given: Tensor) -> Tensor:
            with torch.autocast(bench.device.type, HALF):
                return model.decode(model.encode(given[0]), given[1], given[2])

        def step(forward: Callable[..., Tensor] = answer) -> None:
            loss = torch.nn.functional.l1_loss(forward(pixels, coord, cell), truth)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()

        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False):
            seconds = bench.seconds(step, 10)
            bench.say("training", {"seconds": seconds}, f"{seconds * 1e3:.1f} ms a step, {batch / seconds:.0f} pairs/s")
            activities = [torch.profiler.ProfilerActivity.CPU]
            if bench.device.type == "cuda":
                activities.append(torch.profiler.ProfilerActivity.CUDA)
            with torch.profiler.profile(activities=activities) as profile:
                step()
                bench.wait()
            order = "cuda_time_total" if bench.device.type == "cuda" else "cpu_time_total"
            table = profile.key_averages().table(sort_by=f"self_{order}", row_limit=25, max_name_column_width=80)
            (bench.out / "training_profile.txt").write_text(table)
            if bench.device.type == "cuda":
                compiled = torch.compile(answer)
                started = time.perf_counter()
                step(compiled)
                bench.wait()
                compiling = time.perf_counter() - started
                seconds = bench.seconds(lambda: step(compiled), 10)
                words = f"{seconds * 1e3:.1f} ms a step, after {compiling:.0f} s of compiling"
                bench.say("training_compiled", {"seconds": seconds, "compiling": compiling}, words)
