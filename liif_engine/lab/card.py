"""The model card of a trained checkpoint: where it comes from, what it saw, how good it is, and who may use it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from liif_engine.lab.settings import TrainSettings, command
from liif_engine.lab.state import Progress
from liif_engine.model_names import SELF_ENSEMBLE
from liif_engine.network import checkpoint
from liif_engine.network.card import find

#: Lists the pictures of a data folder: tab-separated, with the columns file, source and licence.
INDEX = "index.tsv"


def training_card(settings: TrainSettings, progress: Progress, names: Sequence[str]) -> dict[str, str]:
    """The metadata to save beside the weights; every value a string.

    Args:
        settings: of the run.
        progress: of the run, with the scores of the checkpoint that is saved.
        names: file names of the training pictures.
    """
    shares = ", ".join(f"{name} {share:g}" for name, share in asdict(settings.shares).items())
    card = {
        "name": settings.name,
        "task": "removal of compression artifacts and super-resolution at any scale of web pictures",
        "trained_for": "PSNR: it removes and rebuilds, it invents no crispness; scales 1 to 4",
        "started_from": _start(settings),
        "training": (
            f"{progress.step} steps of {settings.batch} patches of {settings.patch}x{settings.patch} with"
            f" {settings.queries} queries, L1, {settings.optimizer.capitalize()} from {settings.rate:g}, cosine,"
            f" moving average {settings.average:g}, {progress.seconds / 60:.0f} minutes, seed {settings.seed},"
            f" torch {torch.__version__}"
        ),
        "command": command(settings),
        "degradation": f"liif_engine/lab/degrade.py, JPEG quality 5 to 95 at any grid phase, with shares: {shares}",
        "data": f"{len(names)} pictures: {'; '.join(sources(settings.data, names)) or 'no index of sources'}",
        "validation": "RGB PSNR [dB] on held-out patches, for choosing only: " + _figures(progress.scores),
        "validation_of_the_start": _figures(progress.start_scores),
        "paper": (
            "Learning Continuous Image Representation with Local Implicit Image Function (CVPR 2021), arXiv 2012.09161"
        ),
        "author": "the liif-restore authors; architecture and first weights by Yinbo Chen",
        "repository": "fine-tuned by liif-restore from github.com/yinboc/liif",
        "license": "BSD-3-Clause",
    }
    if settings.teacher:
        ways = f" asked in {settings.teacher_ways} ways a step" if settings.teacher.endswith(SELF_ENSEMBLE) else ""
        card["teacher"] = f"{Path(settings.teacher).name}{ways}, weight {settings.teacher_share:g} against the truth"
    return card


def sources(folders: Iterable[Path], names: Sequence[str]) -> list[str]:
    """The pictures' sources as "source (count; licence)", the largest first.

    Args:
        folders: the data folders; each or its parent may hold an ``index.tsv``.
        names: file names of the pictures used.
    """
    indexes = {place / INDEX for folder in folders for place in (folder, folder.parent)}
    wanted = set(names)
    counts: dict[str, int] = {}
    licences: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for index in sorted(path for path in indexes if path.is_file()):
        with index.open(newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if row["file"] in wanted and (row["file"], row["source"]) not in seen:
                    seen.add((row["file"], row["source"]))
                    counts[row["source"]] = counts.get(row["source"], 0) + 1
                    licences.setdefault(row["source"], row["licence"])
    ranked = sorted(counts, key=lambda source: (-counts[source], source))
    return [f"{source} ({counts[source]}; {licences[source]})" for source in ranked]


def _start(settings: TrainSettings) -> str:
    start = settings.inherit or settings.start
    if start == "scratch":
        return start
    part = "a part of " if settings.inherit else ""
    return f"{part}{Path(start).name}, sha256 {checkpoint.sha256_of(find(start))}"


def _figures(scores: dict[str, float]) -> str:
    return ", ".join(f"{column} {score:.2f}" for column, score in scores.items())
