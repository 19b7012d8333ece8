"""How people are told how far it is: GIMP's progress bar."""

from __future__ import annotations

from gi.repository import Gimp, GLib

#: GIMP draws no faster. [s]
PROGRESS_SECONDS = 0.05


class Progress:
    """GIMP's progress bar with Cancel, from its first call on: words and a share, no more often than can be drawn.

    Args:
        title: words until the first ones come.
    """

    def __init__(self, title):
        self._title, self._words, self._told = title, None, 0

    def __call__(self, words, share):
        """Shows how far the work is; GIMP ends the plug-in here if Cancel was pressed."""
        now = GLib.get_monotonic_time() / 1e6
        if self._words is None:
            Gimp.progress_init(self._title)
        if words != self._words:
            Gimp.progress_set_text(words)
            self._words = words
        elif now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        if share > 0:
            Gimp.progress_update(share)
        else:
            Gimp.progress_pulse()

    def end(self):
        """Takes the progress bar away, and Cancel with it."""
        Gimp.progress_end()
