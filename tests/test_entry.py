"""The end of both commands: each way of going wrong has its words and its exit code, and none is a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import pytest
import typer

from liif_engine import entry
from liif_engine.errors import ExitCode, OutputError


def ends(error: BaseException | None) -> int:
    """The exit code of a command that ends so."""
    app = typer.Typer()

    @app.command()
    def command() -> None:
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as caught:
        entry.run(app)
    return int(str(caught.value.code))


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (None, ExitCode.OK, ""),
        (OutputError("is full", path="disk"), ExitCode.OUTPUT, "disk: is full. Check the folder"),
        (PermissionError(13, "Permission denied", "secret"), ExitCode.OUTPUT, "liif: secret: Permission denied. Check"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "stopped; nothing is half-written"),
        (typer.Abort(), ExitCode.INTERRUPTED, "stopped"),
        (typer.BadParameter("no"), ExitCode.USAGE, "no"),
        (ZeroDivisionError("by zero"), ExitCode.ENGINE, "unexpected ZeroDivisionError: by zero. This is a fault of"),
    ],
)
def test_every_end_has_words_and_a_code(
    error: BaseException | None,
    code: ExitCode,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["command"])
    monkeypatch.delenv("LIIF_DEBUG", raising=False)
    assert ends(error) == code
    said = capsys.readouterr().err
    assert words in " ".join(said.split())
    assert bool(words) == bool(said)
    assert "Traceback" not in said


def test_developers_see_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["command"])
    monkeypatch.setenv("LIIF_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        ends(ZeroDivisionError())


def test_help_shows_switches_without_a_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer(add_completion=False)

    @app.callback()
    def group(loud: Annotated[bool, typer.Option("--loud", help="Say more.")] = False) -> None:
        """Does things."""

    @app.command()
    def one(dry: Annotated[bool, typer.Option("--dry", help="Do nothing.")] = False, count: int = 1) -> None:
        """Does one."""

    for words, switch in ((["--help"], "--loud"), (["one", "--help"], "--dry")):
        monkeypatch.setattr("sys.argv", ["command", *words])
        with pytest.raises(SystemExit):
            entry.run(app)
        shown = capsys.readouterr().out
        [line] = [line for line in shown.splitlines() if switch in line]
        assert "<bool>" not in line
    assert "<int>" in shown


@pytest.mark.parametrize(
    ("words", "said"), [(["run", ""], "an argument is empty"), (["run", "a", "--out="], "the value of --out is empty")]
)
def test_an_empty_path_is_not_the_current_folder(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["command", *words])
    assert ends(ZeroDivisionError("the command was called")) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"liif: {said}. ")


def test_a_name_that_the_terminal_cannot_show_is_no_failure() -> None:
    code = """
import typer
from liif_engine import entry
app = typer.Typer()
@app.command()
def command() -> None:
    print("\\u65e5.jpg")
entry.run(app)
"""
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, b"\\u65e5.jpg\n", b"")


@pytest.mark.parametrize("module", ["liif_engine.begin", "liif_engine"])
def test_little_is_loaded_before_ctrl_c_has_its_words(module: str) -> None:
    code = f"import sys; before = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"pathlib", "typing", "dataclasses", "inspect"} & set(done.stdout.split())


@pytest.mark.parametrize(("module", "name"), [("liif_engine", "liif"), ("liif_daemon", "liif-daemon")])
def test_ctrl_c_has_its_words_while_the_command_is_loaded(module: str, name: str) -> None:
    code = f"""
import runpy, sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "{module}.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
runpy.run_module("{module}", run_name="__main__", alter_sys=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, f"{name}: stopped; nothing is half-written\n")
