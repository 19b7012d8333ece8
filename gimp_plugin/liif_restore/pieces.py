"""Where the dialog's preview takes its pieces from: a layer, or what is visible, merged."""

from __future__ import annotations

from gi.repository import Babl, Gegl
from order import Refusal
from parts import bounds, is_any_seen, merge_visible, visible_bounds
from restore_image import check_visible

#: What the preview shows and sends.
FORMAT = "R'G'B'A u8"


class OfLayer:
    """Pieces of a layer; all of these in the image's coordinates.

    Args:
        layer: as it is at each question; None is refused.
    """

    def __init__(self, layer):
        self._layer = layer

    def is_there(self):
        """Whether there is something to be shown: not of a layer that was deleted meanwhile."""
        return self._layer is None or self._layer.is_valid()

    def bounds(self):
        """(x, y, width, height) of all of it.

        Raises:
            Refusal: there is nothing.
        """
        if self._layer is None:
            raise Refusal("No layer holds pixels: choose a layer with a picture")
        return bounds(self._layer)

    def read(self, x, y, width, height):
        """The pixels of a piece, in FORMAT."""
        return _read(self._layer, x, y, width, height)


class OfVisible:
    """Pieces of what is visible, as it is at each question.

    Args:
        image: whose.
    """

    def __init__(self, image):
        self._image = image

    def is_there(self):
        """Whether there is something to be shown."""
        return self._image.is_valid()

    def bounds(self):
        """(x, y, width, height) of all of it.

        Raises:
            Refusal: GIMP cannot merge it.
        """
        check_visible(self._image)
        return visible_bounds(self._image)

    def read(self, x, y, width, height):
        """The pixels of a piece, in FORMAT.

        Of a copy that is cut to the piece before it is merged: of five layers of 12 megapixels that takes GIMP 0.03 to
        0.13 s, in which no window of its answers; to merge all of them takes it 0.5 to 1.3 s.
        """
        copy = self._image.duplicate()
        try:
            copy.undo_disable()
            copy.crop(width, height, x, y)
            if not is_any_seen(copy):
                return bytes(4 * width * height)
            return _read(merge_visible(copy), 0, 0, width, height)
        finally:
            copy.delete()


def _read(layer, x, y, width, height):
    """A piece of a layer; what lies beyond it is transparent."""
    _, left, top = layer.get_offsets()
    rect = Gegl.Rectangle.new(x - left, y - top, width, height)
    return bytes(layer.get_buffer().get(rect, 1.0, Babl.get_name(Babl.format(FORMAT)), Gegl.AbyssPolicy.NONE))
