"""Carries pixels to the engine and back in a thread, so that GIMP hears of progress meanwhile; Python 2.7 and 3.9+."""

from __future__ import absolute_import, division, print_function, unicode_literals

import threading
import time

import client

#: How long the host program is left without a word at most. [s]
BEAT_SECONDS = 0.1

#: What is said for each state of a job.
WORDS = {
    "starting": "Starting the engine",
    "sending": "Sending the pixels to the engine",
    "queued": "Waiting for the engine's other jobs",
    "running": "Restoring",
}

#: Nobody sets this clock; Python 2.7 has none of that kind.
_now = getattr(time, "monotonic", time.time)


class Stopped(Exception):  # noqa: N818 - a signal inside this file
    """The host program wants the result no more."""


def make_client(device="auto", **options):
    """A client of the engine, which runs afterwards.

    Args:
        device: the kind of device that the engine must work on: auto, cpu, cuda or mps; one that is started gets it.
        options: as `client.Client` takes them.

    Raises ServiceError if the engine cannot be started, or works on another device.
    """
    if device != "auto":
        options["arguments"] = ("--device", device)
    engine = client.Client(**options)
    status = engine.ensure_running()
    if device != "auto":
        check_device(when_devices_are_known(engine, status), device)
    return engine


def when_devices_are_known(engine, status):
    """The engine's status once its workers know what they work on: those that choose have loaded by then.

    Args:
        engine: the client.
        status: the latest.
    """
    deadline = _now() + client.START_SECONDS
    while _now() < deadline and any(
        row.get("device") == "auto" and not row.get("fault") for row in status.get("workers") or []
    ):
        time.sleep(BEAT_SECONDS)
        status = engine.status()
    return status


def check_device(status, device):
    """Refuses an engine that works on another device than asked for. Raises ServiceError."""
    known = [row["device"] for row in status.get("workers") or [] if row.get("device") not in (None, "", "auto")]
    if device == "auto" or not known or any(one.split(":")[0] == device for one in known):
        return
    raise client.ServiceError(
        "the engine that runs works on %s, not on %s" % (" and ".join(known), device),
        "Stop it (kill %s) and run `liif serve --device %s`." % (status.get("pid"), device),
    )


def in_thread(call, on_beat):
    """Returns what `call(say)` returns, or raises what it raises, while this thread calls `on_beat`.

    Args:
        call: runs in a thread of its own; it reports through say(state, share), which raises Stopped when nobody wants
            the result any more.
        on_beat: called here with the latest state and share, at least every BEAT_SECONDS; what it raises ends the call.
    """
    latest, outcome, stop = [("starting", 0.0)], {}, threading.Event()

    def say(state, share):
        latest[0] = (state, share)
        if stop.is_set():
            raise Stopped()

    def run():
        try:
            outcome["result"] = call(say)
        except BaseException as error:  # it is raised again in the other thread
            outcome["error"] = error

    thread = threading.Thread(target=run)
    # So that the end of the plug-in is the end of the connection, at which the engine drops the job.
    thread.daemon = True
    thread.start()
    try:
        while thread.is_alive():
            on_beat(*latest[0])
            thread.join(BEAT_SECONDS)
    except BaseException:
        stop.set()
        thread.join(10 * BEAT_SECONDS)
        raise
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def restore(data, shape, dtype, on_beat, device="auto", **options):
    """Restores pixels and returns (bytes, (height, width, channels)).

    Args:
        data, shape, dtype, options: as `client.Client.submit_pixels` takes them.
        on_beat: called in this thread with the job's state and the share done; what it raises cancels the job.
        device: as in `make_client`.

    Raises ServiceError in words for people.
    """

    def call(say):
        say("starting", 0.0)
        engine = make_client(device)
        say("sending", 0.0)
        return engine.restore_pixels(data, shape, dtype, on_progress=say, **options)

    return in_thread(call, on_beat)
