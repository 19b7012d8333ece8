"""Everything that is to be known of a GPU, in one run: is the fused decoder right, and how fast is all of it.

    python -m bench.gpu --out gpu-results            # on a machine with a GPU; some minutes
    python -m bench.gpu --out /tmp/out --rehearse    # without one: tiny sizes, Triton's interpreter

Each part writes results.json and table.md anew, so that a run which is cut short leaves what it had. It needs torch,
triton, numpy, pillow and safetensors; the folder of small files also needs imagecodecs, and says so if it is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

if "--rehearse" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.gpu_measuring import HALF, Bench
from bench.gpu_rivals import candidate, encoder, training
from bench.overlap import Raising
from bench.peers import Rrdb, published_form
from liif_engine.network import decode, decoder
from liif_engine.network.decode import Span, axis
from liif_engine.picture.busy import TOO_BUSY, alternation
from liif_engine.restore import Engine


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
    work = 2 * 4 * model.answer_work * (4 * side) ** 2
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
