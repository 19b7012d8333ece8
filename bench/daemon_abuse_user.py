"""What a user of `daemon_abuse.py` does to his pictures, and what he may expect of them."""

from __future__ import annotations

import hashlib
import io
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

#: Of the pictures that are put; a result in place, of scale 2, one beside it, of scale 3, and one of a result are known
#: apart by their widths. [pixels]
WIDTHS = range(25, 32)


class User:
    """What one does to pictures, and what he may expect of them.

    Args:
        base: of the watched folders, and of one that is not watched.
        dice: decides.

    Attributes:
        put: the bytes of each picture that was put, by SHA-256.
        given_up: of those that he deleted, overwrote or gave to the folder that keeps no originals.
    """

    def __init__(self, base: Path, dice: random.Random) -> None:
        self.base, self.dice = base, dice
        self.put: dict[str, bytes] = {}
        self.given_up: set[str] = set()
        self.did: list[str] = []
        self.count = 0
        self.folders = [base / name / sub for name in ("plain", "linked", "sizes", "none") for sub in ("", "sub")]
        self.folders.append(base / "elsewhere")
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)

    def act(self) -> None:
        """One thing, by chance; what goes wrong since the daemon was faster is his bad luck."""
        ways: list[tuple[int, Callable[[], None]]] = [
            (8, self.add),
            (2, self.overwrite_in_place),
            (2, self.overwrite_at_once),
            (1, self.append),
            (4, self.move),
            (1, self.move_folder),
            (2, self.copy),
            (2, self.delete),
            (1, self.hard_link),
            (1, self.replace_by_link),
            (1, self.change_mode),
        ]
        way = self.dice.choices([way for _, way in ways], [weight for weight, _ in ways])[0]
        with suppress(OSError):
            way()

    def add(self) -> None:
        """A new picture, at once or bit by bit."""
        data, path = self._data(), self._name()
        if self.dice.random() < 0.5:
            self._at_once(path, data)
        else:
            self._bit_by_bit(path, data)

    def overwrite_in_place(self) -> None:
        """As `cp` does it: the same file has other bytes."""
        self._bit_by_bit(self._some(), self._data())

    def overwrite_at_once(self) -> None:
        """As editors do it: another file takes the name."""
        self._at_once(self._some(), self._data())

    def append(self) -> None:
        """An original or a result grows at its end."""
        path = self._some()
        with path.open("ab") as file:
            before = path.read_bytes()
            file.write(b"one note more %d" % self.count)
        self.count += 1
        self._lose(before)
        self._know(path.read_bytes(), path)

    def move(self) -> None:
        """To another name or folder, over what lies there."""
        path, to = self._some(), self.dice.choice([self._name(), self._some()])
        self._log("move", path, to)
        self._lose_at(to)
        data = path.read_bytes()
        path.replace(to)
        self._lose_if_none(data, to)

    def move_folder(self) -> None:
        """A whole folder, if its new name is free."""
        subs = [one for one in self.folders if one.name == "sub" and one.parent.name != "none" and one.is_dir()]
        one = self.dice.choice(subs)
        away = one.with_name(f"was{self.count}")
        self._log("move folder", one, away)
        self.count += 1
        one.rename(away)
        time.sleep(self.dice.random() * 0.3)
        other = self.dice.choice(subs)
        away.rename(one if other.exists() else other)

    def copy(self) -> None:
        """The same bytes under a second name."""
        path, to = self._some(), self._name()
        self._log("copy", path, to)
        data = path.read_bytes()
        self._lose_at(to)
        to.write_bytes(data)
        self._lose_if_none(data, to)

    def delete(self) -> None:
        """A picture goes."""
        path = self._some()
        self._log("delete", path)
        self._lose_at(path)
        path.unlink()

    def hard_link(self) -> None:
        """A second name for the same file."""
        path, to = self._some(), self._name()
        self._log("hard link", path, to)
        data = path.read_bytes()
        os.link(path, to)
        self._lose_if_none(data, to)

    def replace_by_link(self) -> None:
        """A picture gives way to a symbolic link to another one."""
        path, other = self._some(), self._some()
        self._log("symlink", path, other)
        self._lose_at(path)
        path.unlink()
        path.symlink_to(other)

    def change_mode(self) -> None:
        """Its times and mode only."""
        path = self._some()
        path.chmod(self.dice.choice([0o600, 0o444, 0o644]))
        os.utime(path, (1.6e9 + self.count, 1.6e9 + self.count))

    def _at_once(self, path: Path, data: bytes) -> None:
        self._log("at once", path, sha(data))
        new = self.base / "elsewhere" / f"new{self.count}.part"
        new.write_bytes(data)
        self._lose_at(path)
        self._know(data, path)
        new.replace(path)

    def _bit_by_bit(self, path: Path, data: bytes) -> None:
        self._log("bit by bit", path, sha(data))
        self._lose_at(path)
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(data), 300):
                file.write(data[start : start + 300])
                time.sleep(self.dice.random() * 0.02)
        self._know(data, path)

    def _know(self, data: bytes, path: Path) -> None:
        self.put[sha(data)] = data
        self._lose_if_none(data, path)

    def _lose_at(self, path: Path) -> None:
        with suppress(OSError):
            self._lose(path.read_bytes())

    def _lose(self, data: bytes) -> None:
        self.given_up.add(sha(data))

    def _lose_if_none(self, data: bytes, path: Path) -> None:
        """Through a link too: no original of there is promised anything."""
        if self.base / "none" in (*path.parents, *Path(os.path.realpath(path)).parents):
            self._lose(data)

    def _data(self) -> bytes:
        self.count += 1
        size = self.dice.choice(WIDTHS), self.dice.choice(WIDTHS)
        pixels = np.random.default_rng(self.dice.getrandbits(60)).integers(0, 255, (size[1], size[0], 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, self.dice.choice(["JPEG", "PNG"]))
        return file.getvalue()

    def _name(self) -> Path:
        return self.dice.choice(self.folders) / f"{self.dice.randrange(40)}.{self.dice.choice(['jpg', 'png'])}"

    def _some(self) -> Path:
        found = sorted(pictures_below(self.base))
        return self.dice.choice(found) if found else self._name()

    def _log(self, *words: object) -> None:
        self.did.append(f"{time.time():.3f} " + " ".join(str(word) for word in words))


def pictures_below(base: Path) -> Iterator[Path]:
    """What has a picture's name, also links."""
    for folder, _, names in os.walk(base):
        if "/.liif" not in folder:
            yield from (Path(folder, name) for name in names if name.endswith((".jpg", ".png")) and name[0] != ".")


def sha(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
