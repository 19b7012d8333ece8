"""Other daemons of this machine, with ledgers of their own, that watch the same folders.

Each daemon holds a socket of Linux's abstract kind for each folder that it watches, whose name tells the process and
which folder it is; anybody can read all such names. Nothing is connected to, nothing lies on a disk, and the system
takes the names back from whoever ends, however that may be. A lock on the folder would be held by a file that is open,
and a share or a stick with an open file cannot be unmounted.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from liif_daemon.settings import FolderSettings

#: Before the names of our sockets, after the zero byte that makes them abstract.
PREFIX = "liif-daemon-folder/"

#: Lists the names of all sockets of this machine, or container.
_ALL = Path("/proc/self/net/unix")

#: The longest name that a socket can have, without the zero byte. [bytes]
_LONGEST = 107

#: What stands for a folder in a name. Two of a thousand million share one, which costs a warning. [characters]
_PLACE = 5

#: Tells this process's names from others', whose number may be the same in another container.
_PROCESS, _NUMBERS = secrets.token_hex(4), itertools.count()


class _Said(NamedTuple):
    """A socket's name, read: which process watches which folder, with its subfolders if it `is_deep`.

    `places` begin with the folder; those around it follow, as many as the name has room for.
    """

    process: int
    token: str
    is_deep: bool
    places: list[str]


class Claim:
    """That this daemon watches a folder; other daemons find it, until `end`.

    Where the system has no such sockets, or refuses, nobody finds anything, and the work goes on all the same.

    Args:
        folder: that is there.
    """

    def __init__(self, folder: FolderSettings) -> None:
        self._folder, self._places = folder, list(_places(folder.path))
        self._socket: socket.socket | None = None
        if self._places and sys.platform.startswith("linux"):
            with suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.bind(f"\0{self._name()}")

    def others(self, own: int | None = None) -> list[int]:
        """The processes that watch this folder too, or one around it or below it, if those are looked at.

        Args:
            own: the process of the daemon that has this one's ledger, if it is another one.
        """
        found = {said.process for said in _names() if self._places and self._concerns(said)}
        return sorted(found - {own})

    def _concerns(self, said: _Said) -> bool:
        here, there = self._places[0], said.places[0]
        is_around, is_below = said.is_deep and there in self._places, self._folder.recursive and here in said.places
        return not said.token.startswith(_PROCESS) and (here == there or is_around or is_below)

    def warning(self, own: int | None = None) -> str:
        """What it means to a person that others watch it too; empty if none does. As `others`."""
        others = self.others(own)
        if not others:
            return ""
        processes = ", ".join(map(str, others))
        who = f"another liif-daemon (process {processes}) with a ledger of its own watches"
        if len(others) > 1:
            who = f"other liif-daemons (processes {processes}) with ledgers of their own watch"
        return (
            f"{who} this folder too, or one around or below it: what is undone here is restored again there, and BMP"
            " files are enlarged in turn, again and again. End one of them, or take the folder out of its settings"
        )

    def end(self) -> None:
        """Nobody finds it any more."""
        if self._socket is not None:
            self._socket.close()

    def _name(self) -> str:
        name = f"{PREFIX}{os.getpid()}/{_PROCESS}.{next(_NUMBERS)}/{int(self._folder.recursive)}/"
        room = (_LONGEST - len(name)) // _PLACE
        return name + "".join(self._places[:room])


def _places(path: Path) -> Iterator[str]:
    """What stands for a folder, and for each of those around it: made of device and inode, whatever they are called."""
    with suppress(OSError):
        real = Path(os.path.realpath(path))
        for place in (real, *real.parents):
            said = place.stat()
            digest = hashlib.sha256(f"{said.st_dev}:{said.st_ino}".encode("ascii")).digest()
            yield base64.urlsafe_b64encode(digest).decode("ascii")[:_PLACE]


def _names() -> Iterator[_Said]:
    """What all daemons say that can be seen from here."""
    with suppress(OSError):
        for line in _ALL.read_text("utf-8", "replace").splitlines():
            _, found, text = line.partition(f" @{PREFIX}")
            parts = text.split("/")
            if found and len(parts) == 4 and parts[0].isdecimal() and len(parts[3]) >= _PLACE:  # else somebody else's
                places = [parts[3][at : at + _PLACE] for at in range(0, len(parts[3]), _PLACE)]
                yield _Said(int(parts[0]), parts[1], parts[2] == "1", places)
