"""What GIMP's plug-in costs besides the engine's own work: a 12-megapixel layer there and back, cancel, a backlog.

    python -m bench.gimp_handover [--backlog]

Runs in the real GIMP of the tests (tests/gimp/chroot.py), with a stand-in for the network that copies pixels; the
backlog is measured with the real network. Prints a table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from tests.gimp import chroot
from tests.gimp.conftest import RealGimp, until
from tests.service.conftest import FAULTY, Service

#: Patience, since the machine may be busy while it is measured.
COPYING = {**FAULTY, "patience_seconds": 60}

#: Runs the plug-in's own code in GIMP, with a clock in the place where it reports progress, and around the calls that
#: GIMP takes long for. Answers: all seconds, the engine's, the longest without progress, those from the end of progress
#: to the end of all, those of GIMP's own calls in them, and the image's size.
CODE = """
sys.path.insert(0, path("profile/plug-ins/liif_restore"))
import gimp3, client, order, restore_image
Gegl.init(None)
image = new_image({width}, {height})
layer = add_layer(image, data=open(path("in"), "rb").read(), format="R'G'B' u8")
work, times = [], []
wait = client.Job.wait
def timed(job, *rest):
    last = wait(job, *rest)
    work.append(last["result"]["work_seconds"])
    return last
client.Job.wait = timed
class Watched(gimp3.Progress):
    def __call__(self, words, share):
        times.append((time.monotonic(), words))
        super().__call__(words, share)
    def end(self):
        times.append((time.monotonic(), "end"))
        super().end()
calls = []
def clocked(kind, name):
    call = getattr(kind, name)
    def run(*rest):
        begun = time.monotonic()
        try:
            return call(*rest)
        finally:
            calls.append((time.monotonic() - begun, name))
    setattr(kind, name, run)
    return kind, name, call
kept = [clocked(Gimp.Image, "scale"), clocked(Gimp.Layer, "resize"), clocked(Gimp.Layer, "merge_shadow")]
started = time.monotonic()
restore_image.restore(image, [layer], order.Order(scale={scale}, model="copy"), Watched("bench", image))
ended = time.monotonic()
client.Job.wait = wait
for kind, name, call in kept:
    setattr(kind, name, call)
marks = [(started, "")] + times
gaps = sorted(((b[0] - a[0], a[1] + " > " + b[1]) for a, b in zip(marks, marks[1:])), reverse=True)
last = ended - max(when for when, words in times if words == "end")
answer = [ended - started, sum(work), gaps[:3], last, sum(row[0] for row in calls), size(image)]
"""


@contextmanager
def gimp_and_engine(workers: dict[str, object]) -> Iterator[tuple[RealGimp, Service]]:
    """A GIMP, and the engine that it finds."""
    home = Path(tempfile.mkdtemp(prefix="liif-bench-"))
    (home / "run").mkdir(mode=0o700)
    engine = Service(str(home / "run"), {"workers": workers})
    gimp = RealGimp(home, chroot.make(), ["gimp-console", "-n", "-i"])
    try:
        yield gimp, engine
    finally:
        gimp.end()
        engine.kill()
        shutil.rmtree(home, ignore_errors=True)


def handover(runs: int = 5) -> None:
    """12 megapixels to the engine and back, at scale 1 and 2."""
    with gimp_and_engine(COPYING) as (gimp, _):
        source = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
        (gimp.home / "in").write_bytes(source.tobytes())
        for scale in (1, 2):
            rows = [gimp.do(CODE.format(width=4000, height=3000, scale=float(scale))) for _ in range(runs)]
            besides = sorted(total - work for total, work, *_ in rows)
            print(f"12 MP at scale {scale}: besides the engine {besides[0]:.2f} to {besides[-1]:.2f} s, median", end="")
            print(f" {besides[runs // 2]:.2f} s; size {rows[0][5]}")
            last = [(total, calls) for _, _, _, total, calls, *_ in rows]
            print("    from the end of progress to the end of all, and of that GIMP's own calls: ", end="")
            print(", ".join(f"{total:.2f} ({calls:.2f}) s" for total, calls in last))
            for seconds, where in rows[0][2]:
                print(f"    longest without progress: {seconds:.3f} s ({where})")


def cancel(runs: int = 3) -> None:
    """From the end of the plug-in, as Cancel brings it, to an idle engine."""
    with gimp_and_engine(COPYING) as (gimp, engine):
        for _ in range(runs):
            code = 'image = new_image(64, 64); add_layer(image); answer = call(image, model="slow:60")["status"]'
            thread = threading.Thread(target=lambda code=code: gimp.do(code))  # type: ignore[misc]
            thread.start()
            until(lambda: engine.client.status()["queue"]["running"])
            time.sleep(1)
            started = time.monotonic()
            for number in gimp.plug_ins():
                os.kill(number, signal.SIGKILL)
            until(lambda: not engine.client.status()["queue"]["running"])
            print(f"cancel: engine idle after {time.monotonic() - started:.2f} s")
            thread.join()


def backlog(files: int = 20) -> None:
    """How long a person's job waits while a folder of large files is being restored."""
    with gimp_and_engine({"device": "cpu", "model": "web"}) as (gimp, engine):
        rows = np.linspace(0, 255, 2000).astype(np.uint8)
        picture = np.broadcast_to(rows[:, None, None], (2000, 3000, 3))
        jobs = []
        for number in range(files):
            source = gimp.home / f"{number}.jpg"
            Image.fromarray(np.ascontiguousarray(picture)).save(source, quality=60)
            jobs.append(engine.client.submit_file(source, scale=2, priority="backlog", detach=True))
        until(lambda: engine.client.status()["queue"]["running"])
        source = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
        (gimp.home / "in").write_bytes(source.tobytes())
        started = time.monotonic()
        found: list[float] = []
        done = engine.client.status()["queue"]["done"]

        def person() -> None:
            code = CODE.replace('model="copy"', 'model="web"').replace("work_seconds", "waited_seconds_")
            code = code.replace('last["result"]["waited_seconds_"]', 'last["waited_seconds"]')
            total, waited, *_ = gimp.do(code.format(width=1000, height=1000, scale=1.0), seconds=1800)
            found.extend((total, waited))

        thread = threading.Thread(target=person)
        thread.start()
        thread.join()
        waiting = engine.client.status()["queue"]["backlog"]
        total, waited = found
        print(f"1 MP from GIMP amid {files} files of 6 MP: waited {waited:.2f} s, done after {total:.1f} s;", end="")
        print(f" {waiting} files were still waiting, {time.monotonic() - started:.1f} s in all, {done} done before")
        for job in jobs:
            job.forget()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--backlog", action="store_true", help="measure the backlog too, which takes minutes")
    given = parser.parse_args()
    handover()
    cancel()
    if given.backlog:
        backlog()
