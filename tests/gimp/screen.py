"""A GIMP with a screen that nobody looks at, driven by keys and the mouse."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import chroot
from .conftest import RealGimp, until

SIZE = 1280, 900

# -r: no key repeats itself, however late a loaded machine lets go of it.
START = f"""
Xvfb -displayfd 3 -screen 0 {SIZE[0]}x{SIZE[1]}x24 -r 3>"$LIIF_TEST_FOLDER/display" 2>/dev/null &
until [ -s "$LIIF_TEST_FOLDER/display" ]; do sleep 0.1; done
export DISPLAY=":$(cat "$LIIF_TEST_FOLDER/display")"
exec gimp --new-instance -s "$@"
"""

SETTINGS = "(show-welcome-dialog no)\n(check-updates no)\n(theme-color-scheme light)\n"


class Screen:
    """One screen with GIMP on it.

    Args:
        home: as for `RealGimp`.
        folder: the chroot.
        shots: where screenshots go.
    """

    def __init__(self, home: Path, folder: Path, shots: Path) -> None:
        self.home, self.folder, self.shots = home, folder, shots
        (home / "profile").mkdir(exist_ok=True)
        (home / "profile" / "gimprc").write_text(SETTINGS)
        self.gimp = RealGimp(home, folder, ["sh", "-c", START, "sh"])

    def key(self, *keys: str) -> None:
        """Presses keys, one after the other."""
        self._run("xdotool", "key", "--delay", "150", *keys)

    def click(self, x: int, y: int) -> None:
        """Presses the mouse there."""
        self._run("xdotool", "mousemove", str(x), str(y), "sleep", "0.3", "click", "1")

    def drag(self, x: int, y: int, to_x: int, to_y: int) -> None:
        """Moves the mouse from there with its button held."""
        self._run("xdotool", "mousemove", str(x), str(y), "mousedown", "1")
        self._run("xdotool", "mousemove", str(to_x), str(to_y), "mouseup", "1")

    def windows(self, title: str) -> list[str]:
        """Ids of the windows whose title holds this."""
        return self._run("xdotool", "search", "--onlyvisible", "--name", title).split()

    def focus(self, title: str) -> str:
        """Waits for a window and gives it the keyboard."""
        number: str = until(lambda: self.windows(title))[0]
        self._run("xdotool", "windowraise", number, "windowfocus", number, "sleep", "0.5")
        return number

    def dismiss(self, title: str) -> None:
        """Closes a window if it is there."""
        while self.windows(title):
            self.focus(title)
            self.key("Escape")

    def fill(self, title: str, size: tuple[int, int] = SIZE) -> None:
        """Makes a window as large as the screen, or as given; there is no window manager to do it."""
        number = self.focus(title)
        self._run("xdotool", "windowmove", number, "0", "0", "windowsize", "--sync", number, *map(str, size))

    def place(self, title: str) -> tuple[int, int, int, int]:
        """(x, y, width, height) of a window."""
        words = self._run("xdotool", "getwindowgeometry", "--shell", self.windows(title)[0]).split()
        values = dict(word.split("=") for word in words)
        return int(values["X"]), int(values["Y"]), int(values["WIDTH"]), int(values["HEIGHT"])

    def shot(self, name: str, title: str | None = None) -> Path:
        """A screenshot of the screen, or of one window."""
        inside = self.home / f"{name}.png"
        window = "root" if title is None else self.windows(title)[0]
        self._run("import", "-window", window, str(inside))
        target = self.shots / inside.name
        target.write_bytes(inside.read_bytes())
        return target

    def end(self) -> None:
        """Ends GIMP and the screen."""
        self.gimp.end()

    def _run(self, *arguments: str) -> str:
        environment = {"DISPLAY": ":" + (self.home / "display").read_text().strip(), "HOME": str(self.home)}
        command = chroot.command(self.folder, self.home, list(arguments), environment)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        return done.stdout
