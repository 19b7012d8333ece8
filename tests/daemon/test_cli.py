"""The command as a person meets it: processes of their own, a real engine, plain words, exit codes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .test_kills import checkpoint, service
from .workshop import draw, sha, size_of, wait_until

__all__ = ["checkpoint", "service"]  # fixtures


class Shell:
    """Runs `liif-daemon` with state, settings and engine of its own."""

    def __init__(self, base: Path, runtime: str, model: Path) -> None:
        self.base, self.model = base, model
        self.folder = base / "pictures"
        self.folder.mkdir()
        self.env = {
            **os.environ,
            "LIIF_RUNTIME_DIR": runtime,
            "XDG_STATE_HOME": str(base),
            "XDG_CONFIG_HOME": str(base),
        }
        self.running: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: object, code: int = 0) -> str:
        """Runs to the end; what was said on both streams."""
        command = [sys.executable, "-m", "liif_daemon", *map(str, arguments)]
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL
        )
        self.printed, said = done.stdout, done.stdout + done.stderr
        assert "Traceback" not in said, said
        assert done.returncode == code, said
        return said

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "liif_daemon", "run", *map(str, arguments)]
        log = (self.base / "said.txt").open("a")
        self.running.append(subprocess.Popen(command, env=self.env, stdout=log, stderr=log, text=True))
        log.close()
        return self.running[-1]

    def status(self) -> dict[str, Any]:
        self("status", "--json")
        found: dict[str, Any] = json.loads(self.printed)
        return found

    def state(self) -> Path:
        return self.base / "liif-restore"


@pytest.fixture
def shell(tmp_path: Path, service: str, checkpoint: Path) -> Iterator[Shell]:
    one = Shell(tmp_path, service, checkpoint)
    yield one
    for process in one.running:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.timeout(300)
def test_the_readme_s_line_restores_what_is_there_and_what_is_dropped(shell: Shell) -> None:
    data = draw(shell.folder / "there.jpg", 1)
    process = shell.start(shell.folder, "--scale", 2, "--model", shell.model)
    wait_until(lambda: size_of(shell.folder / "there.jpg") == (40, 32))
    draw(shell.folder / "dropped.png", 2)
    wait_until(lambda: size_of(shell.folder / "dropped.png") == (40, 32))
    wait_until(lambda: shell.status()["jobs"]["done"] == 2)
    status = shell.status()
    assert status["running"]
    assert f"watching {shell.folder}" in (shell.state() / "daemon.log").read_text("utf-8")
    assert status["folders"][0]["how"] == "events"
    assert set(status["jobs"]) == {"queued", "claimed", "done", "failed", "skipped", "undone"}
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert time.monotonic() - started < 20
    assert not shell.status()["running"]
    assert "restored from 20x16 to 40x32" in shell("why", shell.folder / "there.jpg")
    assert "original is back" in shell("undo", shell.folder / "there.jpg")
    assert (shell.folder / "there.jpg").read_bytes() == data
    assert "undone" in shell("why", shell.folder / "there.jpg")
    assert "1 queued" in shell("retry", shell.folder / "there.jpg")
    assert "1 restored" in shell("run", "--once", shell.folder / "there.jpg", "--model", shell.model)
    assert "nothing of ours" in shell("undo", shell.folder / "nothing.jpg", code=2)
    assert "original is back" in shell("undo", "--since", "1 hour")
    assert "2 originals" in shell("prune", "--older-than", "0 days", "--dry-run")
    assert "run it again with --yes" in shell("prune", "--older-than", "0 days", code=2)
    assert "2 originals" in shell("prune", "--older-than", "0 days", "--yes")
    assert "0 originals" in shell("prune", "--older-than", "0 days")


def test_once_restores_a_single_file_in_place_and_nothing_else(shell: Shell) -> None:
    draw(shell.folder / "a [1].jpg", 1)
    other = draw(shell.folder / "b.jpg", 2)
    said = shell("run", "--once", shell.folder / "a [1].jpg", "--scale", 1.5, "--model", shell.model)
    assert "1 restored, 0 left as they are, 0 failed, 0 waiting" in said
    assert size_of(shell.folder / "a [1].jpg") == (30, 24)
    assert (shell.folder / "b.jpg").read_bytes() == other


def test_undo_works_with_a_wrong_folder_in_the_settings(shell: Shell) -> None:
    data = draw(shell.folder / "a.jpg", 1)
    config = shell.base / "slip.yaml"
    words = f"engine:\n  model: {shell.model}\nfolders:\n  - path: {shell.folder}\n    scale: "
    config.write_text(f"{words}2\n", "utf-8")
    shell("run", "--once", "--config", config)
    config.write_text(f"{words}two\n", "utf-8")
    said = shell("undo", shell.folder, "--config", config)
    assert "line 5" in said
    assert "original is back" in said
    assert (shell.folder / "a.jpg").read_bytes() == data


def test_once_ends_with_an_exit_code_that_tells_of_failures(shell: Shell) -> None:
    draw(shell.folder / "a.jpg", 1)
    (shell.folder / "bad.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    said = shell("run", "--once", shell.folder, "--model", shell.model, code=1)
    assert "1 restored" in said
    assert "bad.jpg" in shell("status")


def test_once_says_each_failure_once_and_the_log_keeps_it(shell: Shell) -> None:
    bad, log = shell.folder / "bad.jpg", shell.state() / "daemon.log"
    bad.write_bytes(b"\xff\xd8\xff not a picture")
    said = shell("run", "--once", shell.folder, "--model", shell.model, code=1)
    (line,) = (line for line in said.splitlines() if "bad.jpg" in line)
    assert line.startswith(f"liif: {bad}: the JPEG data ends")
    assert line.endswith("Fetch the file again.")
    assert f"WARNING {bad}: failed: the JPEG data ends" in log.read_text("utf-8")
    bad.write_bytes(b"\xff\xd8\xff not a picture either")
    said = shell("run", "--once", "--log-json", shell.folder, "--model", shell.model, code=1)
    rows = [json.loads(line) for line in said.removeprefix(shell.printed).splitlines()]
    assert "1 failed" in shell.printed
    assert len([row for row in rows if row["message"].startswith(f"{bad}: failed: the JPEG data ends")]) == 1


def test_a_large_first_run_asks_and_is_agreed_to_once(shell: Shell) -> None:
    config = shell.base / "small.yaml"
    config.write_text(
        f"daemon: {{ask_above: 3}}\nengine: {{model: {shell.model}}}\nfolders:\n  - path: {shell.folder}\n", "utf-8"
    )
    originals = {n: draw(shell.folder / f"{n}.jpg", n) for n in range(5)}
    said = shell("run", "--once", "--config", config, code=2)
    assert "5 pictures" in said
    assert "--yes" in said
    assert "megapixels/s" in said
    assert "are free there" in said
    assert "\\n" not in said, "a line's end that was escaped as if it were a name's"
    assert all((shell.folder / f"{n}.jpg").read_bytes() == data for n, data in originals.items())
    assert "5 to be restored" in shell("scan", "--dry-run", "--config", config)
    assert "5 restored" in shell("run", "--once", "--yes", "--config", config)
    for n in range(6, 11):
        draw(shell.folder / f"{n}.jpg", n)
    assert "5 restored" in shell("run", "--once", "--config", config)


@pytest.mark.timeout(300)
def test_settings_that_change_are_used_or_the_old_ones_kept(shell: Shell) -> None:
    second = shell.base / "second"
    second.mkdir()
    config = shell.state() / "config.yaml"
    config.parent.mkdir()
    text = f"engine: {{model: {shell.model}}}\nfolders:\n  - path: {shell.folder}\n"
    config.write_text(text, "utf-8")
    process = shell.start()
    wait_until(lambda: shell.status()["running"])
    config.write_text(text + "    scael: 3\n", "utf-8")
    wait_until(lambda: "scael" in (shell.status()["config_error"] or ""))
    draw(shell.folder / "a.jpg", 1)
    wait_until(lambda: size_of(shell.folder / "a.jpg") == (40, 32))
    config.write_text(text + f"    scale: 3\n  - path: {second}\n", "utf-8")
    wait_until(lambda: len(shell.status()["folders"]) == 2)
    assert shell.status()["config_error"] is None
    draw(shell.folder / "b.jpg", 2)
    draw(second / "c.jpg", 3)
    wait_until(lambda: size_of(shell.folder / "b.jpg") == (60, 48) and size_of(second / "c.jpg") == (40, 32))
    process.send_signal(signal.SIGHUP)
    draw(second / "d.jpg", 4)
    wait_until(lambda: size_of(second / "d.jpg") == (40, 32))
    assert "another liif-daemon" in shell("run", code=10)
    process.terminate()
    assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run"], 2, "no folder to watch"),
        (["run", "/nowhere/at/all"], 2, "no such file or folder"),
        (["run", "/dev/null"], 2, "is neither a file nor a folder"),
        (["run", "--scale", "2"], 2, "need a FOLDER"),
        (["run", "/tmp", "--scale", "0.5"], 2, "greater than or equal to 1"),
        (["run", "/tmp", "--size", "3"], 2, "size"),
        (["run", "/tmp", "--long-edge", "0"], 2, "greater than or equal to 1"),
        (["run", "/tmp", "--megapixels", "nan"], 2, "megapixels"),
        (["run", "/tmp", "--keep-originals", "soon"], 2, "30 days"),
        (["run", "/tmp", "--scale", "2", "--long-edge", "9"], 2, "give one of"),
        (["run", "--config", "/nowhere.yaml"], 9, "No such file"),
        (["undo"], 2, "say what to undo"),
        (["undo", "--since", "yesterday"], 2, "write a time"),
        (["retry"], 2, "say what to try again"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_mistakes_are_answered_in_words(shell: Shell, arguments: list[str], code: int, words: str) -> None:
    assert words in " ".join(shell(*arguments, code=code).split())


def test_systemd_hears_when_it_is_ready_and_when_it_ends(shell: Shell) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        address = f"\0liif-test-{os.getpid()}"
        ear.bind(address)
        ear.settimeout(60)
        shell.env["NOTIFY_SOCKET"] = f"@{address[1:]}"
        process = shell.start(shell.folder)
        assert ear.recv(100) == b"READY=1"
        process.terminate()
        assert process.wait(30) == 0
        heard = set()
        while b"STOPPING=1" not in heard:
            heard.add(ear.recv(100))


def test_the_daemon_never_loads_torch() -> None:
    names = "cli, liif_daemon.run, liif_daemon.check, liif_daemon.scan, liif_daemon.why, liif_engine.picture.damage"
    code = f"import sys, liif_daemon.{names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.timeout(300)
def test_real_daemons_killed_at_any_moment_lose_nothing(shell: Shell) -> None:
    """What the steps of test_kills.py may have forgotten: SIGKILL after a random time, of the command as installed."""
    dice, kills, originals = random.Random(0), 0, {}
    for round_ in range(12):
        for n in range(4):
            path = shell.folder / f"{round_}-{n}.jpg"
            originals[path] = draw(path, 100 * round_ + n)
        process = shell.start(shell.folder, "--model", shell.model)
        daemon_file = shell.state() / "daemon.json"
        wait_until(daemon_file.exists)
        time.sleep(dice.uniform(0, 0.6))  # the moment of the kill, not a wait for anything
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        daemon_file.unlink(missing_ok=True)
        for path, data in originals.items():
            whole = path.read_bytes() == data or size_of(path) == (40, 32)
            kept = shell.state() / "originals" / sha(data)[:2] / sha(data)
            assert whole, path
            assert path.read_bytes() == data or kept.read_bytes() == data
    said = shell("run", "--once", shell.folder, "--model", shell.model)
    assert "0 failed, 0 waiting" in said
    assert shell.status()["jobs"] == {"queued": 0, "claimed": 0, "done": 48, "failed": 0, "skipped": 0, "undone": 0}
    assert all(size_of(path) == (40, 32) for path in originals)
    assert list(shell.folder.glob(".liif*")) == []
    assert kills == 12
    print(f"\n{kills} daemons killed -9 at random moments, 48 pictures: 0 lost, 0 done twice")
