"""gimpfu and gimp as GIMP 2.10 has them, as far as the plug-in's old face uses them; Python 2.7 and 3.

What behaves as the real one: pixel regions hold 8 bits; a drawable tells its old size after a scale until it is looked
up again; a region that is not shadowed is written directly; a shadowed one is taken by merge_shadow, within the
selection.
"""

import sys
import types

RGB_IMAGE, RGBA_IMAGE, GRAY_IMAGE, GRAYA_IMAGE = 0, 1, 2, 3
RGB, GRAY, INDEXED = 0, 1, 2
PF_IMAGE, PF_DRAWABLE, PF_SPINNER, PF_TOGGLE, PF_STRING, PF_OPTION = range(6)
CHANNELS = {0: 3, 1: 4, 2: 1, 3: 2}


class Core(object):
    """What GIMP itself knows of a layer."""

    def __init__(self, number, kind, width, height, data):
        self.number, self.kind, self.width, self.height = number, kind, width, height
        self.data = self.shadow = data


class Drawable(object):
    """What Python sees: a snapshot."""

    offsets, name, children = (0, 0), "layer", ()

    def __init__(self, core, world):
        self.ID, self.type, self._core, self._world = core.number, core.kind, core, world
        self.width, self.height = core.width, core.height

    def __eq__(self, other):
        return self.ID == other.ID

    def get_pixel_rgn(self, x, y, width, height, dirty, shadow):
        assert (x, y) == (0, 0)
        return Region(self._core, width, height, shadow)

    def resize(self, width, height, x, y):
        self._core.width, self._core.height = width, height

    def flush(self):
        self._world.calls.append("flush")

    def merge_shadow(self, undo):
        self._world.calls.append("merge_shadow")
        self._core.data = self._core.shadow

    def update(self, x, y, width, height):
        assert (width, height) == (self._core.width, self._core.height)


class Region(object):
    """A pixel region."""

    def __init__(self, core, width, height, shadow):
        self.core, self.size, self.shadow = core, (width, height), shadow

    def __getitem__(self, key):
        assert key == (slice(0, self.size[0]), slice(0, self.size[1]))
        return self.core.data

    def __setitem__(self, key, data):
        assert key == (slice(0, self.size[0]), slice(0, self.size[1]))
        assert isinstance(data, bytes)
        assert self.size == (self.core.width, self.core.height), "a region beyond the layer"
        assert len(data) == self.size[0] * self.size[1] * CHANNELS[self.core.kind]
        if self.shadow:
            self.core.shadow = data
        else:
            self.core.data = data


class Image(object):
    """An image of one layer."""

    base_type = RGB

    def __init__(self, world, width, height, kind, data):
        self.world, self.width, self.height = world, width, height
        self.core = Core(len(world.cores) + 1, kind, width, height, data)
        world.cores[self.core.number] = self.core
        self._layers = [Drawable(self.core, world)]

    @property
    def layers(self):
        return self._layers

    def duplicate(self):
        self.world.calls.append("duplicate")
        return Image(self.world, self.width, self.height, self.core.kind, self.core.data)

    def undo_group_start(self):
        self.world.calls.append("undo_group_start")

    def undo_group_end(self):
        self.world.calls.append("undo_group_end")


class Pdb(object):
    """The procedures used."""

    precision, floating, locked, group, valid, selection = 150, None, False, False, True, (0, 0, 0, 6, 4)

    def __init__(self, world):
        self.world, self.messages = world, []

    def gimp_message(self, words):
        self.messages.append(words)

    def gimp_image_get_precision(self, image):
        return self.precision

    def gimp_image_get_floating_sel(self, image):
        return self.floating

    def gimp_image_is_valid(self, image):
        return self.valid

    def gimp_selection_bounds(self, image):
        assert self.valid
        return self.selection

    def gimp_item_is_layer(self, item):
        return True

    def gimp_item_is_group(self, item):
        return self.group

    def gimp_item_is_text_layer(self, item):
        return False

    def gimp_item_get_lock_content(self, item):
        return self.locked

    def gimp_image_scale(self, image, width, height):
        self.world.calls.append("scale")
        image.width, image.height = width, height
        image.core.width, image.core.height = width, height


class World(object):
    """Everything; `install` makes it importable as gimp and gimpfu."""

    def __init__(self):
        self.cores, self.calls, self.shares, self.registered = {}, [], [], []
        self.pdb = Pdb(self)

    def install(self):
        gimp, gimpfu = types.ModuleType("gimp"), types.ModuleType("gimpfu")
        for name, value in globals().items():
            if name.isupper() or name.startswith("PF_"):
                setattr(gimpfu, name, value)
        gimpfu.pdb = self.pdb
        gimpfu.register = lambda *words, **rest: self.registered.append((words, rest))
        gimpfu.main = lambda: None
        gimp.progress_init = lambda words: None
        gimp.progress_update = self.shares.append
        gimp.displays_flush = lambda: self.calls.append("displays_flush")
        gimp.Display = lambda image: self.calls.append("display")
        gimp._id2drawable = lambda number: Drawable(self.cores[number], self)
        sys.modules["gimp"], sys.modules["gimpfu"] = gimp, gimpfu
