"""The originals, uncompressed, under the SHA-256 of their content; what lies there is complete and durable."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from liif_daemon import steps
from liif_daemon.ledger import Owner
from liif_daemon.ledger.originals import Originals
from liif_engine.errors import LiifError
from liif_engine.picture.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, flush_folder
from liif_engine.picture.new_folder import make

_PIECE_BYTES = 1 << 20

#: If none of so many originals lies in a folder, it is not their store.
_TELLING = 20


class Changed(LiifError):  # noqa: N818 - not a failure: the file is somebody's who is at work on it
    """The file is no longer the one that was looked at; it is left alone and looked at again."""

    remedy = "Nothing needs to be done: it is looked at again when it has settled."


class StoreAway(OSError):  # noqa: N818 - it is somewhere, and comes back
    """What lies at the store's path is not the store: nothing is kept there, let go or taken for lost.

    Args:
        folder: the store's.
        claim: the file that is missing.
    """

    def __init__(self, folder: Path, claim: Path) -> None:
        super().__init__(
            errno.ENODEV,
            "the originals that were kept there are not there: its share seems to be unmounted;"
            f" if they are gone for good, make an empty file {claim}",
            os.fspath(folder),
        )


class Store:
    """A folder of originals: ``ab/abcdef...`` holds the file whose SHA-256 is ``abcdef...``.

    Several ledgers may keep originals in one folder. Then each one's file in ``ledgers/`` says so, and none is let go:
    what one ledger no longer needs, another may have promised. By the same file a ledger knows its store again: where
    that is a share, its mount point is a folder too, and may be writable.

    Args:
        folder: made when the first original is kept, for this user only.
        owner: for whom originals are kept and let go; None for who only reads.
    """

    def __init__(self, folder: Path, owner: Owner | None = None) -> None:
        self.folder, self.owner = folder, owner
        self._is_known = owner is not None and folder in owner.stores

    def check(self) -> None:
        """Returns if this may be the store.

        Raises:
            StoreAway: its owner has kept originals at this path before, and this is another folder, or none.
        """
        if self._is_known and self.owner is not None and not self.is_claimed():
            raise StoreAway(self.folder, self._names / self.owner.identity)

    def is_claimed(self) -> bool:
        """Whether its owner's file is there."""
        return self.owner is not None and os.path.lexists(self._names / self.owner.identity)

    def claim(self) -> list[Path]:
        """Says in the folder that its owner keeps originals there; returns the other ledgers that do.

        Raises:
            StoreAway: as `check`.
            OSError: the system refuses.
        """
        self.check()
        if self.owner is not None:
            make(self.folder, 0o700)  # as a parent it would get another mode
            write_durably(self._names / self.owner.identity, os.fsencode(self.owner.ledger))
            self._is_known = True
        others = [path for path in self._names.glob("?" * 32) if self.owner is None or path.name != self.owner.identity]
        return sorted(Path(os.fsdecode(path.read_bytes())) for path in others)

    def make_ready(self, sha256: str, size: int) -> None:
        """Returns if an original can be kept, as far as can be told before any work at it.

        Raises:
            StoreAway: as `check`.
            OSError: there is no room for it, or the system refuses.
        """
        self.claim()
        usage = shutil.disk_usage(self.folder)
        if usage.total and usage.free < size and not self.path_of(sha256).exists():  # some shares do not tell
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(self.folder))

    def path_of(self, sha256: str) -> Path:
        """Where an original lies, whether it is there or not."""
        return self.folder / sha256[:2] / sha256

    def holds(self, sha256: str) -> bool:
        """Whether an original is there, complete: its bytes are read and compared with its name."""
        try:
            return hash_of(self.path_of(sha256)) == sha256
        except OSError:
            return False

    def keep(self, path: Path, sha256: str) -> int:
        """Copies a file into the store; returns its size when the copy is durable.

        Args:
            path: the file.
            sha256: what its content must be.

        Raises:
            Changed: it is something else.
            StoreAway: as `check`.
            OSError: the system refuses; nothing is left behind.
        """
        final = self.path_of(sha256)
        self.claim()
        if not self.holds(sha256):
            self._copy(path, sha256)
        # Also of one that is there: who brought it may have been killed before this. And the names above, which may be
        # new.
        for folder in (final.parent, self.folder, self.folder.parent):
            flush_folder(folder, strict=True)  # what may not be there after a power loss keeps nothing safe
        self.check()  # else the copy lies where the share was mounted until a moment ago
        return final.stat().st_size

    def _copy(self, path: Path, sha256: str) -> None:
        """Copies a file into the store; its bytes are durable then, its name is not yet."""
        final = self.path_of(sha256)
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = final.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        digest = hashlib.sha256()
        try:
            with _opened(path) as source, os.fdopen(os.open(temporary, _NEW, _MODE), "wb") as copy:
                while piece := source.read(_PIECE_BYTES):
                    digest.update(piece)
                    copy.write(piece)
                copy.flush()
                steps.reached("backup written")
                os.fsync(copy.fileno())
            if digest.hexdigest() != sha256:
                raise Changed("changed while its backup was made", path=path)
            temporary.replace(final)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def remove(self, sha256: str) -> None:
        """Lets an original go; a power loss does not bring it back, when no ledger knows it any more."""
        self.path_of(sha256).unlink(missing_ok=True)
        flush_folder(self.path_of(sha256).parent)

    def begin(self, originals: Originals) -> None:
        """To be called before anything is kept: removes what a killed copy left behind, and knows the store again.

        Args:
            originals: of the owner's ledger. Where they are, the store is, also if a version of ours kept them there
                that left no file; where none of them is, the store is not.

        Raises:
            StoreAway: as `check`.
        """
        if not self.is_claimed() and (kept := originals.latest(_TELLING)):
            self._is_known = not any(self.path_of(sha256).exists() for sha256 in kept)
        self.sweep()
        if self._is_known or self.is_claimed():
            originals.know(self.folder)
        self.check()

    def sweep(self) -> int:
        """Removes what a killed copy left behind, unless another ledger may be copying meanwhile; returns how many."""
        try:
            if not self.folder.is_dir() or self.claim():
                return 0
        except OSError:  # a share that is away: what keeps an original there says so
            return 0
        left = list(self.folder.glob(f"??/{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"))
        for path in left:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return len(left)

    def __iter__(self) -> Iterator[Path]:
        return self.folder.glob("??/" + "?" * 64)

    @property
    def _names(self) -> Path:
        """Where each ledger that keeps originals here has a file, with its path."""
        return self.folder / "ledgers"


#: Of an original: nobody writes to it. Windows would let nobody remove it either.
_MODE = 0o400 if sys.platform != "win32" else 0o600

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def write_durably(path: Path, text: bytes) -> None:
    """Makes a small file durable, unless it is there; takes the place of a symbolic link of its name.

    Raises:
        OSError: the system refuses.
    """
    if path.is_symlink():
        path.unlink()
    with suppress(FileNotFoundError):
        if path.read_bytes() == text:
            return
    make(path.parent, 0o700)
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    flush_folder(path.parent)


def hash_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> BufferedReader:
    """A file to read. A pipe that has taken a picture's name meanwhile is empty, and makes nobody wait for a writer."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags), "rb")
