"""Fits what tells `auto` whether `web` would be ahead of `published` where a file and its pixels name no damage.

    python bench/train_advantage.py measure --data train/a train/b --out runs/advantage --part 1/2 [--held-out]
    python bench/train_advantage.py fit --out runs/advantage
    python bench/train_advantage.py count --data train/a train/b

`measure` cuts tiles from pictures, damages them in ways that leave no trace which a rule could name, and lets both
models enlarge them to x2: the gain is how much nearer `web` comes to the truth in PSNR-RGB. Parts may run side by side.
`fit` learns from the pictures that are not held out which of the two is ahead, for `liif_engine/picture/advantage.py`,
writes what it learnt there, and prints a Markdown table of the held-out ones, which it has not seen. `count` says how
many whole held-out pictures `auto` gives to `web`, clean and otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from safetensors.numpy import save_file
from torch import nn

from liif_engine import Engine
from liif_engine.auto import LEAST_ODDS, choose, choose_for
from liif_engine.file import sha256_of
from liif_engine.lab.degrade import FILTERS, Compression, Kernel, Plan, apply, compress
from liif_engine.lab.pairs import build_pool, is_held_out
from liif_engine.model_names import CLEAN, DAMAGED
from liif_engine.network import card
from liif_engine.picture import advantage
from liif_engine.picture.advantage import SIDE
from liif_engine.picture.damage import estimate

#: What a tile goes through; clean ones come twice, since they are what a wrong guess costs most.
KINDS = ("clean", "clean", "reduced", "reduced", "enlarged", "noise", "grain", "jpeg", "palette")

#: Names of the pictures that are photographs begin so.
PHOTOGRAPHS = ("bsds500", "cid22", "clic2025", "sun-hays", "nextcloud")

#: Every so many pictures one is gray.
GRAY_ONE_IN = 10

#: A tile teaches as much as its gain is worth, up to so many dB; a clean one twice that, since more pictures are clean
#: than the kinds of damage here make believe.
MOST_WORTH, WORTH_OF_CLEAN = 4.0, 2.0

HIDDEN, SEEDS, STEPS, RATE, DECAY = 64, 6, 600, 3e-3, 0.1

Pixels = NDArray[np.uint8]


class Pair(NamedTuple):
    """A damaged tile, and the truth at twice its size."""

    damaged: Pixels
    truth: Pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    measuring = modes.add_parser("measure")
    measuring.add_argument("--data", nargs="+", type=Path, required=True, help="the folders of training pictures")
    measuring.add_argument("--held-out", action="store_true", help="the held-out pictures in place of the others")
    measuring.add_argument("--pictures", type=int, default=500, help="at most; drawn, always the same")
    measuring.add_argument("--part", default="1/1", help="which part of the pictures, as 1/2")
    fitting, counting = modes.add_parser("fit"), modes.add_parser("count")
    for mode in (measuring, fitting):
        mode.add_argument("--out", type=Path, required=True, help="the folder of what was measured")
    counting.add_argument("--data", nargs="+", type=Path, required=True, help="the folders of training pictures")
    options = parser.parse_args()
    if options.mode == "measure":
        measure(options)
    elif options.mode == "fit":
        fit(options.out)
    else:
        count(options.data)


def measure(options: argparse.Namespace) -> None:
    """Tiles, what they went through, and the gains; written from time to time, so that a run may be cut off."""
    options.out.mkdir(parents=True, exist_ok=True)
    part, parts = map(int, options.part.split("/"))
    file = options.out / f"{'held-out' if options.held_out else 'seen'}-{part}.npz"
    models = Engine(DAMAGED), Engine(CLEAN)
    with tempfile.TemporaryDirectory() as scratch:
        pool = build_pool(
            options.data,
            Path(scratch) / "pictures.rgb",
            keep=lambda name: is_held_out(name) == options.held_out,
            threads=os.cpu_count() or 1,
            smallest=2 * SIDE,
        )
        order = np.random.default_rng(0).permutation(len(pool))[: options.pictures][part - 1 :: parts]
        found: list[tuple[Any, ...]] = []
        for count, index in enumerate(order, 1):
            rng = np.random.default_rng([5, int(index)])
            picture = Image.fromarray(pool[int(index)])
            if index % GRAY_ONE_IN == 0:
                picture = picture.convert("L").convert("RGB")
            for kind in KINDS:
                pair = draw(picture, kind, rng)
                if pair is not None:
                    web, published = (psnr(model.restore(pair.damaged, scale=2), pair.truth) for model in models)
                    named = choose(estimate(pair.damaged)).model == DAMAGED
                    found.append((pair.damaged, web - published, kind, pool.names[index], named))
            if count % 10 == 0 or count == len(order):
                names = ("tiles", "gains", "kinds", "pictures", "named")
                columns = dict(zip(names, map(np.array, zip(*found, strict=True)), strict=True))
                np.savez_compressed(written := file.with_suffix(".part.npz"), **columns)
                written.replace(file)
                print(f"{time.strftime('%H:%M:%S')} {count} of {len(order)}", flush=True)


def draw(picture: Image.Image, kind: str, rng: np.random.Generator) -> Pair | None:
    """A tile of a clean picture, damaged; None where the picture is too small."""
    factor = {"reduced": rng.uniform(0.45, 0.95), "enlarged": rng.uniform(1.05, 1.8)}.get(kind, 1.0)
    stored = round(SIDE / factor)  # pixels along an axis when it was compressed
    needed = max(2 * SIDE, stored)
    side = min(round(needed * rng.uniform(1, 1.6)), *picture.size)
    if side < needed:
        return None
    left, top = (int(rng.integers(length - side + 1)) for length in picture.size)
    crop = picture.crop((left, top, left + side, top + side))
    truth = _sized(crop, 2 * SIDE)
    kernel = FILTERS[str(rng.choice(["bicubic", "lanczos", "bilinear", "area"]))]  # type: ignore[index]
    small = truth.resize((SIDE, SIDE), FILTERS["lanczos" if rng.random() < 0.5 else "bicubic"])
    if kind in {"reduced", "enlarged"}:
        codec, quality = ("webp" if rng.random() < 0.15 else "jpeg"), int(rng.integers(20, 93))
        step = Compression(codec, quality, int(rng.choice([0, 2])))  # type: ignore[arg-type]
        small = compress(_sized(crop, stored), step).resize((SIDE, SIDE), kernel)
        if rng.random() < 0.25:
            small = small.filter(ImageFilter.UnsharpMask(0.6, int(rng.integers(40, 120)), 0))
    elif kind == "noise":
        damaged = apply(np.asarray(small), Plan(noise=float(rng.uniform(0.7, 3.0))), rng)[0]
        return Pair(damaged, np.asarray(truth))
    elif kind == "grain":
        small = Image.fromarray(_grainy(np.asarray(small), rng))
    elif kind == "jpeg":  # cut out at a phase of its own
        shift = int(rng.integers(8))
        padded = np.pad(np.asarray(small), ((shift, 8 - shift), (shift, 8 - shift), (0, 0)), "edge")
        whole = compress(Image.fromarray(padded), Compression("jpeg", int(rng.integers(30, 99))))
        small = whole.crop((shift, shift, shift + SIDE, shift + SIDE))
    elif kind == "palette":
        plan = Plan(colours=int(2 ** rng.uniform(4, 8)), dither=bool(rng.random() < 0.5))
        return Pair(apply(np.asarray(small), plan, rng)[0], np.asarray(truth))
    return Pair(np.asarray(small), np.asarray(truth))


def _sized(image: Image.Image, side: int) -> Image.Image:
    return image if image.width == side else image.resize((side, side), FILTERS["bicubic"])


def _grainy(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """With gray noise that is coarser than a pixel, as of film."""
    deviation, blur = rng.uniform(2, 8), rng.uniform(0.5, 1.1)
    high, wide = (length + 8 for length in pixels.shape[:2])
    squared = np.fft.fftfreq(high)[:, None] ** 2 + np.fft.fftfreq(wide)[None] ** 2
    kept = np.exp(-2 * (np.pi * blur) ** 2 * squared)
    grain = np.fft.ifft2(np.fft.fft2(rng.standard_normal((high, wide))) * kept).real[4:-4, 4:-4]
    grain *= deviation / grain.std()
    levels: Pixels = np.rint(pixels + grain[..., None]).clip(0, 255).astype(np.uint8)
    return levels


def psnr(pixels: Pixels, truth: Pixels) -> float:
    """In RGB [dB], 60 at the most."""
    error = np.square(pixels.astype(np.float32) - truth.astype(np.float32)).mean() / 255**2
    return float(-10 * np.log10(max(error, 1e-6)))


def fit(folder: Path) -> None:
    """Learns from the seen pictures, writes, and says what it guesses of the others."""
    seen, held_out = (_measured(sorted(folder.glob(f"{name}-?.npz"))) for name in ("seen", "held-out"))
    described = np.stack([advantage.describe(tile) for tile in seen["tiles"]])
    worth = np.abs(seen["gains"]).clip(max=MOST_WORTH) * np.where(seen["kinds"] == "clean", WORTH_OF_CLEAN, 1)
    fitted = _fitted(described, seen["gains"] > 0, worth)
    save_file(fitted, advantage.FITTED, {name: sha256_of(card.find(name)) for name in (DAMAGED, CLEAN)})
    advantage._fitted.cache_clear()
    pictures = len(set(seen["pictures"]))
    print(f"{len(described)} tiles of {pictures} pictures, {len(held_out['tiles'])} of held-out ones\n")
    print_table(held_out)


def _measured(files: list[Path]) -> dict[str, NDArray[Any]]:
    parts = [np.load(file) for file in files]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}


def _fitted(
    described: NDArray[np.float32], ahead: NDArray[np.bool_], worth: NDArray[Any]
) -> dict[str, NDArray[np.float32]]:
    """The mean of several small networks, as one of two layers, that tell whether `web` is ahead."""
    mean, deviation = described.mean(0), described.std(0) + 1e-3
    given = torch.from_numpy(((described - mean) / deviation).clip(-4, 4))
    wanted, weights = (torch.from_numpy(column.astype(np.float32)) for column in (ahead, worth))
    hidden, last = [], []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        first, second = nn.Linear(given.shape[1], HIDDEN), nn.Linear(HIDDEN, 1)
        network = nn.Sequential(nn.Dropout(0.15), first, nn.ReLU(), nn.Dropout(0.3), second)
        optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * RATE, STEPS)
        for _ in range(STEPS):
            loss = nn.functional.binary_cross_entropy_with_logits(network(given)[:, 0], wanted, weights)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        hidden.append(first)
        last.append(second)
    columns = {
        "hidden": torch.cat([layer.weight for layer in hidden]).T,
        "hidden_bias": torch.cat([layer.bias for layer in hidden]),
        "last": torch.cat([layer.weight[0] for layer in last]) / SEEDS,
        "last_bias": torch.stack([layer.bias for layer in last]).mean(0),
    }
    network_arrays = {name: np.ascontiguousarray(column.detach().numpy()) for name, column in columns.items()}
    return {"mean": mean, "deviation": deviation, **network_arrays}


def print_table(held_out: dict[str, NDArray[Any]]) -> None:
    """What the guess gives for each kind of damage, against what the rules alone and an oracle give."""
    gains, named = held_out["gains"], held_out["named"].astype(bool)
    guesses = np.array([advantage.guess(tile) for tile in held_out["tiles"]])
    taken = named | (guesses >= LEAST_ODDS)
    photographs = np.array([str(name).startswith(PHOTOGRAPHS) for name in held_out["pictures"]])
    print("| | tiles | `web` ahead by | rules alone | with the guess | the best choice | to `web` |")
    print("|---|---|---|---|---|---|---|")
    for kind, photograph in itertools.product(dict.fromkeys(KINDS), (True, False)):
        those = (held_out["kinds"] == kind) & (photographs == photograph)
        cells = [gains, gains * named, gains * taken, np.maximum(gains, 0)]
        means = " | ".join(f"{cell[those].mean():.2f}" for cell in cells)
        what = f"{kind}, {'photographs' if photograph else 'others'}"
        print(f"| {what} | {those.sum()} | {means} | {taken[those].mean():.0%} |")


def count(folders: list[Path]) -> None:
    """Of the whole held-out pictures, reduced to half: how many go to `web` by name, and how many by the guess."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pictures.rgb"
        pool = build_pool(folders, file, keep=is_held_out, threads=os.cpu_count() or 1, smallest=2 * SIDE)
        pictures = [Image.fromarray(pool[index]) for index in range(len(pool))]
    kinds = {
        "clean, by Lanczos": partial(_half, kernel="lanczos"),
        "clean, by the mean of 2x2 pixels": partial(_half, kernel="area"),
        **{
            f"JPEG {quality}, then reduced to {share:.0%}": partial(_reduced_after, quality=quality, share=share)
            for quality in (40, 75, 90)
            for share in (0.5, 0.75)
        },
        "JPEG 60, then enlarged to 150%": partial(_reduced_after, quality=60, share=1.5),
    }
    photographs = [name.startswith(PHOTOGRAPHS) for name in pool.names]
    print("| | photographs: by name | with the guess | others: by name | with the guess |")
    print("|---|---|---|---|---|")
    for kind, damage in kinds.items():
        found = [np.asarray(damage(picture)) for picture in pictures]
        cells = []
        for wanted in (True, False):
            those = [pixels for pixels, photograph in zip(found, photographs, strict=True) if photograph == wanted]
            for chosen in (lambda pixels: choose(estimate(pixels)), choose_for):
                taken = sum(chosen(pixels).model == DAMAGED for pixels in those)
                cells.append(f"{taken} of {len(those)}")
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)


def _half(image: Image.Image, *, kernel: Kernel) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), FILTERS[kernel])


def _reduced_after(image: Image.Image, *, quality: int, share: float) -> Image.Image:
    half = _half(image, kernel="bicubic")
    size = round(half.width * share), round(half.height * share)
    return compress(half, Compression("jpeg", quality)).resize(size, FILTERS["bicubic"])


if __name__ == "__main__":
    main()
