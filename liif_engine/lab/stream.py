"""Batches of pairs, made by worker processes and handed over in shared memory, in an order that no timing changes."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
from collections.abc import Generator
from ctypes import c_char
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif_engine.begin import deaf
from liif_engine.errors import LiifError
from liif_engine.lab.degrade import Shares
from liif_engine.lab.pairs import PairShape, Pool, make_pair

#: Batches that each worker may be ahead.
SLOTS = 3

#: How often a reader that waits looks whether the worker still lives [s].
LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what batch number t holds.

    Attributes:
        pool: the pictures.
        seed: of the whole run.
        batch: pairs a batch.
        shape: sizes of a pair.
        shares: how often each kind of damage comes.
    """

    pool: Pool
    seed: int
    batch: int
    shape: PairShape
    shares: Shares

    def fill(self, step: int, slot: NDArray[Any]) -> None:
        """Writes batch number `step` into a (batch,) array of ``shape.record``."""
        for row in range(self.batch):
            slot[row] = make_pair(self.pool, self.seed, step * self.batch + row, self.shape, self.shares)


@dataclass(frozen=True)
class _Ring:
    """A worker's slots: it fills one when `free` lets it, the reader empties one when `ready` says so."""

    memory: Any  # ctypes array that both processes map
    free: Semaphore
    ready: Semaphore

    def slots(self, recipe: Recipe) -> NDArray[Any]:
        return np.frombuffer(self.memory, recipe.shape.record).reshape(SLOTS, recipe.batch)


def batches(recipe: Recipe, start: int, workers: int) -> Generator[NDArray[Any], None, None]:
    """Batches number `start`, `start` + 1, ... without end; close the iterator to stop the workers.

    Args:
        recipe: what a batch holds.
        start: number of the first batch.
        workers: processes that make them; 0 makes them here, between the steps.

    Yields:
        (batch,) arrays of ``recipe.shape.record``, valid until the next one is asked for.

    Raises:
        LiifError: a worker died.
    """
    if workers == 0:
        slot = np.zeros(recipe.batch, recipe.shape.record)
        for step in itertools.count(start):
            recipe.fill(step, slot)
            yield slot
    context = multiprocessing.get_context("spawn")  # fork is not safe beside torch's threads and CUDA
    size = SLOTS * recipe.batch * recipe.shape.record.itemsize
    rings = [
        _Ring(context.RawArray(c_char, size), context.Semaphore(SLOTS), context.Semaphore(0)) for _ in range(workers)
    ]
    processes = [
        context.Process(target=_work, args=(recipe, ring, start + first, workers), daemon=True)
        for first, ring in enumerate(rings)
    ]
    try:
        with deaf(signal.SIGINT):  # Ctrl+C is for the reader, which then stops its workers
            for process in processes:
                process.start()
        views = [ring.slots(recipe) for ring in rings]
        for count in itertools.count():
            ring, turn = rings[count % workers], count // workers
            _wait(ring.ready, processes[count % workers])
            yield views[count % workers][turn % SLOTS]
            ring.free.release()
    finally:
        begun = [process for process in processes if process.pid is not None]
        for process in begun:
            process.terminate()
        for process in begun:
            process.join()


def _wait(ready: Semaphore, process: BaseProcess) -> None:
    while not ready.acquire(timeout=LOOK_SECONDS):
        if not process.is_alive():
            raise LiifError(f"a worker that makes training pairs died (exit code {process.exitcode})")


def _work(recipe: Recipe, ring: _Ring, first: int, step: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where the system has no masks
    slots = ring.slots(recipe)
    for turn, number in enumerate(itertools.count(first, step)):
        ring.free.acquire()
        recipe.fill(number, slots[turn % SLOTS])
        ring.ready.release()
