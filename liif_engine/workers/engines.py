"""The engines of a worker, one a model: loaded when it is asked for, the least recently used dropped for others."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import TypedDict

from liif_engine import memory
from liif_engine.model_names import AUTO, CLEAN, DAMAGED, plain
from liif_engine.network import card
from liif_engine.workers.engine import EngineMaker, WorkerEngine
from liif_engine.workers.work import WorkerSettings

#: A loaded model takes its file's size in fp32, and as much again for a copy in the precision at work.
COPIES_OF_A_MODEL = 2


class Hardware(TypedDict, total=False):
    """The fields of `Report` that concern the device."""

    device: str
    device_name: str
    gpus: int
    device_bytes: int


class Engines:
    """Loaded models, the least recently used dropped when they take too much memory.

    One thread loads and uses them; any may ask what there is.
    """

    def __init__(self, settings: WorkerSettings, device: str) -> None:
        self.settings, self.device = settings, device
        self._make: EngineMaker | None = None
        self._kept: OrderedDict[tuple[str, str, object], tuple[WorkerEngine, int]] = OrderedDict()
        # Held for moments only, never while a model is loaded.
        self._changing = threading.Lock()

    def get(self, model: str, precision: str) -> WorkerEngine:
        """The engine of a model, loaded if need be.

        Raises:
            LiifError: as `Engine`.
        """
        size, stamp = _size_and_stamp(model)
        key = (model, precision, stamp)
        if key not in self._kept:
            self._make_room(size)
            engine = self._load(model, precision)
            with self._changing:
                self._kept[key] = engine, size
        with self._changing:
            self._kept.move_to_end(key)
        return self._kept[key][0]

    def names(self) -> tuple[str, ...]:
        """The names of the loaded models, the most recently used last; after ``auto`` what it has loaded."""
        names = [name for one in self._engines() for name in (one.model_name, *one.chosen)]
        return tuple(dict.fromkeys(names))

    def hardware(self) -> Hardware:
        """What there is to say of the device."""
        device = next((str(engine.device) for engine in self._engines()), self.device)
        if not device.startswith("cuda"):
            return {"device": device, "device_name": "CPU" if device == "cpu" else device}
        import torch

        return {
            "device": device,
            "device_name": torch.cuda.get_device_name(device),
            "gpus": torch.cuda.device_count(),
            "device_bytes": torch.cuda.memory_reserved(device),
        }

    def _engines(self) -> list[WorkerEngine]:
        with self._changing:
            return [engine for engine, _ in self._kept.values()]

    def _load(self, model: str, precision: str) -> WorkerEngine:
        is_first = self._make is None
        self._make = self._make or _maker(self.settings.engine)
        engine = self._make(model, device=self.device, precision=precision, memory_bytes=self.settings.memory_bytes)
        if is_first:
            memory.keep_loaded()
        return engine

    def _make_room(self, size: int) -> None:
        while self._kept and sum(kept for _, kept in self._kept.values()) + size > self.settings.model_bytes:
            with self._changing:
                self._kept.popitem(last=False)
            torch = sys.modules.get("torch")
            if torch is not None and torch.cuda.is_initialized():
                # Its memory would stay with torch, for work to come, and be missing from other programs.
                torch.cuda.empty_cache()


def _maker(engine: str) -> EngineMaker:
    """What makes an engine, by its ``module:name``."""
    module, _, name = engine.partition(":")
    maker: EngineMaker = getattr(import_module(module), name)
    return maker


def _size_and_stamp(model: str) -> tuple[int, object]:
    """Bytes that a model takes, about, and what tells that its file was replaced by another."""
    model = plain(model)
    if model == AUTO:
        return sum(_size_and_stamp(name)[0] for name in (DAMAGED, CLEAN)), None
    path = Path(model)
    if not path.is_absolute():
        path = card.SHIPPED / f"{model}.safetensors"
    try:
        found = path.stat()
    except (OSError, ValueError):
        return 0, None
    return found.st_size * COPIES_OF_A_MODEL, (found.st_mtime_ns, found.st_size, found.st_ino)
