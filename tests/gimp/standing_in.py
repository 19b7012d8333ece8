# Stands for the engine's `explain` (as liif_engine/__main__.py of a package of its own): tells what it was asked, and
# fails or waits where the folder in LIIF_STANDING_IN says so.
import hashlib
import json
import os
import sys
import time

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def say(**told):
    print(json.dumps(told), file=sys.stderr, flush=True)


def is_asked(name):
    return os.path.exists(os.path.join(FOLDER, name))


arguments = sys.argv[1:]
source, out = arguments[1], arguments[arguments.index("--out") + 1]
with open(source, "rb") as file:
    data = file.read()
asked = {"arguments": arguments, "sha256": hashlib.sha256(data).hexdigest(), "head": data[:8].hex(), "pid": os.getpid()}
asked["environment"] = sorted(os.environ)
with open(os.path.join(FOLDER, "asked.new"), "w") as file:
    json.dump(asked, file)
os.rename(os.path.join(FOLDER, "asked.new"), os.path.join(FOLDER, "asked.json"))
say(share=0.25, step="Reading the file")
print("a warning that is no JSON", file=sys.stderr, flush=True)
while is_asked("wait"):
    time.sleep(0.02)
if is_asked("fail"):
    say(error="the patch lies outside the picture", remedy="Choose another --at.", exit_code=2)
    sys.exit(2)
if is_asked("old"):
    print("Usage: liif\nError: No such command 'explain'.", file=sys.stderr)
    sys.exit(2)
if is_asked("crash"):
    print("Segmentation fault", file=sys.stderr)
    os._exit(9)
say(share=1.0, step="Comparing")
with open(out, "w") as file:
    file.write("<!doctype html><title>evidence</title>")
