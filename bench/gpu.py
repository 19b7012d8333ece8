"""Everything that is to be known of a GPU, in one run: is the fused decoder right, and how fast is all of it.

    python -m bench.gpu --out gpu-results            # on a machine with a GPU; some minutes
    python -m bench.gpu --out /tmp/out --rehearse    # without one: tiny sizes, Triton's interpreter

Each part writes results.json and table.md anew, so that a run which is cut short leaves what it had. It needs torch,
triton, numpy, pillow and safetensors; the folder of small files also needs imagecodecs, and says so if it is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if "--rehearse" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.overlap import Raising
from bench.peers import Rrdb, published_form
from liif_engine.lab.muon import Muon
from liif_engine.network import checkpoint, decode, decoder
from liif_engine.network.decode import Span, axis
from liif_engine.network.graphs import CAPTURED_AT, GraphedEncoder
from liif_engine.network.model import EdsrLiif
from liif_engine.picture.busy import TOO_BUSY, alternation
from liif_engine.restore import Engine

HALF = torch.bfloat16

#: How long the candidate for the decoder may take, compiling included.
CANDIDATE_SECONDS = 60


@dataclass
class Bench:
    """Where and how large, and what was found."""

    device: torch.device
    out: Path
    rehearse: bool
    results: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)

    def size(self, full: int, tiny: int) -> int:
        """A size, or its stand-in for a rehearsal."""
        return tiny if self.rehearse else full

    def seconds(self, work: Callable[[], Any], runs: int = 5) -> float:
        """The median time of some runs, after one that warms up."""
        work()
        times = []
        for _ in range(1 if self.rehearse else runs):
            self.wait()
            started = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def wait(self) -> None:
        """Until the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def say(self, key: str, value: Any, words: str) -> None:
        """Keeps one result, and a row of the table."""
        self.results[key] = value
        self.rows.append((key, words))
        print(f"{key}: {words}", flush=True)
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "results.json").write_text(json.dumps(self.results, indent=2))
        table = "".join(f"| {name.replace('_', ' ')} | {text} |\n" for name, text in self.rows)
        (self.out / "table.md").write_text(f"| what | result |\n|---|---|\n{table}")

    def network(self, name: str = "web", dtype: torch.dtype = HALF) -> EdsrLiif:
        """A shipped model on the device."""
        model = checkpoint.load(name)
        if dtype != torch.float32:
            model.reduce(dtype)
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def random(self, *shape: int, dtype: torch.dtype = HALF) -> Tensor:
        """Random numbers; zeros would run faster than real data does."""
        return torch.randn(*shape, device=self.device, dtype=torch.float32).to(dtype)


