"""Every error a user can meet: what happened, to which file, what to do about it, and the exit code it ends with."""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

#: Unicode's control characters, lone surrogates (bytes of a name that are no text), and line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Characters that show what follows in another order, so that `exe.jpg` may end in anything.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: How the system's loader says that memory, or the address space of this process, has no room for a library.
_NO_ROOM_FOR_CODE = "failed to map segment"


class ExitCode(IntEnum):
    """Exit codes of the commands. Several different failures in one run end with ``SEVERAL``."""

    OK = 0
    SEVERAL = 1
    USAGE = 2
    INPUT = 3
    UNSUPPORTED = 4
    OUTPUT = 5
    MODEL = 6
    MEMORY = 7
    DEVICE = 8
    CONFIG = 9
    ENGINE = 10
    INTERRUPTED = 130


#: What failed, in a summary's words; by exit code.
CAUSES = {
    ExitCode.USAGE: "asked for what cannot be",
    ExitCode.INPUT: "unreadable picture",
    ExitCode.UNSUPPORTED: "not supported",
    ExitCode.OUTPUT: "cannot be written",
    ExitCode.MODEL: "model",
    ExitCode.MEMORY: "memory",
    ExitCode.DEVICE: "device",
    ExitCode.CONFIG: "configuration",
    ExitCode.ENGINE: "engine",
}


def printable(text: str | Path) -> str:
    """A text for people, a name above all: what would break the line, reorder it or steer a terminal is escaped."""
    return "".join(
        character.encode("unicode_escape").decode() if _misleads(character) else character for character in str(text)
    )


def _misleads(character: str) -> bool:
    return character in _REORDERING or unicodedata.category(character) in _UNPRINTABLE


class LiifError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what happened, as a sentence without a final period; made `printable`, since it may quote what a
            file holds or a library says.
        path: the file it happened to, if there is one.
        remedy: what the user can do; the class's own ``remedy`` when not given.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.ENGINE
    remedy: str = ""

    def __init__(self, message: str, *, path: str | Path | None = None, remedy: str | None = None) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        self.path = None if path is None else Path(path)
        if remedy is not None:
            self.remedy = printable(remedy)

    def __str__(self) -> str:
        where = "" if self.path is None else f"{printable(self.path)}: "
        return f"{where}{self.message}"

    def at(self, path: str | Path) -> LiifError:
        """The same error, naming `path` if it names no file yet."""
        if self.path is None:
            self.path = Path(path)
        return self

    def explain(self) -> str:
        """One line for people: what happened and, if known, what to do."""
        return f"{self}. {self.remedy}" if self.remedy else str(self)


class UsageError(LiifError):
    """The command or the call asks for something that makes no sense."""

    exit_code = ExitCode.USAGE


class LargerAlreadyError(UsageError):
    """The picture is larger than what it was to become."""

    remedy = "Ask for a larger size; this restores pictures, it does not reduce them."


class InputError(LiifError):
    """The input cannot be read as a picture: missing, not a picture, damaged, or lying about itself."""

    exit_code = ExitCode.INPUT
    remedy = "Check that the file opens in a picture viewer, or fetch it again."


class TruncatedError(InputError):
    """The picture's data ends early."""

    remedy = "Fetch the file again, or use --allow-truncated to restore what is there."


class UnsupportedError(LiifError):
    """The picture is fine, but restoring it would lose something; nothing is dropped in silence."""

    exit_code = ExitCode.UNSUPPORTED
    remedy = "Convert it to an 8-bit RGB PNG or JPEG first."


class TooLargeError(LiifError):
    """The picture, or the result asked for, is larger than a limit: a format's, the memory's, or the set one."""

    exit_code = ExitCode.MEMORY
    remedy = "Ask for a smaller scale, or raise the limit if you trust the file."


class OutputError(LiifError):
    """The result cannot be written: it exists, no permission, disk full, wrong kind of file."""

    exit_code = ExitCode.OUTPUT
    remedy = "Check the folder's permissions and free space."


