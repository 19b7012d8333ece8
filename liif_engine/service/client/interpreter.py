"""Which Python has the engine, for programs that run in another one, and what a child of theirs must not inherit."""

from __future__ import absolute_import, division, print_function, unicode_literals

import io
import json
import os
import sys

#: What a child must not inherit from a program that brings its own Python or libraries, as GIMP does.
FOREIGN_VARIABLES = ("GI_TYPELIB_PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
FOREIGN_PREFIXES = ("PYTHON", "GIMP", "BABL_", "GEGL_")


def record_interpreter(python, version):
    """Remembers which interpreter has the engine, for programs that run in another one."""
    path = _record_path()
    if not os.path.isabs(path):  # without a home folder it would begin in the current one, with a folder called ~
        return
    try:
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path), 0o700)
        text = json.dumps({"python": python, "version": version})
        with io.open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text if isinstance(text, str) else text.decode("ascii"))
        if os.name == "nt" and os.path.exists(path):
            os.remove(path)
        os.rename(path + ".new", path)
    except EnvironmentError:
        pass  # a convenience; without it the other program asks the user


def find_interpreter():
    """An interpreter that has the engine, or None.

    In this order: $LIIF_PYTHON; engine.json beside this folder (the plug-in's installer writes it); this interpreter,
    if this folder is part of an installed engine; what `record_interpreter` wrote.
    """
    if os.environ.get("LIIF_PYTHON"):
        return os.environ["LIIF_PYTHON"]
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    beside = _recorded(os.path.join(here, "engine.json"))
    if beside:
        return beside
    if os.path.exists(os.path.join(here, "serve.py")) and sys.version_info[0] > 2 and sys.executable:
        return sys.executable
    return _recorded(_record_path())


def clean_environment(environment):
    """A copy of the environment without what a program such as GIMP sets for its own Python and libraries."""
    return dict(
        (key, value)
        for key, value in environment.items()
        if key not in FOREIGN_VARIABLES and not key.startswith(FOREIGN_PREFIXES)
    )


def _recorded(path):
    try:
        with io.open(path, encoding="utf-8") as file:
            python = json.load(file)["python"]
    except (EnvironmentError, ValueError, KeyError, TypeError):
        return None
    return python if os.path.exists(python) else None


def _record_path():
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
    else:
        base = os.environ.get("XDG_STATE_HOME", "")
        if not os.path.isabs(base):  # which its specification has ignored
            base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "liif-restore", "engine.json")
