"""Runs daemons that are killed: each is a fork of this process, killed by SIGKILL when it passes a step.

``python zygote.py PLAN``: PLAN is JSON with base (the workshop's folder), runtime (of `liif serve`; none for an engine
that copies pixels), model, first (seed), folder (settings), and rounds: a list of [file names to draw, step to die at,
which passing of it], and maybe jobs_at_once and max_attempts. A step of null runs to the end. With poison, [name,
where], every one dies of that file too. After each death the invariant is checked on the disk and a line of JSON
printed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from liif_daemon import steps, work
from liif_daemon.dispatch import Daemon
from liif_daemon.engine import ServiceEngine
from liif_daemon.settings import Settings

from liif_engine.picture import image_file
from tests.daemon.workshop import Copying, Workshop, draw, sha


def main() -> None:
    plan = json.loads(sys.argv[1])
    workshop = Workshop(Path(plan["base"]))
    workshop.daemon_values["jobs_at_once"] = plan.get("jobs_at_once", 1)
    workshop.daemon_values["max_attempts"] = plan.get("max_attempts", 4)
    workshop.model = plan.get("model", "web")
    originals: dict[str, str] = {}
    for number, (names, step, passing) in enumerate(plan["rounds"]):
        for name in names:
            seed = plan["first"] + 1000 * number + len(originals)
            originals[name] = sha(draw(workshop.folder / name, seed))
        child = os.fork()
        if child == 0:
            _live(workshop, plan, step, passing)
        status = os.waitpid(child, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        lost = [name for name, digest in originals.items() if not _is_safe(workshop, name, digest)]
        print(json.dumps({"step": step, "killed": killed, "status": status, "lost": lost}), flush=True)


def _live(workshop: Workshop, plan: dict[str, Any], step: str | None, passing: int) -> None:
    """The child: a daemon that runs until all is done, or until its step."""
    try:
        if step is not None:
            steps.on_step = _killer(step, passing)
        if plan.get("runtime"):
            workshop.engine = ServiceEngine(plan["runtime"])
        else:
            workshop.engine = Copying()
        if plan.get("poison"):
            _poison(workshop, *plan["poison"])
        ledger = workshop.ledger()
        settings: Settings = workshop.settings(**plan.get("folder", {}))
        daemon = Daemon(settings, ledger, workshop.engine, once=True)
        daemon.start()
        deadline = time.monotonic() + 90
        while daemon.tick() and time.monotonic() < deadline:
            time.sleep(0.01)
        daemon.stop()
        ledger.close()
        os._exit(0 if time.monotonic() < deadline else 3)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(4)


def _poison(workshop: Workshop, name: str, where: str) -> None:
    """Has this process die of a file: when the engine gets it, when it is looked at, or when its result is."""

    def die_of(path: Path) -> None:
        if path.name == name:
            os.kill(os.getpid(), signal.SIGKILL)

    if where == "engine":
        workshop.engine = Copying(before=lambda order: die_of(order.source))
    elif where == "look":
        probe = image_file.probe
        image_file.probe = lambda path, **rest: (die_of(path), probe(path, **rest))[1]
    else:
        verify = work.verify
        work.verify = lambda job, *arguments, **rest: (die_of(job.path), verify(job, *arguments, **rest))[1]


def _killer(step: str, passing: int) -> Callable[[str], None]:
    """Kills this process, with nothing to say about it, when it passes a step for the n-th time."""
    lock, passed = threading.Lock(), 0

    def on_step(name: str) -> None:
        nonlocal passed
        with lock:
            passed += name == step
            if name == step and passed == passing:
                os.kill(os.getpid(), signal.SIGKILL)

    return on_step


def _is_safe(workshop: Workshop, name: str, digest: str) -> bool:
    """Promise 1 and 2: the path holds the complete original, or a complete result whose original is in the store."""
    path = workshop.folder / name
    if sha(path) == digest:
        return True
    picture = image_file.read(path)
    return (picture.width, picture.height) == (40, 32) and workshop.store.holds(digest)


if __name__ == "__main__":
    main()
