"""How people are told how far it is, GIMP's progress bar, and the end of it where nobody is left to be told."""

from __future__ import annotations

import client
from gi.repository import Gimp, GLib

#: GIMP draws no faster. [s]
PROGRESS_SECONDS = 0.05


class Progress:
    """GIMP's progress bar with Cancel, from its first call on: words and a share, no more often than can be drawn.

    Args:
        title: words until the first ones come.
        image: what is worked on.
    """

    def __init__(self, title, image):
        self._title, self._image, self._words, self._told = title, image, None, 0

    def __call__(self, words, share):
        """Shows how far the work is; GIMP ends the plug-in here if Cancel was pressed.

        Raises:
            client.Cancelled: the image was closed.
        """
        check_open(self._image)
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


def check_open(image):
    """Ends the work without a word where the person who waited for it has closed the image."""
    if not image.is_valid():
        raise client.Cancelled("the image was closed")
