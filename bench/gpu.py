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
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

if "--rehearse" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton

import torch
from torch import Tensor

from bench.gpu_measuring import HALF, Bench, picture
from bench.gpu_rivals import candidate, encoder, training
from bench.gpu_small import small_folder, small_pictures, small_workers
from bench.peers import Rrdb, published_form
from liif_engine.network import decode, decoder
from liif_engine.network.grid import Span, axis
from liif_engine.restore import Engine

#: Scales at which the kernel is held against decode.py, down and across; at 1 the engine does not use it.
SCALES = ((1, 1), (1, 2), (1.5, 1.5), (2, 2), (3.3, 3.3), (4, 4), (1.2, 3.7))

#: From how much of decode.py's own error on, beside fp32, an answer is told.
TOO_FAR = 1.5


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
        for scale_y, scale_x in SCALES:
            feature_map = bench.random(1, model.channels, height, width, dtype=torch.float32)
            feature_map = feature_map.contiguous(memory_format=torch.channels_last)
            spans = [Span(axis(n, round(n * s)), 0, round(n * s), 0) for n, s in ((height, scale_y), (width, scale_x))]
            exact = _values(decode.decode(exact_model, feature_map, *spans))
            low = feature_map.to(dtype)
            plain = _distance(_values(decode.decode(model, low, *spans)), exact)
            words, facts, first = [], {"plain": plain}, None
            for launch in [Launch(32, True, 8, 1)] if dtype == torch.float32 and not bench.rehearse else layouts:
                try:
                    runs = [_values(kernels.decode(model, low, *spans, launch=launch)) for _ in range(bench.size(5, 2))]
                except Exception as error:
                    words.append(f"{launch}: {(str(error).splitlines() or [type(error).__name__])[0]}")
                    continue
                first = runs[0] if first is None else first
                facts[str(launch)] = apart = [_distance(run, exact) for run in runs]
                steady = all(torch.equal(run, runs[0]) for run in runs)
                same = "the first one's bytes" if torch.equal(runs[0], first) else "other bytes"
                if max(apart) > TOO_FAR * plain or not steady or not torch.equal(runs[0], first):
                    words.append(f"{launch}: {max(apart) * 255:.3f}, {same}, {'' if steady else 'not '}each time")
            name = f"correct_{str(dtype).removeprefix('torch.')}_{scale_y:g}_{scale_x:g}"
            told = "; ".join(words) or "all layouts are right and give the same bytes"
            bench.say(name, facts, f"decode.py is {plain * 255:.3f}/255 from fp32; {told}")


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


@torch.inference_mode()
def _values(strips: Any) -> Tensor:
    return torch.cat([strip.values for strip in strips])


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


PARTS = (
    machine,
    ceilings,
    correctness,
    decoder_rate,
    candidate,
    encoder,
    end_to_end,
    small_pictures,
    small_folder,
    small_workers,
    training,
)


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
