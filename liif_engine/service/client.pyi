from collections.abc import Callable, Generator, Mapping, Sequence
from http.client import HTTPConnection, HTTPResponse
from os import PathLike
from typing import Any

API: int
ANSWER_SECONDS: int
START_SECONDS: int
GIVE_UP_SECONDS: float
IDLE_SECONDS: int
LOG_BYTES: int
FOREIGN_VARIABLES: tuple[str, ...]
FOREIGN_PREFIXES: tuple[str, ...]
START_CODE: str

_Path = str | bytes | PathLike[str]
_OnProgress = Callable[[str, float], object]

class ServiceError(Exception):
    message: str
    remedy: str
    kind: str
    exit_code: int
    status: int | None
    retryable: bool
    def __init__(
        self,
        message: str,
        remedy: str = "",
        kind: str = "ServiceError",
        exit_code: int = 10,
        status: int | None = None,
        retryable: bool = False,
    ) -> None: ...
    def explain(self) -> str: ...

class NotRunning(ServiceError):
    def __init__(self, message: str, remedy: str = "") -> None: ...

class WrongVersion(ServiceError):
    def __init__(self, message: str, remedy: str = "") -> None: ...

class Cancelled(ServiceError): ...

class Client:
    folder: str
    python: str | None
    start: bool
    name: str
    arguments: tuple[str, ...]
    def __init__(
        self,
        folder: str | None = None,
        python: str | None = None,
        start: bool = True,
        name: str | None = None,
        arguments: Sequence[str] = (),
    ) -> None: ...
    def status(self) -> dict[str, Any]: ...
    def models(self) -> list[dict[str, Any]]: ...
    def submit_pixels(self, data: bytes, shape: tuple[int, int, int], dtype: str, **options: Any) -> Job: ...
    def submit_image(self, data: bytes, **options: Any) -> Job: ...
    def submit_file(self, source: _Path, destination: _Path | None = None, **options: Any) -> Job: ...
    def restore_pixels(
        self,
        data: bytes,
        shape: tuple[int, int, int],
        dtype: str,
        on_progress: _OnProgress | None = None,
        **options: Any,
    ) -> tuple[bytes, tuple[int, int, int]]: ...
    def restore_image(self, data: bytes, on_progress: _OnProgress | None = None, **options: Any) -> bytes: ...
    def restore_file(
        self,
        source: _Path,
        destination: _Path | None = None,
        on_progress: _OnProgress | None = None,
        **options: Any,
    ) -> dict[str, Any]: ...
    def ensure_running(self) -> dict[str, Any]: ...
    def open(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse: ...

class Job:
    client: Client
    id: str
    last: dict[str, Any]
    def __init__(self, client: Client, id: str) -> None: ...
    def events(self) -> Generator[dict[str, Any]]: ...
    def wait(self, on_progress: _OnProgress | None = None) -> dict[str, Any]: ...
    def state(self) -> dict[str, Any]: ...
    def result(self) -> bytes: ...
    def cancel(self) -> dict[str, Any]: ...
    def forget(self) -> None: ...

def connect(folder: str, timeout: float = ...) -> tuple[HTTPConnection, str | None]: ...
def runtime_folder() -> str: ...
def check_folder(folder: str) -> None: ...
def make_folder(folder: str) -> None: ...
def record_interpreter(python: str, version: str) -> None: ...
def find_interpreter() -> str | None: ...
def clean_environment(environment: Mapping[str, str]) -> dict[str, str]: ...
def start_service(
    folder: str, python: str | None = None, seconds: float = ..., arguments: Sequence[str] = ()
) -> None: ...