class OutputExistsError(OutputError):
    """Something already has the result's name."""

    remedy = "Use --overwrite to replace it, or --out to choose another name."


class ModelError(LiifError):
    """There is no such model, or the checkpoint cannot be used."""

    exit_code = ExitCode.MODEL
    remedy = "Run `liif models` for the names that exist."


class UnsafeCheckpointError(ModelError):
    """The checkpoint holds something other than numbers; loading it could run code."""

    remedy = "Use a .safetensors file, or a .pth in the published LIIF format from a source you trust."


class DeviceError(LiifError):
    """The device asked for is not there or cannot do what was asked."""

    exit_code = ExitCode.DEVICE
    remedy = "Use --device auto."


class MemoryExhaustedError(LiifError):
    """The smallest tile, or the result beside it, does not fit in the memory that is free now."""

    exit_code = ExitCode.MEMORY
    remedy = "Close other programs, or use --device cpu."


class NonFiniteError(LiifError):
    """The network gave infinities or not-a-numbers, even in fp32."""

    exit_code = ExitCode.ENGINE
    remedy = "The checkpoint may be damaged; try --model published."


class ConfigError(LiifError):
    """config.yaml holds something unknown or out of range."""

    exit_code = ExitCode.CONFIG
    remedy = "Correct the line named, or delete it to use the default."


class WorkerError(LiifError):
    """The process that did the work crashed, hung or could not start; the next job gets a new one."""

    remedy = "Try it again; if it happens twice, try a smaller picture or --device cpu."


class TimeLimitError(LiifError):
    """The work took longer than the limit set for it."""

    remedy = "Ask for a smaller result, or raise the limit."


class BusyError(LiifError):
    """The service has as many jobs as it takes."""

    remedy = "Try again when some of them are done."


class ServiceError(LiifError):
    """The service cannot be started, reached or used."""

    remedy = "See engine.log beside the service's socket, or run `liif serve` to see its words."


class AccessError(ServiceError):
    """The caller may not use this service: another user, a web page, or a wrong token."""

    remedy = "Use the service of your own user, through its socket or with the token beside it."


class Cancelled(LiifError):  # noqa: N818 - not a failure: what the user asked for
    """The user stopped the work; nothing was written."""

    exit_code = ExitCode.INTERRUPTED


def scarcity(error: BaseException) -> LiifError | None:
    """In words, what the system has no more of; None if the error means something else."""
    text = str(error)
    remedy = "Close other programs, or raise the limit that is set for this one (ulimit -v)."
    if isinstance(error, MemoryError):
        return MemoryExhaustedError("memory ran out", remedy=remedy)
    if isinstance(error, ImportError) and _NO_ROOM_FOR_CODE in text:
        return MemoryExhaustedError("there is not enough memory to load the engine", remedy=remedy)
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        remedy = "Raise the limit that is set: ulimit -u or -v, docker run --pids-limit, or systemd's TasksMax."
        return LiifError("the system gives this program no more threads", remedy=remedy)
    return None


def fault(error: Exception) -> LiifError:
    """An error that nobody foresaw, in words; one file's fault must not end the others."""
    if (found := scarcity(error)) is not None:
        return found
    remedy = "This is a fault of liif-restore: please report it, with what LIIF_DEBUG=1 prints."
    return LiifError(f"unexpected {type(error).__name__}: {error}", remedy=remedy)


def combined_exit_code(failures: list[LiifError]) -> ExitCode:
    """The exit code of a run: OK, the one kind of failure there was, or SEVERAL."""
    codes = {failure.exit_code for failure in failures}
    if not codes:
        return ExitCode.OK
    if ExitCode.INTERRUPTED in codes:
        return ExitCode.INTERRUPTED
    return codes.pop() if len(codes) == 1 else ExitCode.SEVERAL
