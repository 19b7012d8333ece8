"""What a job holds on to from the request until the result is fetched: shared memory, a scratch folder, or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from liif_engine.errors import LiifError, UsageError
from liif_engine.service.request import FileRequest, ImageRequest, PixelRequest, path_of, sendable
from liif_engine.workers import Answer, FileWork, PixelWork, Segment, Work

#: Results are sent in pieces of this size. [bytes]
PIECE_BYTES = 1 << 18

#: What an error calls a picture that came in a request's body.
SENT = Path("the picture")


class PixelPayload:
    """Raw pixels in shared memory, and room for the result from the moment that work begins.

    Args:
        asked: the request.

    Attributes:
        source: to be reserved before `receive`.
        grows: whether more is held when the work is done than when it was taken on.

    Raises:
        MemoryExhaustedError: there is no room for the picture.
    """

    media_type, grows = "application/octet-stream", False

    def __init__(self, asked: PixelRequest) -> None:
        self.asked = asked
        self.source = Segment.create(asked.source_bytes, reserved=False)
        self.result: Segment | None = None
        self.received = 0

    def receive(self, piece: bytes) -> None:
        """Takes the next part of the body.

        Raises:
            UsageError: it is longer than the shape says.
        """
        end = self.received + len(piece)
        if end > self.source.size:
            raise UsageError(f"the body is longer than the {self.source.size} bytes that shape and dtype ask for")
        self.source.view[self.received : end] = piece
        self.received = end

    def complete(self) -> None:
        """The body has ended.

        Raises:
            UsageError: it is shorter than the shape says.
        """
        if self.received != self.source.size:
            raise UsageError(f"the body has {self.received} bytes; shape and dtype ask for {self.source.size}")

    def prepare(self) -> Callable[[], None] | None:
        """What is to be called before `work`, in another thread since it takes a while; None if nothing is.

        Raises:
            MemoryExhaustedError: there is no room for the result; what is returned may raise it too.
        """
        if self.result is not None:
            return None
        self.result = Segment.create(self.asked.result_bytes, reserved=False)
        return self.result.reserve

    def work(self) -> Work:
        """The work to be done."""
        asked = self.asked
        assert self.result is not None  # it was prepared
        names = self.source.name, self.result.name
        return PixelWork(
            *names, asked.shape, asked.dtype, asked.result_size, asked.layout, asked.model, asked.precision
        )

    def describe(self, answer: Answer) -> dict[str, Any]:
        """The result's format."""
        return {"shape": [answer.height, answer.width, self.asked.shape[2]], "dtype": self.asked.dtype}

    def in_callers_words(self, error: LiifError) -> LiifError:
        """The error as it is: it names nothing that the caller did not name."""
        return error

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The result's bytes."""
        assert self.result is not None  # the job is done
        for start in range(0, self.result.size, PIECE_BYTES):
            yield self.result.view[start : start + PIECE_BYTES]

    def result_bytes(self) -> int:
        """Length of the result."""
        return self.asked.result_bytes

    def let_source_go(self) -> int:
        """The work is done: only the result is still of use; how many bytes that holds."""
        self.source.close()
        return self.asked.result_bytes

    def close(self) -> None:
        """Gives everything back."""
        self.source.close()
        if self.result is not None:
            self.result.close()


class ImagePayload:
    """An encoded picture in a scratch folder, where its result will lie too.

    Args:
        asked: the request.
        scratch: the folder of the service's scratch folders.
        max_pixels: larger pictures are refused.

    Attributes:
        grows: as of `PixelPayload`; how long an encoded result is, nobody knows before.

    Raises:
        OSError: there is no room for the picture, or too many files are open; nothing is left behind.
    """

    media_type, grows = "application/octet-stream", True

    def __init__(self, asked: ImageRequest, scratch: Path, max_pixels: int) -> None:
        self.asked, self.max_pixels = asked, max_pixels
        self.folder = Path(tempfile.mkdtemp(dir=scratch))
        # Without suffixes: what a picture is, its first bytes say; the result's format is then the same.
        self.source, self.destination = self.folder / "picture", self.folder / "result"
        try:
            self._file = self.source.open("wb")
        except OSError:
            self.folder.rmdir()
            raise

    def receive(self, piece: bytes) -> None:
        """Takes the next part of the body."""
        self._file.write(piece)

    def complete(self) -> None:
        """The body has ended."""
        self._file.close()

    def prepare(self) -> None:
        """Nothing is to be done before `work`."""

    def work(self) -> Work:
        """The work to be done."""
        work = _file_work(self.asked, str(self.source), str(self.destination), self.max_pixels)
        return replace(work, overwrite=True)

    def describe(self, answer: Answer) -> dict[str, Any]:
        """The result's format."""
        return {"format": answer.format, "notes": list(answer.notes)}

    def in_callers_words(self, error: LiifError) -> LiifError:
        """The error without the name of a file that the caller never saw, and that has gone by then."""
        if error.path == self.source:
            error.path = SENT
        return error

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The result's bytes."""
        with self.destination.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def result_bytes(self) -> int:
        """Length of the result."""
        return self.destination.stat().st_size

    def let_source_go(self) -> int:
        """The work is done: only the result is still of use; how many bytes that holds."""
        # The job is done all the same where somebody cleans the scratch folder.
        with suppress(OSError):
            self.source.unlink(missing_ok=True)
            return self.result_bytes()
        return 0

    def close(self) -> None:
        """Removes the files."""
        # A full disk fails it again with what it could not take before.
        with suppress(OSError):
            self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class FilePayload:
    """Paths; the files are the caller's own.

    Args:
        asked: the request.
        max_pixels: larger pictures are refused.

    Attributes:
        grows: as of `PixelPayload`.
    """

    media_type, grows = None, False

    def __init__(self, asked: FileRequest, max_pixels: int) -> None:
        self.asked, self.max_pixels = asked, max_pixels

    def prepare(self) -> None:
        """Nothing is to be done before `work`."""

    def work(self) -> Work:
        """The work to be done."""
        asked = self.asked
        destination = None if asked.destination is None else path_of(asked.destination)
        work = _file_work(asked, path_of(asked.source), destination, self.max_pixels)
        return replace(work, overwrite=asked.overwrite)

    def describe(self, answer: Answer) -> dict[str, Any]:
        """Where the result is."""
        return {
            "destination": None if answer.destination is None else sendable(answer.destination),
            "format": answer.format,
            "source_sha256": answer.source_sha256,
            "notes": list(answer.notes),
        }

    def in_callers_words(self, error: LiifError) -> LiifError:
        """The error as it is: it names nothing that the caller did not name."""
        return error

    def let_source_go(self) -> int:
        """Nothing is held."""
        return 0

    def close(self) -> None:
        """Nothing is held."""


def _file_work(asked: ImageRequest | FileRequest, source: str, destination: str | None, max_pixels: int) -> FileWork:
    return FileWork(
        source,
        destination,
        asked.target,
        format=asked.format,
        quality=asked.quality,
        allow_truncated=asked.allow_truncated,
        max_pixels=max_pixels,
        model=asked.model,
        precision=asked.precision,
    )


Payload = PixelPayload | ImagePayload | FilePayload
