"""A user who does everything to his pictures while the daemon works, is killed and meets a bad disk: is anything lost?

``python bench/daemon_abuse.py --minutes 5 --seed 1``: a real `liif-daemon run` with a real `liif serve` and a tiny
random network, four watched folders. One thread puts, moves, edits, links and deletes pictures, another one asks for
undo, retry, prune and what the review page's buttons do; the daemon is killed now and then, and every other one of its
lives has system calls that fail by chance. What the user put under a name, and neither deleted, overwrote nor gave to
the folder that keeps no originals, must be found at the end: in a folder, in the store, and by undo in its place. A
failure prints the seed; timing is no part of it, so a second run may need several minutes to show it again.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from daemon_abuse_user import WIDTHS, User, pictures_below, sha
from PIL import Image

#: How many of the calls that `faulty_daemon` watches fail.
SHARE = 1 / 150

FOLDERS = """
folders:
  - {{path: {0}/plain, settle_seconds: 0.1, scale: 2}}
  - {{path: {0}/linked, settle_seconds: 0, scale: 2, hard_links: replace}}
  - {{path: {0}/sizes, settle_seconds: 0.1, scales: [2, 3]}}
  - {{path: {0}/none, settle_seconds: 0.1, scale: 2, keep_originals: none}}
daemon: {{retry_seconds: 0.2, scan_seconds: 3, low_priority: false}}
engine: {{model: {1}, device: cpu}}
"""


class Asker(threading.Thread):
    """Undo, retry, prune and the review page's buttons, one after the other, in a thread of its own."""

    def __init__(self, user: User, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self.user, self.base, self.dice, self.over = user, user.base, dice, threading.Event()
        self.bad: list[str] = []
        self.did: list[str] = []

    def run(self) -> None:
        """Until it is over."""
        while not self.over.wait(self.dice.random() * 1.5):
            found = sorted(pictures_below(self.base))
            path = self.dice.choice(found) if found else self.base / "plain"
            folder = self.base / self.dice.choice(["plain", "linked", "sizes"])
            ways: list[list[object]] = [["undo", path], ["undo", "--force", path], ["undo", folder], ["undo"], ["keep"]]
            ways += [["retry", path], ["retry", "--failed"], ["prune"], ["prune", "--reviewed"], ["why", path]]
            words = self.dice.choice([*ways, ["status", "--json"]])
            self.did.append(f"{time.time():.3f} {words}")
            if words in (["undo"], ["keep"]):
                self.click(words[0])
            else:
                self.ask(words)

    def ask(self, words: list[object]) -> str:
        """A command; what it prints."""
        command = [sys.executable, "-m", "liif_daemon", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        said = done.stdout + done.stderr
        if "Traceback" in said or "unexpected" in said or done.returncode < 0:
            self.bad.append(f"{words}: {done.returncode} {said[-1500:]}")
        return said

    def click(self, name: object) -> None:
        """A button of the review page, for some picture."""
        from liif_daemon import places
        from liif_daemon.commands.options import settings_from
        from liif_daemon.ledger.review import ReviewLedger
        from liif_daemon.review.actions import Actions
        from liif_daemon.store import Store

        from liif_engine.errors import LiifError

        settings = settings_from(None)
        with suppress(LiifError):  # a ledger that is busy
            ledger = ReviewLedger(places.ledger_path(settings))
            try:
                jobs = ledger.jobs(state="done")
                actions = Actions(ledger, Store(settings.daemon.originals_folder, ledger.originals.owner()))
                if jobs:
                    job = self.dice.choice(jobs)
                    if name == "keep":  # `prune --reviewed` may let its original go
                        self.user.given_up.add(job.source_sha256)
                    actions.do(str(name), [job], force=self.dice.random() < 0.3)
            finally:
                ledger.close()


def faulty_daemon(seed: int) -> None:
    """`liif-daemon run`, some of whose calls of the system fail."""
    from liif_daemon import cli

    dice = random.Random(seed)
    errors = [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EROFS, errno.ESTALE]

    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **named: Any) -> Any:
            if dice.random() < SHARE:
                number = dice.choice(errors)
                raise OSError(number, os.strerror(number), *[one for one in arguments[:1] if isinstance(one, str)])
            return call(*arguments, **named)

        return instead

    for name in ("rename", "replace", "link", "unlink", "rmdir", "mkdir", "fsync", "open", "scandir", "utime", "chmod"):
        setattr(os, name, failing(getattr(os, name)))
    sys.argv = ["liif-daemon", "run"]
    cli.main()


def contents(*folders: Path) -> dict[str, Path]:
    """Every regular file's SHA-256."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found[sha(path.read_bytes())] = path
    return found


def original_of(path: Path) -> str | None:
    """Of what a picture is a result in place, where it says so."""
    from liif_engine.picture import image_file

    with suppress(Exception), Image.open(path) as picture:
        if picture.size[0] <= 2 * WIDTHS[-1] and (marker := image_file.read_marker(path)):
            return marker.source_sha256
    return None


def judge(user: User, asker: Asker, state: Path) -> list[str]:
    """What is wrong at the end."""
    wrong, store = list(asker.bad), state / "liif-restore" / "originals"
    for path in pictures_below(user.base):
        with suppress(OSError), Image.open(path) as picture:
            if picture.size[0] > 3 * WIDTHS[-1]:
                wrong.append(f"{path}: restored twice, {picture.size}")
    wrong += [f"{path}: left behind" for path in [*user.base.rglob(".liif-*"), *store.rglob(".liif-*")]]
    wrong += [f"{path}: not what its name says" for path in store.glob("??/*") if sha(path.read_bytes()) != path.name]
    here = contents(user.base, store)
    kept = user.put.keys() - user.given_up
    wrong += [f"{digest}: lost" for digest in kept - here.keys()]
    folders = [user.base / name for name in ("plain", "linked", "sizes")]
    wanted = {}
    for path in pictures_below(user.base):
        if path.is_symlink() or not set(folders) & set(path.parents) or sha(path.read_bytes()) in user.put:
            continue
        if (original := original_of(path)) in kept:
            wanted[original] = path
    said = asker.ask(["undo", "--yes", *folders])
    if copies := wanted.keys() - contents(user.base).keys():  # they come back where they are named
        said += asker.ask(["undo", *(wanted[one] for one in copies)])
    after = contents(user.base)
    for digest in wanted.keys() - after.keys():
        wrong.append(f"{digest}: does not come back by undo at {wanted[digest]}: {said[-500:]}")
    print(f"{len(user.put)} put, {len(user.given_up)} given up, {len(wanted)} results, {len(copies)} of them copies")
    once = asker.ask(["run", "--once"])
    if (again := contents(user.base)).keys() != after.keys():
        wrong.append(f"restored after undo: {[again[one] for one in again.keys() - after.keys()]} {once[-500:]}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-second", type=float, default=12, help="things that the user does")
    parser.add_argument("--faulty", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.faulty is not None:
        faulty_daemon(arguments.faulty)
        return
    base = Path(tempfile.mkdtemp(prefix="liif-abuse-"))
    (base / "run").mkdir(mode=0o700)
    given = {"LIIF_RUNTIME_DIR": "run", "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config"}
    os.environ |= {name: str(base / folder) for name, folder in given.items()}
    from daemon_soak import tiny_model  # loads torch, which the daemons that this file starts need not

    (base / "config/liif-restore").mkdir(parents=True)
    (base / "config/liif-restore/config.yaml").write_text(FOLDERS.format(base / "pictures", tiny_model(base)))
    wrong = abuse(base, arguments.minutes * 60, arguments.seed, arguments.per_second)
    print(f"seed {arguments.seed}: " + (f"{len(wrong)} wrong, kept in {base}" if wrong else "all is there"))
    print("\n".join(wrong[:40]))
    sys.exit(bool(wrong))


def abuse(base: Path, seconds: float, seed: int, per_second: float) -> list[str]:
    """Plays for so long, puts all in order, and judges."""
    user = User(base / "pictures", random.Random(seed))
    asker = Asker(user, random.Random(seed + 1))
    log = (base / "daemon.log").open("ab")
    engine = subprocess.Popen([sys.executable, "-m", "liif_engine", "serve", "--device", "cpu"], stderr=log)
    try:
        asker.start()
        lives = live(user, seconds, seed, per_second, log)
        asker.over.set()
        asker.join(120)
        for words in (["run", "--once"], ["retry", "--failed"], ["run", "--once"]):
            asker.ask([*words])
        wrong = judge(user, asker, base / "state")
    finally:
        engine.terminate()
        engine.wait(30)
        (base / "did.txt").write_text("\n".join(sorted([*user.did, *asker.did])))
    said = (base / "daemon.log").read_text(errors="replace")
    if "Traceback" in said:
        wrong.append("a traceback in daemon.log: " + said[said.index("Traceback") :][:1500])
    print(f"{len(user.did)} things done, {len(asker.did)} asked for, {lives} lives of the daemon")
    return wrong


def live(user: User, seconds: float, seed: int, per_second: float, log: BinaryIO) -> int:
    """Has the user act while a daemon after the other lives and dies; how many."""
    daemon, dies, lives, ends = None, 0.0, 0, time.monotonic() + seconds
    try:
        while time.monotonic() < ends:
            if daemon is None or daemon.poll() is not None:
                lives += 1
                words = [__file__, "--faulty", str(seed + lives)] if lives % 2 else ["-m", "liif_daemon", "run"]
                daemon = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)
                dies = time.monotonic() + user.dice.uniform(2, 14)
            user.act()
            if time.monotonic() > dies:
                daemon.kill()
                daemon.wait()
            time.sleep(user.dice.expovariate(per_second))
    finally:
        if daemon is not None:
            daemon.kill()
            daemon.wait()
    return lives


if __name__ == "__main__":
    main()
