"""The end of both commands: each way of going wrong has its words and its exit code, and none is a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
import typer
from liif_daemon import cli as daemon_cli

from liif_engine import cli, entry
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
        (
            FileNotFoundError(2, "No usable temporary directory found in []"),
            ExitCode.OUTPUT,
            "Set TMPDIR to",
        ),
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


def test_what_is_said_after_an_interrupted_question_begins_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        entry.confirm("Sure?")

    monkeypatch.setattr("sys.argv", ["command"])
    monkeypatch.setattr("sys.stdin", io.StringIO())  # at its end, as after Ctrl+D
    with pytest.raises(SystemExit) as caught:
        entry.run(app)
    assert caught.value.code == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "Sure? [y/N]:\nliif: stopped; nothing is half-written\n"


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

    both = ((["--help"], "--loud"), (["one", "--help"], "--dry"))
    for words, switch in (*both, *((words, "--help") for words, _ in both)):
        monkeypatch.setattr("sys.argv", ["command", *words])
        with pytest.raises(SystemExit):
            entry.run(app)
        shown = capsys.readouterr().out
        [line] = [line for line in shown.splitlines() if switch in line]
        assert "<bool>" not in line
    assert "<int>" in shown


def commands(app: typer.Typer) -> Iterator[list[str]]:
    """The words of each command, of groups too."""
    yield []
    for one in app.registered_commands:
        assert one.name or one.callback
        yield [one.name or one.callback.__name__.replace("_", "-")]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from ([str(group.name), *words] for words in commands(group.typer_instance))


@pytest.mark.parametrize("app", [cli.app, daemon_cli.app], ids=["liif", "liif-daemon"])
@pytest.mark.parametrize("columns", [52, 74, 80])
def test_no_help_is_cut_off_on_a_terminal(
    app: typer.Typer, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = list(commands(app))
    assert len(found) > 5
    for words in found:
        monkeypatch.setattr("sys.argv", ["command", *words, "--help"])
        with pytest.raises(SystemExit) as caught:
            entry.run(app)
        shown = capsys.readouterr().out
        assert (caught.value.code, "…" in shown) == (0, False), shown
        assert all(word in shown.splitlines()[0] + shown.splitlines()[1] for word in words), shown
        assert max(map(len, shown.splitlines())) <= columns


@pytest.mark.parametrize(
    ("words", "said"), [(["run", ""], "an argument is empty"), (["run", "a", "--out="], "the value of --out is empty")]
)
def test_an_empty_path_is_not_the_current_folder(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["command", *words])
    assert ends(ZeroDivisionError("the command was called")) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"liif: {said}. ")


@pytest.mark.parametrize(
    "words", [["--out=~/new"], ["--out", "~/new"], ["--out=here/~"], ["--out=~mine"], ["--out=~/is"]]
)
def test_the_home_folder_is_known_where_shells_leave_its_sign(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~" / "is").mkdir(parents=True)
    app, found = typer.Typer(), []

    @app.command()
    def command(out: Annotated[Path, typer.Option()]) -> None:
        found.append(out)

    monkeypatch.setattr("sys.argv", ["command", *words])
    with pytest.raises(SystemExit):
        entry.run(app)
    asked = Path(words[-1].removeprefix("--out="))
    assert found == [tmp_path / "home" / "new" if asked.name == "new" else asked]


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


#: Does three things, one of which fails, and prints a summary for programs.
WORKS = """
import sys, typer
from liif_engine import entry, terminal
from liif_engine.errors import InputError
app = typer.Typer()
@app.command()
def command(results: str) -> None:
    with open(results, "w") as done:
        for number in range(3):
            if number == 1:
                terminal.show_error(InputError("is empty", path="b.jpg"))
            terminal.tell(f"{number} done")
            print("all", number + 1, file=sys.stderr)
            done.write(f"{number}")
    print("a summary" * 2000)
entry.run(app)
"""


def works(tmp_path: Path, redirections: str) -> tuple[int, str, str]:
    """A command that a shell starts so: its exit code, what it said and what it did."""
    results = tmp_path / "results"
    line = f'"$0" -c "$1" "$2" {redirections}'
    shell = ["bash", "-o", "pipefail", "-c", line, sys.executable, WORKS, str(results)]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stdout + done.stderr, results.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    ("redirections", "code"),
    [
        ("2>/dev/full", ExitCode.OK),
        ("2>&1 | true", ExitCode.OK),
        (">/dev/full 2>/dev/full", ExitCode.OK),
        ("<&- >&- 2>&-", ExitCode.OK),
        (">&-", ExitCode.OK),
    ],
)
def test_the_work_goes_on_when_nobody_can_be_told(tmp_path: Path, redirections: str, code: ExitCode) -> None:
    ended, _, did = works(tmp_path, redirections)
    assert (ended, did) == (code, "012")


#: Ways in which a command writes; each ends otherwise where nobody reads.
WRITES = """
import os, sys, typer
from liif_engine import entry
app = typer.Typer(add_completion=False, rich_markup_mode=os.environ["MARKUP"] or None)
@app.command()
def command(lines: int = 0) -> None:
    "Does things."
    for number in range(lines):
        print("line", number)
entry.run(app)
"""


@pytest.mark.parametrize("words", ["--help", "--lines=1", "--lines=9999"])
@pytest.mark.parametrize("markup", ["", "rich"])
def test_what_nobody_reads_is_no_failure(words: str, markup: str) -> None:
    shell = ["bash", "-o", "pipefail", "-c", '"$0" -c "$1" "$2" | true', sys.executable, WRITES, words]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, env={**os.environ, "MARKUP": markup})
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, "", "")


def test_a_pipe_that_breaks_elsewhere_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["command"])
    assert ends(BrokenPipeError(32, "Broken pipe")) == ExitCode.OUTPUT
    assert capsys.readouterr().err.startswith("liif: Broken pipe.")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_stdout_is_named_once(tmp_path: Path) -> None:
    code, said, did = works(tmp_path, ">/dev/full")
    [line] = [line for line in said.splitlines() if "standard output" in line]
    assert line.startswith("liif: standard output: cannot be written to (No space left on device). The work goes on")
    assert (code, did) == (ExitCode.OK, "012")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", ["all", "all" * 5000])
def test_output_for_programs_that_cannot_be_written_is_a_failure(words: str) -> None:
    code = f"""
import typer
from liif_engine import entry
app = typer.Typer()
@app.command()
def command() -> None:
    print("{words}")
entry.run(app)
"""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == ExitCode.OUTPUT
    assert done.stderr.startswith("liif: standard output: No space left on device.")
    assert done.stderr.count("\n") == 1


def test_numpy_is_loaded_with_one_thread() -> None:
    code = """
import os, sys, typer
from liif_engine import entry
app = typer.Typer()
@app.command()
def command() -> None:
    assert "numpy" not in sys.modules
    print(os.environ["OPENBLAS_NUM_THREADS"])
entry.run(app)
"""
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, "1\n", "")


def test_a_closed_stream_s_number_goes_to_no_file(tmp_path: Path) -> None:
    code = """
import os, sys, typer
from liif_engine import entry
app = typer.Typer()
@app.command()
def command(path: str) -> None:
    assert not sys.stdin.isatty()
    with open(path, "w") as file:
        assert file.fileno() > 2
entry.run(app)
"""
    shell = ["bash", "-c", '"$0" -c "$1" "$2" <&- >&- 2>&-', sys.executable, code, str(tmp_path / "file")]
    assert subprocess.run(shell, timeout=60).returncode == ExitCode.OK
