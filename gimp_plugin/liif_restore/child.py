"""Runs the engine's `explain` in a process of its own, which ends with this one, and tells how far it is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import client

#: What the engine's interpreter runs: the command, and a watch on who started it. GIMP's Cancel kills the plug-in where
#: it stands; then this end of the pipe closes, and the child goes too, with the folder that it was to fill.
CODE = """
import os, runpy, shutil, sys, threading
folder = sys.argv.pop(1)
def watch():
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module("liif_engine", run_name="__main__", alter_sys=True)
"""

#: What a command line says that does not know the command.
UNKNOWN = "No such command"


def explain(file, folder, out, place, say):
    """Writes the report on a picture.

    Args:
        file: the picture's path.
        folder: of the report; removed if this program ends before the report is there.
        out: the report's path.
        place: (x, y, width, height) of where to look, in the picture's pixels; None: wherever it is worst.
        say: called with what is being done and the share done; what it raises ends the child.

    Raises:
        client.ServiceError: in words for people.
    """
    python = client.find_interpreter()
    if python is None:
        raise client.ServiceError("the engine is not installed, or has never run", "Run `liif-daemon gimp install`.")
    command = [python, "-c", CODE, folder, "explain", file, "--out", out, "--progress", "json"]
    if place is not None:
        command += ["--at", ",".join(map(str, place))]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=client.clean_environment(os.environ),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would open a console for it
        )
    except OSError as error:
        raise client.ServiceError(
            f"{python} cannot be started ({error.strerror})", "Run `liif-daemon gimp install` again."
        ) from error
    with child, child.stderr as lines:
        error, rest = _follow(lines, say)
    if child.returncode or not Path(out).exists():
        if error and Path(file).parent == Path(folder):
            # Made for the engine, and of a name that nobody has seen.
            error["error"] = error["error"].replace(f"{file}: ", "the image ")
        raise _failure(error, rest, child.returncode)


def _follow(lines, say):
    """Passes progress on until the child has ended; the error that it told, and what it said beside."""
    error, rest = {}, []
    for line in lines:
        text = line.decode("utf-8", "replace").strip()
        try:
            told = json.loads(text)
            if "share" in told:
                say(told.get("step", ""), float(told["share"]))
            elif "error" in told:
                error = told
        except (ValueError, TypeError):
            rest.append(text)
    return error, rest


def _failure(error, rest, code):
    if error:
        return client.ServiceError(error["error"], error.get("remedy") or "")
    if any(UNKNOWN in text for text in rest):
        return client.ServiceError(
            "the engine that is installed cannot explain pictures yet", "Update liif-restore, then install this again."
        )
    words = rest[-1] if rest else "it said nothing"
    return client.ServiceError(f"the engine ended without a report (code {code}): {words}")
