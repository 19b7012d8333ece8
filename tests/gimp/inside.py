# Runs inside GIMP (python-fu-eval) and does what the tests send: each connection brings code, and gets its answer.
import json
import os
import socket
import time
import traceback

from gi.repository import Gegl, Gimp, Gio

FOLDER = os.environ["LIIF_TEST_FOLDER"]
SHORT = {1: "u8", 2: "u16", 4: "float"}
TYPES = {("RGB", False): 0, ("RGB", True): 1, ("GRAY", False): 2, ("GRAY", True): 3}


def path(name):
    return f"{FOLDER}/{name}"


def call(image, drawables=None, **options):
    """Runs the procedure; returns a dict of what came of it."""
    procedure = Gimp.get_pdb().lookup_procedure("plug-in-liif-restore")
    config = procedure.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    config.set_property("image", image)
    config.set_core_object_array("drawables", image.get_selected_drawables() if drawables is None else drawables)
    for name, value in options.items():
        config.set_property(name.replace("_", "-"), value)
    started = time.monotonic()
    result = procedure.run(config)
    status = result.index(0)
    answer = {"status": status.value_nick, "seconds": time.monotonic() - started}
    if status == Gimp.PDBStatusType.SUCCESS:
        answer.update(image=result.index(1), layer=result.index(2), notes=result.index(3))
    else:
        answer["error"] = Gimp.get_pdb().get_last_error()
    return answer


def explain(image):
    """Runs the other procedure; returns a dict of what came of it."""
    procedure = Gimp.get_pdb().lookup_procedure("plug-in-liif-evidence")
    config = procedure.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    config.set_property("image", image)
    config.set_core_object_array("drawables", image.get_selected_drawables())
    result = procedure.run(config)
    if result.index(0) != Gimp.PDBStatusType.SUCCESS:
        return {"status": result.index(0).value_nick, "error": Gimp.get_pdb().get_last_error()}
    return {"status": "success", "report": result.index(1), "note": result.index(2)}


def load(name):
    return Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(path(name)))


def new_image(width, height, base="RGB", precision="U8_NON_LINEAR"):
    kind = Gimp.ImageBaseType.RGB if base == "RGB" else Gimp.ImageBaseType.GRAY
    image = Gimp.Image.new_with_precision(width, height, kind, getattr(Gimp.Precision, precision))
    image.base = base
    return image


def add_layer(image, name="layer", size=None, alpha=False, at=(0, 0), data=None, format=None, parent=None):
    width, height = size or (image.get_width(), image.get_height())
    base = "GRAY" if image.get_base_type() == Gimp.ImageBaseType.GRAY else "RGB"
    kind = Gimp.ImageType(TYPES[base, alpha])
    layer = Gimp.Layer.new(image, name, width, height, kind, 100, Gimp.LayerMode.NORMAL)
    image.insert_layer(layer, parent, 0)
    layer.set_offsets(*at)
    if data is None:
        channels = (3 if base == "RGB" else 1) + alpha
        data = bytes((7 * number + 13 * (number // 5)) % 251 for number in range(width * height * channels))
        format = ("R'G'B'" if base == "RGB" else "Y'") + ("A" if alpha else "") + " u8"
    buffer = layer.get_buffer()
    buffer.set(Gegl.Rectangle.new(0, 0, width, height), format, data)
    buffer.flush()
    return layer


def pixels(layer, format, rect=None):
    rect = rect or (0, 0, layer.get_width(), layer.get_height())
    return bytes(layer.get_buffer().get(Gegl.Rectangle.new(*rect), 1.0, format, Gegl.AbyssPolicy.NONE))


def size(item):
    return [item.get_width(), item.get_height()]


def place(layer):
    return list(layer.get_offsets())[1:]


def state(image):
    """All that a refused call must leave as it was."""
    layers = image.get_layers()
    return [size(image), len(layers)] + [
        [x.get_name(), size(x), hash(pixels(x, None))] for x in layers if not x.is_group()
    ]


def serve():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path("driver"))
    listener.listen(4)
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as file:
            line = file.readline()
            if not line.strip():
                return
            names = dict(globals(), answer=None)
            try:
                exec(json.loads(line), names)
                answer = {"answer": names["answer"]}
                text = json.dumps(answer)
            except BaseException:
                text = json.dumps({"error": traceback.format_exc()})
            for image in Gimp.get_images() if not names.get("keep") else []:
                image.delete()
            file.write(text.encode() + b"\n")
            file.flush()


serve()
