# Run by test_gimpfu.py in an interpreter of its own, 2.7 or 3: `old_face.py PLUG_IN_FOLDER CASE`; prints JSON.
from __future__ import print_function

import json
import os
import sys

folder, case = sys.argv[1:3]
sys.path[:0] = [folder, os.path.dirname(os.path.abspath(__file__))]

import fake_gimpfu  # noqa: E402

world = fake_gimpfu.World()
world.install()

import gimp2  # noqa: E402

data = bytes(bytearray(n % 251 for n in range(6 * 4 * 3)))
image = fake_gimpfu.Image(world, 6, 4, fake_gimpfu.RGB_IMAGE, data)
layer = image.layers[0]
options = dict(scale=2.0, model="copy")
if case == "only artifacts":
    options.update(only_artifacts=True)
elif case == "new image":
    options.update(result=1)
elif case == "16 bits":
    world.pdb.precision = 250
elif case == "locked":
    world.pdb.locked = True
elif case == "floating":
    world.pdb.floating = layer
elif case == "group":
    world.pdb.group = True
elif case == "palette":
    image.base_type = fake_gimpfu.INDEXED
elif case == "no such model":
    options.update(model="broken")
elif case == "model at home":
    options.update(model="~/own.safetensors")
elif case == "closed meanwhile, long before the end":
    options.update(model="slow:60")

if "meanwhile" in case:

    def meddle(_share):
        if case.startswith("closed"):
            world.pdb.valid = False
        elif case == "selected meanwhile":
            world.pdb.selection = (1, 0, 0, 2, 2)
        else:
            image.core.data = image.core.shadow = data[::-1]

    sys.modules["gimp"].progress_update = meddle
    if case.startswith("copy"):
        options.update(result=1)

if case == "register":
    gimp2.main()
    words, rest = world.registered[0]
    names = [row[1] for row in words[8]]
    print(json.dumps([words[0], names, rest["menu"]]))
else:
    gimp2.restore(image, layer, **options)
    cores = [[core.width, core.height, core.data == data, len(core.data)] for core in world.cores.values()]
    print(json.dumps([cores, world.calls, world.pdb.messages, bool(world.shares)]))
