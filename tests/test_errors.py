"""Errors: words, remedies, exit codes."""

from __future__ import annotations

import inspect
import pickle

import pytest

from liif_engine import errors
from liif_engine.errors import (
    Cancelled,
    ExitCode,
    InputError,
    LiifError,
    OutputError,
    combined_exit_code,
    fault,
    printable,
)
from liif_engine.workers.failures import in_words

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LiifError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_names_its_file_and_its_remedy(kind: type[LiifError]) -> None:
    error = kind("it broke").at("a.jpg")
    assert str(error) == "a.jpg: it broke"
    assert error.at("b.jpg").path == error.path, "the first file named is the one it happened to"
    assert error.explain().startswith("a.jpg: it broke")
    assert error.exit_code in ExitCode


def test_every_kind_of_failure_has_its_exit_code() -> None:
    assert combined_exit_code([]) == ExitCode.OK
    assert combined_exit_code([InputError("x"), InputError("y")]) == ExitCode.INPUT
    assert combined_exit_code([InputError("x"), OutputError("y")]) == ExitCode.SEVERAL
    assert combined_exit_code([InputError("x"), Cancelled("y")]) == ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb\x1b[31m.jpg", "a\\nb\\x1b[31m.jpg"),
        ("photo\u202egpj.exe", "photo\\u202egpj.exe"),
        ("zürich 東京 \N{FAMILY}\u200d.jpg", "zürich 東京 \N{FAMILY}\u200d.jpg"),
    ],
)
def test_a_name_is_shown_so_that_it_misleads_nobody(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_a_message_may_quote_what_a_file_holds_and_a_library_says() -> None:
    """Such as the type of a HEIC file's item, or YAML's words, which are two lines."""
    error = InputError("carries \x1b[2J\nand more", remedy="Call \u202eit off.")
    assert error.explain() == str(error) + ". Call \\u202eit off."
    assert str(error) == error.message == "carries \\x1b[2J\\nand more"
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.explain(), copied.message) == (error.explain(), error.message)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), ExitCode.MEMORY, "memory ran out. Close other programs"),
        (ImportError("libtorch.so: failed to map segment from shared object"), ExitCode.MEMORY, "not enough memory to"),
        (RuntimeError("can't start new thread"), ExitCode.ENGINE, "no more threads. Raise the limit"),
    ],
)
def test_what_the_system_has_no_more_of_is_no_fault_of_ours(error: Exception, code: ExitCode, words: str) -> None:
    assert fault(error).exit_code == in_words(error).exit_code == code
    assert words in fault(error).explain()
    for found in (fault(error), in_words(error)):
        assert "report it" not in found.explain()
        assert "Install" not in found.explain()