def machine(bench: Bench) -> None:
    """What it ran on."""
    facts = {"torch": torch.__version__, "device": str(bench.device), "rehearsal": bench.rehearse}
    try:
        import triton

        facts["triton"] = triton.__version__
    except ImportError:
        facts["triton"] = "none"
    if bench.device.type == "cuda":
        properties = torch.cuda.get_device_properties(bench.device)
        facts |= {"name": properties.name, "memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
        facts |= {
            "capability": f"{properties.major}.{properties.minor}",
            "processors": properties.multi_processor_count,
        }
    bench.say("machine", facts, ", ".join(f"{key} {value}" for key, value in facts.items()))


def ceilings(bench: Bench) -> None:
    """The device's own rates: a large matrix product, and a large copy."""
    side = bench.size(8192, 256)
    for dtype, name in ((HALF, "bf16"), (torch.float32, "fp32")):
        a, b = bench.random(side, side, dtype=dtype), bench.random(side, side, dtype=dtype)
        rate = 2 * side**3 / bench.seconds(lambda a=a, b=b: a @ b, 20)
        bench.say(f"matrix_{name}", rate, f"{rate / 1e12:.1f} TFLOP/s, {side}x{side}x{side}")
    source = bench.random(bench.size(1 << 30, 1 << 20), dtype=torch.float32)
    target = torch.empty_like(source)
    rate = 2 * source.nbytes / bench.seconds(lambda: target.copy_(source), 20)
    bench.say("memory_rate", rate, f"{rate / 1e12:.2f} TB/s, read and written")


def correctness(bench: Bench) -> None:
    """The kernel against decode.py in fp32, at every layout; and whether layouts and runs give the same bytes."""
    from liif_engine.network import kernels, tuning
    from liif_engine.network.kernels import Launch

    layouts = [Launch(32, True, 4, 1), Launch(32, False, 4, 1)] if bench.rehearse else list(tuning.CANDIDATES)
    height, width = (6, 5) if bench.rehearse else (61, 83)
    # The interpreter multiplies no bf16 (the tests mend that); fp16 goes the same way.
    dtypes = [torch.float16] if bench.rehearse else [HALF, torch.float16, torch.float32]
    for dtype in dtypes:
        exact_model, model = bench.network(dtype=torch.float32), bench.network(dtype=dtype)
        worst = {"fused": 0.0, "plain": 0.0}
        different, unusable = set(), {}
        for scale_y, scale_x in ((1, 1), (1.5, 1.5), (2, 2), (3.3, 3.3), (4, 4), (1.2, 3.7)):
            feature_map = bench.random(1, model.channels, height, width, dtype=torch.float32)
            feature_map = feature_map.contiguous(memory_format=torch.channels_last)
            spans = [Span(axis(n, round(n * s)), 0, round(n * s), 0) for n, s in ((height, scale_y), (width, scale_x))]
            exact = _values(decode.decode(exact_model, feature_map, *spans))
            low = feature_map.to(dtype)
            worst["plain"] = max(worst["plain"], _distance(_values(decode.decode(model, low, *spans)), exact))
            first = None
            for launch in [Launch(32, True, 8, 1)] if dtype == torch.float32 and not bench.rehearse else layouts:
                try:
                    found = _values(kernels.decode(model, low, *spans, launch=launch))
                    again = _values(kernels.decode(model, low, *spans, launch=launch))
                except Exception as error:
                    unusable[str(launch)] = (str(error).splitlines() or [type(error).__name__])[0]
                    continue
                worst["fused"] = max(worst["fused"], _distance(found, exact))
                first = found if first is None else first
                if not torch.equal(found, first):
                    different.add(str(launch))
                if not torch.equal(found, again):
                    different.add(f"{launch}, from run to run")
        name = str(dtype).removeprefix("torch.")
        words = f"at most {worst['fused'] * 255:.4f}/255 from fp32 (decode.py: {worst['plain'] * 255:.4f}/255)"
        words += f"; other bytes: {', '.join(sorted(different)) or 'none'}; unusable: {', '.join(unusable) or 'none'}"
        facts = {**worst, "different_bytes": sorted(different), "unusable": unusable}
        bench.say(f"correct_{name}", facts, words)


def decoder_rate(bench: Bench) -> None:
    """TFLOP/s of the decoder at x4, each layout and decode.py, as shares of the device's own rates."""
    from liif_engine.network import kernels, tuning
    from liif_engine.network.kernels import Launch

    side = bench.size(1024, 8)
    model = bench.network(dtype=torch.float16 if bench.rehearse else HALF)
    feature_map = bench.random(1, model.channels, side, side, dtype=model.imnet.linears[0].weight.dtype)
    feature_map = feature_map.contiguous(memory_format=torch.channels_last)
    span = Span(axis(side, 4 * side), 0, 4 * side, 0)
    work = 2 * model.decoder_work * (4 * side) ** 2
    fewest_bytes = feature_map.nbytes + 3 * (4 * side) ** 2
    floor = max(work / bench.results["matrix_bf16"], fewest_bytes / bench.results["memory_rate"])
    layouts = [Launch(32, True, 4, 1)] if bench.rehearse else list(tuning.CANDIDATES)
    forms: dict[str, Callable[[], Any]] = {
        str(one): lambda one=one: list(kernels.decode(model, feature_map, span, span, launch=one, form=torch.uint8))
        for one in layouts
    }
    forms["decode.py"] = lambda: list(decode.decode(model, feature_map, span, span))
    forms["as chosen"] = lambda: list(decoder.strips(model, feature_map, span, span, form=torch.uint8))
    for name, run in forms.items():
        try:
            seconds = bench.seconds(run)
        except Exception as error:
            bench.say(f"decoder {name}", None, f"cannot be used: {(str(error).splitlines() or [''])[0]}")
            continue
        rate = work / seconds
        share = rate / bench.results["matrix_bf16"]
        words = f"{rate / 1e12:.1f} TFLOP/s, {share:.0%} of the matrix rate, {floor / seconds:.0%} of the roofline"
        bench.say(f"decoder {name}", {"rate": rate, "matrix_share": share, "roofline_share": floor / seconds}, words)


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
        rate_of("_relu_in_convolution", lambda pixels=pixels: relu_in_convolution(model, pixels))
        apart = float((relu_in_convolution(model, pixels) - model.encode(pixels)).abs().max())
        bench.say(f"encoder_{side}_relu_in_convolution_apart", apart, f"{apart:.2g}, the greatest difference")
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


def relu_in_convolution(model: EdsrLiif, pixels: Tensor) -> Tensor:
    """`EdsrLiif.encode` with cuDNN's convolution that adds the bias and applies the ReLU before it writes."""
    body = model.encoder.body
    shallow = model.encoder.head((pixels - 0.5) / 0.5)
    deep = shallow
    for block in body[:-1]:
        first, _, second = block.body
        given = deep.to(first.weight.dtype)
        inside = torch.cudnn_convolution_relu(given, first.weight, first.bias, (1, 1), (1, 1), (1, 1), 1)
        deep = deep + second(inside)
    last = body[-1]
    return (last(deep.to(last.weight.dtype)) + shallow).to(last.weight.dtype)


def end_to_end(bench: Bench) -> None:
    """One input megapixel at x4, pixels in memory to pixels in memory, against the two peers at equal precision."""
    side = bench.size(1000, 24)
    pixels = picture(side, side)
    tensor = torch.from_numpy(pixels).to(bench.device).permute(2, 0, 1)[None].float() / 255
    for precision, dtype in (("bf16", HALF), ("fp32", torch.float32)):
        try:
            engine = Engine("web", device=str(bench.device), precision=precision)
        except Exception as error:
            bench.say(f"x4_{precision}", None, f"not here: {error}")
            continue
        ours = bench.seconds(lambda engine=engine: engine.restore(pixels, scale=4), 3)
        model = bench.network(dtype=dtype)
        paper = bench.seconds(lambda model=model: published_form(model, tensor, (4 * side, 4 * side)).cpu(), 1)
        rrdb = Rrdb().to(bench.device, dtype, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        given = tensor.to(dtype).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            peer = bench.seconds(lambda rrdb=rrdb, given=given: rrdb(given).clamp(0, 1).cpu(), 3)
        megapixels = 16 * side * side / 1e6
        words = f"{megapixels / ours:.2f} output megapixels/s; {paper / ours:.1f} times the published form's,"
        words += f" {peer / ours:.2f} times that of Real-ESRGAN x4plus' network"
        bench.say(f"x4_{precision}", {"ours": ours, "published_form": paper, "rrdb": peer}, words)


def training(bench: Bench) -> None:
    """A step of `liif train` as docs/training.md runs it, with and without torch.compile, and what takes its time."""
    batch, patch, queries = bench.size(32, 2), bench.size(96, 16), bench.size(4608, 64)
    pixels = torch.rand(batch, 3, patch, patch, device=bench.device).contiguous(memory_format=torch.channels_last)
    coord = torch.rand(batch, queries, 2, device=bench.device) * 2 - 1
    cell = torch.full_like(coord, 1 / patch)
    truth = torch.rand(batch, queries, 3, device=bench.device)
    with torch.inference_mode(False), torch.enable_grad():
        pixels, coord, cell, truth = (given.clone() for given in (pixels, coord, cell, truth))
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


def small_pictures(bench: Bench) -> None:
    """A folder of small pictures against one large picture of as many pixels: in memory, and as files."""
    count, side, large = bench.size(200, 2), bench.size(256, 40), bench.size(1024, 48)
    engine = Engine("web", device=str(bench.device))
    many = [picture(side - 8 * (index % 4), side, index) for index in range(count)]
    one = picture(large, large)
    rate = 4 * one.shape[0] * one.shape[1] / bench.seconds(lambda: engine.restore(one, scale=2), 3) / 1e6
    output = 4 * sum(small.shape[0] * small.shape[1] for small in many) / 1e6
    memory = output / bench.seconds(lambda: [engine.restore(small, scale=2) for small in many], 3)
    words = f"{memory:.1f} output megapixels/s, {memory / rate:.0%} of one large picture's {rate:.1f}"
    bench.say("small_in_memory", {"rate": memory, "large": rate, "share": memory / rate}, words)

    from liif_engine import file, pipeline
    from liif_engine.plan import plan as plan_of
    from liif_engine.target import Target

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, small in enumerate(many):
            Image.fromarray(small).save(folder / f"{index}.jpg", quality=75)
        (folder / "out").mkdir()
        plans = [plan_of(path, Target(scale=2), out=folder / "out") for path in sorted(folder.glob("*.jpg"))]
        options = pipeline.Options(overwrite=True)

        def in_turn() -> None:
            for plan in plans:
                file.run(engine, plan, overwrite=True)

        turn = output / bench.seconds(in_turn, 3)
        files = output / bench.seconds(lambda: pipeline.restore_files(engine, plans, options, Raising()), 3)
    words = (
        f"{files:.1f} output megapixels/s, {files / rate:.0%} of one large picture's; one after the other {turn:.1f}"
    )
    bench.say("small_files", {"rate": files, "in_turn": turn, "large": rate, "share": files / rate}, words)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture with smooth and rough parts, (height, width, 3) uint8; none that half precision is not used for."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    noise = np.random.default_rng(seed).random((height, width)) * x / 4
    pixels = (np.stack([y, 0.75 * x + noise, (x + y) / 2], -1) * 255).astype(np.uint8)
    if alternation(pixels) > TOO_BUSY:
        raise ValueError("this picture would be computed in fp32 whatever is asked for")
    return pixels


@torch.inference_mode()
def _values(strips: Any) -> Tensor:
    return torch.cat([strip.values for strip in strips])


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


PARTS = (machine, ceilings, correctness, decoder_rate, candidate, encoder, end_to_end, small_pictures, training)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json and table.md")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU; no figure means anything")
    names = [part.__name__ for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="PART", help=f"of {', '.join(names)}")
    arguments = parser.parse_args()
    if not arguments.rehearse and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --rehearse tries the script without one")
    device = torch.device("cpu" if arguments.rehearse else "cuda")
    if arguments.rehearse:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False  # for all who are compared; torch lets convolutions use it otherwise
    bench = Bench(device, arguments.out, arguments.rehearse)
    failed = 0
    for part in PARTS:
        if arguments.only and part.__name__ not in {"machine", "ceilings", *arguments.only}:
            continue
        try:
            with torch.inference_mode():
                part(bench)
        except Exception as error:  # the other parts still tell something
            failed += 1
            traceback.print_exc()
            bench.say(part.__name__, None, f"failed: {(str(error).splitlines() or [type(error).__name__])[0]}")
    print(f"\n{(arguments.out / 'table.md').read_text()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
