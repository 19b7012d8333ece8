"""Where both commands begin and end: one place turns errors into words and exit codes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer

from liif_engine import streams, threads
from liif_engine.errors import Cancelled, ExitCode, LiifError, OutputError, UsageError, fault

#: Below so many columns, help in frames is cut off.
FRAMED = 76


def run(app: typer.Typer) -> NoReturn:
    """Runs a command and ends the process with its exit code; what goes wrong is said in one line on stderr."""
    streams.mend()
    threads.alone()
    code = _code_of(app)
    if code == ExitCode.INTERRUPTED:  # typer turns Ctrl+C into this code too
        show(Cancelled("stopped; nothing is half-written"))
    sys.exit(int(code))


def confirm(question: str) -> bool:
    """Asks who sits at the terminal, on stderr.

    Raises:
        typer.Abort: Ctrl+C, or the end of the input, was the answer.
    """
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        print(file=sys.stderr)  # what is said next begins below the question
        raise


def show(error: LiifError) -> None:
    """One line on stderr."""
    from liif_engine.terminal import show_error

    show_error(error)


def _refuse_empty(words: list[str]) -> None:
    """A path that is empty would be the current folder, which the daemon would then restore in place.

    Raises:
        UsageError: a word is empty, or an option's value is.
    """
    for word in words:
        if not word or (word.startswith("--") and word.endswith("=")):
            which = f"the value of {word[:-1]}" if word else "an argument"
            raise UsageError(f"{which} is empty", remedy="Is a variable of the shell unset?")


def _at_home(word: str) -> str:
    """Shells put the home folder in place of a ``~`` only at a word's beginning: with ``--out=~/new``, a folder of that
    name would be made."""
    option, equals, path = word.partition("=") if word.startswith("--") else ("", "", word)
    is_home = Path(path).parts[:1] == ("~",) and not os.path.lexists(path)
    return option + equals + os.path.expanduser(path) if is_home else word  # noqa: PTH111 - Path's raises if there is none


def _command_of(app: typer.Typer) -> Any:
    """The command that typer makes, whose help shows switches without a value: they take none.

    On a narrow terminal a command's help has no frames, which would leave no room for the names of its options.
    """
    command: Any = typer.main.get_command(app)
    is_narrow = shutil.get_terminal_size().columns < FRAMED
    waiting: list[tuple[Any, typer.Context | None]] = [(command, None)]
    while waiting:
        one, above = waiting.pop()
        context = typer.Context(one, parent=above, **one.context_settings)
        below = [(each, context) for each in getattr(one, "commands", {}).values()]
        waiting += below
        for parameter in one.get_params(context):
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
        if is_narrow and not below:
            one.rich_markup_mode = None
    return command


def _in_words(error: OSError) -> OutputError:
    words = error.strerror or str(error)
    if words.startswith("No usable temporary directory"):  # so `tempfile` says
        words = "there is no folder for temporary files that can be written to"
        return OutputError(words, remedy="Set TMPDIR to a folder that is yours.")
    return OutputError(words, path=error.filename)


def _code_of_system(error: OSError) -> int:
    if error.filename == streams.STDOUT:
        from liif_engine.terminal import leave_stdout

        leave_stdout()  # else Python tries once more at its end
        if isinstance(error, BrokenPipeError):  # who reads no more, as `head`, has what it wanted
            return ExitCode.OK
    show(_in_words(error))
    return ExitCode.OUTPUT


def _code_of(app: typer.Typer) -> int:
    try:
        _refuse_empty(sys.argv[1:])
        sys.argv[1:] = map(_at_home, sys.argv[1:])
        code = _command_of(app)(standalone_mode=False) or ExitCode.OK
        sys.stdout.flush()
        return code
    except LiifError as error:
        show(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except OSError as error:
        return _code_of_system(error)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer and rich make this of it, and say nothing
            return _code_of_system(end.__context__)
        raise
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # typer's own classes are not public
            error.show()
            return ExitCode.USAGE
        if "LIIF_DEBUG" in os.environ:
            raise
        found = fault(error)
        show(found)
        return found.exit_code
