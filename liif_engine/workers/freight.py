"""What travels to a worker on another machine and back: bytes in place of names of files and of shared memory.

So a worker there never touches the user's files: this side reads the picture, and writes the result.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from liif_engine.errors import Cancelled, InputError, LiifError
from liif_engine.picture import tiles
from liif_engine.picture.atomic import mode_like, write_atomically
from liif_engine.picture.image_file import Limits
from liif_engine.plan import Plan, check_destination, plan
from liif_engine.workers.pixel_work import DTYPES
from liif_engine.workers.segment import SHARED_FOLDER, Segment
from liif_engine.workers.work import Answer, FileWork, PixelWork, TileWork, Work

#: How often a folder is removed in which work at the same moment may make a new file.
LEFT_TRIES = 5

#: What travels: a file's bytes, or those of pixels.
Load = bytes | NDArray[np.uint8]


@dataclass(frozen=True)
class Freight:
    """Work and its bytes on the way there.

    Attributes:
        work: whose names of files and segments mean nothing there.
        data: the file's bytes; for pixels an array of bytes; empty where nothing is worked on.
        back: how many bytes of pixels come back.
    """

    work: Work
    data: Load = b""
    back: int = 0


class Parcel:
    """One piece of work as seen from here: packed, then unpacked when its result is back.

    Args:
        work: whose files and segments are on this machine.

    Attributes:
        is_wanted: whether a result may still get its name.

    Raises:
        LiifError: the file cannot be read, or its result's name is taken.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.plan: Plan | None = None
        self.is_wanted = True
        self.freight = Freight(work)
        if isinstance(work, FileWork):
            self._pack_file(work)
        elif isinstance(work, PixelWork | TileWork):
            there, back = _sizes(work)
            with Segment.attach(work.source, there) as segment:
                self.freight = Freight(work, np.frombuffer(bytes(segment.view), np.uint8), back)

    def unpack(self, answer: Answer, data: Load) -> Answer:
        """Puts the result where it belongs, and returns the answer with the names of this machine.

        Raises:
            LiifError: the result cannot be written, or is not wanted any more.
        """
        if isinstance(self.work, PixelWork | TileWork):
            with Segment.attach(self.work.result, len(data)) as segment:
                segment.view[:] = _view(data)
        if isinstance(self.work, FileWork) and self.plan is not None:
            # It was decoded again where it was made.
            how = {"overwrite": self.work.overwrite, "resume": self.work.resume}
            with write_atomically(self.plan.destination, **how, mode=mode_like(self.plan.source)) as temporary:
                temporary.write_bytes(_view(data))
                if not self.is_wanted:  # it hung; others may have been given the work meanwhile
                    raise Cancelled("stopped")
            answer = replace(answer, destination=str(self.plan.destination))
        return answer

    def name(self, error: LiifError) -> LiifError:
        """An error from there, naming the file of here."""
        if isinstance(self.work, FileWork) and error.path is not None:
            error.path = Path(self.work.source)
        return error

    def _pack_file(self, work: FileWork) -> None:
        source = Path(work.source)
        limits = Limits() if work.max_pixels is None else Limits(max_pixels=work.max_pixels)
        out = None if work.destination is None else Path(work.destination)
        self.plan = plan(source, work.target, out=out, format=work.format, limits=limits)
        try:
            check_destination(self.plan, may_exist=work.overwrite or work.resume)
            data = source.read_bytes()
        except LiifError as error:
            raise error.at(source) from error.__cause__
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", path=source) from error
        self.freight = Freight(replace(work, format=self.plan.format), data)


@contextmanager
def unpacked(freight: Freight, prefix: str) -> Iterator[tuple[Work, Callable[[], Load]]]:
    """At the other end: the work with names of that machine, and what gives the bytes to send back.

    Args:
        freight: as it came.
        prefix: of the names of the folder for files and of shared memory, so that `remove_left` finds them.
    """
    work = freight.work
    if isinstance(work, FileWork):
        with tempfile.TemporaryDirectory(prefix=prefix) as folder:
            # Without suffixes: what a picture is, its first bytes say.
            source, destination = Path(folder) / "picture", Path(folder) / "result"
            source.write_bytes(_view(freight.data))
            names = {"source": str(source), "destination": str(destination)}
            yield replace(work, **names, overwrite=True), destination.read_bytes  # type: ignore[arg-type]
    elif isinstance(work, PixelWork | TileWork):
        there, back = len(freight.data), freight.back
        with Segment.create(there, prefix=prefix) as source_, Segment.create(back, prefix=prefix) as result:
            source_.view[:] = _view(freight.data)
            yield (
                replace(work, source=source_.name, result=result.name),
                lambda: np.frombuffer(bytes(result.view), np.uint8),
            )
    else:
        yield work, bytes


def remove_left(prefix: str) -> None:
    """Removes the folders and shared memory of `unpacked` whose names begin so, also amid work, which fails then.

    Ray ends with a worker also the process that Python has tidy up after it.

    Args:
        prefix: of one worker and its predecessors alone.
    """
    for _ in range(LEFT_TRIES):
        left = [one for folder in (Path(tempfile.gettempdir()), SHARED_FOLDER) for one in folder.glob(f"{prefix}*")]
        for path in left:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if not left:
            return


def _view(data: Load) -> memoryview:
    """Bytes of either kind, as they lie."""
    return memoryview(data) if isinstance(data, bytes) else data.data


def _sizes(work: PixelWork | TileWork) -> tuple[int, int]:
    """Bytes of the pixels there and of those back."""
    item = np.dtype(DTYPES[work.dtype]).itemsize
    if isinstance(work, PixelWork):
        height, width, channels = work.shape
        return height * width * channels * item, work.size[0] * work.size[1] * channels * item
    tile = tiles.tile(work.grid, work.core)
    return tile.window.area * work.channels * item, tile.output.area * work.channels * item
