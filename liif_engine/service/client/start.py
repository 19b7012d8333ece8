"""Starts the service, which outlives the program that needed it."""

from __future__ import absolute_import, division, print_function, unicode_literals

import os
import subprocess
import sys
import threading
import time

from .connection import connect
from .errors import NotRunning, start_words
from .folder import make_folder
from .interpreter import clean_environment, find_interpreter

#: How long the service may take to start: Python's imports on a slow disk. [s]
START_SECONDS = 60

#: How long another one may take that was started at the same moment, when ours has ended because of it. [s]
GIVE_UP_SECONDS = 5

#: A service that this file started ends when nobody has used it for so long. [s]
IDLE_SECONDS = 900

#: Where a service that this file started says what it has to say, in its folder.
LOG_NAME = "engine.log"

#: A log longer than this is begun anew, by who starts the service or by the service itself. [bytes]
LOG_BYTES = 1 << 20

#: Starts the service, given an interpreter that has liif_engine.
START_CODE = "from liif_engine.cli import main; main()"

#: Nobody sets this clock; Python 2.7 has none of that kind.
_now = getattr(time, "monotonic", time.time)


def start_service(folder, python=None, seconds=START_SECONDS, arguments=()):
    """Starts a service and returns when it answers. Two at once do no harm: one of them ends.

    Args:
        folder: for its socket.
        python: the interpreter; by default `find_interpreter()`.
        seconds: how long to wait.
        arguments: more words of `liif serve`.

    Raises NotRunning with the end of the service's log.
    """
    python = python or find_interpreter()
    if not python:
        raise NotRunning("the engine is not installed, or has never run", start_words())
    make_folder(folder)
    log_path = os.path.join(folder, LOG_NAME)
    environment = clean_environment(os.environ)
    environment["LIIF_RUNTIME_DIR"] = folder
    command = [python, "-c", START_CODE, "serve", "--exit-when-idle", str(IDLE_SECONDS)]
    command.extend(arguments)
    if os.name == "nt":
        # With a console that nobody sees, and its workers have too, in a process group of its own.
        options = {"creationflags": 0x08000200}
    elif sys.version_info[0] > 2:
        options = {"start_new_session": True}
    else:
        options = {"preexec_fn": os.setsid}
    try:
        # To append in any case: what the service cuts off while it lives must not leave a hole.
        with open(os.devnull, "rb") as nothing, open(log_path, "ab") as log:
            if os.fstat(log.fileno()).st_size > LOG_BYTES:
                log.truncate(0)
            child = subprocess.Popen(
                command, stdin=nothing, stdout=log, stderr=log, env=environment, cwd=folder, close_fds=True, **options
            )
    except EnvironmentError as error:
        raise NotRunning("%s cannot be started (%s)" % (python, error.strerror), start_words())
    try:
        _wait_until_it_answers(folder, child, log_path, _now() + seconds)
    finally:
        # It goes on without this process, which while it lives must still collect it when it ends.
        collector = threading.Thread(target=child.wait)
        collector.daemon = True
        collector.start()


def _wait_until_it_answers(folder, child, log_path, deadline):
    ended = None
    while _now() < deadline:
        try:
            connect(folder, 5)[0].close()
            return
        except NotRunning:
            # Another one may have been first: then ours has ended, and the other one answers soon.
            if ended is None and child.poll() is not None:
                ended = _now()
            if ended is not None and _now() - ended > GIVE_UP_SECONDS:
                break
            time.sleep(0.05)
    raise NotRunning("the engine did not start: %s" % (_tail(log_path) or "it said nothing"), start_words())


def _tail(path):
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 2000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except EnvironmentError:
        return ""
    return " ".join(lines[-2:])
