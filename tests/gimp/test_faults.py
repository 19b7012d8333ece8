"""Cancelled, killed, not there: the image stays as it was, the user is told, and the next run works."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from ..service.conftest import Service
from .conftest import WORKERS, RealGimp, until

SLOW = """
image = new_image(64, 64); layer = add_layer(image)
before = state(image)
result = call(image, scale=2.0, model="slow:40")
answer = [result["status"], state(image) == before]
"""


def test_cancel_frees_the_engine_and_leaves_the_image(gimp: RealGimp, engine: Service) -> None:
    """Cancel makes GIMP end the plug-in, as is done here; test_cancel presses the button itself."""
    answers = _in_background(gimp, SLOW)
    until(lambda: engine.client.status()["queue"]["running"])
    assert _holds_pixels(engine)
    for number in gimp.plug_ins():
        os.kill(number, signal.SIGKILL)
    # The figure promised is 2 s; a loaded machine is given more, the bench measures it.
    until(lambda: not engine.client.status()["queue"]["running"], seconds=10)
    status, unchanged = answers()
    assert status != "success"
    assert unchanged
    assert engine.client.status()["memory"]["held_bytes"] == 0
    assert not _holds_pixels(engine)


def test_an_engine_killed_in_the_middle_is_said_and_the_next_run_starts_another(
    gimp: RealGimp, engine: Service
) -> None:
    """The next run has the plug-in start the real engine by itself, as it is installed."""
    code = """
image = new_image(24, 24); layer = add_layer(image)
before = state(image)
result = call(image, scale=2.0, model="slow:40")
unchanged = state(image) == before
again = call(image, scale=2.0, model=path("tiny.safetensors"))
answer = [result["status"], result.get("error"), unchanged, again["status"], again.get("error"), size(image)]
"""
    answers = _in_background(gimp, code)
    until(lambda: engine.client.status()["queue"]["running"])
    engine.process.kill()
    engine.process.wait()
    status, error, unchanged, again, _, size = answers()
    _end_own_service(gimp.home)
    assert status == "execution-error"
    assert "engine" in error
    assert "Try again" in error
    assert unchanged
    assert again == "success"
    assert size == [48, 48]


def test_without_an_engine_the_command_is_said(gimp: RealGimp, services: list[Service]) -> None:
    _end(services)
    record = gimp.home / "profile" / "plug-ins" / "liif_restore" / "engine.json"
    kept = record.read_text()
    record.write_text('{"python": "/nowhere/python"}')
    try:
        answer = gimp.do(
            """
image = new_image(9, 9); add_layer(image)
result = call(image)
answer = [result["status"], result["error"]]
"""
        )
    finally:
        record.write_text(kept)
    assert answer[0] == "execution-error"
    assert "The engine is not installed, or has never run" in answer[1]
    assert "`liif serve`" in answer[1]


def test_an_engine_of_another_version_is_said(gimp: RealGimp, engine: Service) -> None:
    client = gimp.home / "profile" / "plug-ins" / "liif_restore" / "client" / "client.py"
    kept = client.read_text()
    client.write_text(kept.replace("\nAPI = 1\n", "\nAPI = 99\n"))
    try:
        error = gimp.do('image = new_image(9, 9); add_layer(image); answer = call(image)["error"]')
    finally:
        client.write_text(kept)
    assert "version" in error
    assert str(engine.client.status()["pid"]) in error


def test_where_there_is_no_screen_the_dialog_is_refused_in_words(gimp: RealGimp) -> None:
    code = """
image = new_image(9, 9); add_layer(image)
before = state(image)
result = call(image, run_mode=Gimp.RunMode.INTERACTIVE)
answer = [result["status"], result["error"], state(image) == before]
"""
    status, error, unchanged = gimp.do(code)
    assert (status, unchanged) == ("execution-error", True)
    assert "There is no screen" in error
    assert "NONINTERACTIVE" in error


MEANWHILE = {
    "painted": "image.get_layers()[0].fill(Gimp.FillType.WHITE)",
    "scaled": "image.scale(20, 20)",
    "locked": "image.get_layers()[0].set_lock_content(True)",
    "made transparent": "image.get_layers()[0].add_alpha()",
    "removed": "image.remove_layer(image.get_layers()[0])",
    "selected": "image.select_rectangle(Gimp.ChannelOps.REPLACE, 1, 1, 9, 9)",
}


def restored_meanwhile(gimp: RealGimp, line: str, new: str) -> list[Any]:
    """Status, error and size of an image of two layers, restored by a plug-in that has another line amid its work."""
    file = gimp.home / "profile" / "plug-ins" / "liif_restore" / "restore_image.py"
    kept = file.read_text()
    assert kept.count(line) == 1
    file.write_text(kept.replace(line, new))
    code = """
image = new_image(24, 24); add_layer(image, "one"); layer = add_layer(image, "two")
result = call(image, scale=2.0, model="copy")
answer = [result["status"], result.get("error"), size(image)]
"""
    try:
        return list(gimp.do(code))
    finally:
        file.write_text(kept)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("how", MEANWHILE)
def test_what_a_person_changed_meanwhile_is_not_lost(gimp: RealGimp, how: str) -> None:
    """GIMP goes on taking orders while the engine works; here the plug-in itself gives one, as a person would."""
    line = "    _check_unchanged(image, before"
    status, error, size = restored_meanwhile(gimp, line, f"    {MEANWHILE[how]}\n{line}")
    assert status == "execution-error"
    assert "was changed while the engine worked" in error
    assert size == ([20, 20] if how == "scaled" else [24, 24])


@pytest.mark.usefixtures("engine")
def test_a_layer_that_is_deleted_before_its_turn_is_said(gimp: RealGimp) -> None:
    line = "_share_of(parts, number, progress))\n"
    status, error, size = restored_meanwhile(gimp, line, f"{line}        image.flatten()\n")
    assert (status, size) == ("execution-error", [24, 24])
    assert "was changed while the engine worked" in error


@pytest.mark.parametrize(
    ("name", "works", "call"), [("restore_image", "restore", "call"), ("evidence", "explain", "explain")]
)
def test_a_fault_of_the_plug_in_itself_is_said_too(gimp: RealGimp, name: str, works: str, call: str) -> None:
    """Of a procedure that ends without an answer GIMP tells the user nothing."""
    file = gimp.home / "profile" / "plug-ins" / "liif_restore" / f"{name}.py"
    kept, said = file.read_text(), gimp.log.stat().st_size
    file.write_text(f"{kept}\ndef {works}(*_):\n    raise KeyError('sky')\n")
    try:
        answer = gimp.do(f"image = new_image(9, 9); add_layer(image); answer = {call}(image)")
    finally:
        file.write_text(kept)
    assert answer["status"] == "execution-error"
    assert "Unexpected KeyError: 'sky'. Please report this." in answer["error"]
    # Whoever started GIMP in a terminal finds there where.
    assert b"Traceback" in gimp.log.read_bytes()[said:]


@pytest.mark.usefixtures("engine")
def test_what_changes_while_the_result_is_laid_ready_is_not_lost_either(gimp: RealGimp) -> None:
    """Of what lies outside the selection nothing was sent: a larger one must not be filled with nothing."""
    file = gimp.home / "profile" / "plug-ins" / "liif_restore" / "change_image.py"
    kept, line = file.read_text(), "    return True\n"
    assert kept.count(line) == 1
    file.write_text(kept.replace(line, "    image.select_rectangle(Gimp.ChannelOps.REPLACE, 1, 1, 190, 20)\n" + line))
    code = """
image = new_image(200, 24); layer = add_layer(image); image.select_rectangle(Gimp.ChannelOps.REPLACE, 1, 1, 9, 9)
before = state(image)
result = call(image, only_artifacts=True, model="copy")
answer = [result["status"], result.get("error"), state(image) == before]
"""
    try:
        status, error, unchanged = gimp.do(code)
    finally:
        file.write_text(kept)
    assert unchanged
    assert status == "execution-error"
    assert "was changed while the engine worked" in error


def test_an_image_that_is_closed_ends_the_work(gimp: RealGimp, engine: Service) -> None:
    """Nobody would see the result; here the plug-in itself deletes the image, as GIMP does with its last window."""
    file = gimp.home / "profile" / "plug-ins" / "liif_restore" / "tell.py"
    kept, line = file.read_text(), "        if words != self._words:\n"
    assert kept.count(line) == 1
    close = "        if words == 'Restoring':\n            [one.delete() for one in Gimp.get_images()]\n"
    file.write_text(kept.replace(line, close + line))
    cancelled = engine.client.status()["queue"]["cancelled"]
    try:
        status = gimp.do('image = new_image(64, 64); add_layer(image); answer = call(image, model="slow:60")["status"]')
    finally:
        file.write_text(kept)
    assert status == "cancel"
    until(lambda: engine.client.status()["queue"]["cancelled"] == cancelled + 1)


def test_a_person_in_gimp_goes_before_the_backlog(gimp: RealGimp, engine: Service) -> None:
    wanted = {"scale": 1, "model": "slow:2", "priority": "backlog", "detach": True}
    backlog = [engine.client.submit_pixels(bytes(12), (2, 2, 3), "u8", **wanted) for _ in range(20)]
    until(lambda: engine.client.status()["queue"]["running"])
    status, size = gimp.do(
        """
image = new_image(24, 24); layer = add_layer(image)
result = call(image, model="copy")
answer = [result["status"], size(layer)]
"""
    )
    waiting = engine.client.status()["queue"]["backlog"]
    for job in backlog:
        job.forget()
    assert (status, size) == ("success", [48, 48])
    assert waiting > 0


def test_where_the_socket_cannot_be_seen_the_loopback_port_serves(gimp: RealGimp, services: list[Service]) -> None:
    """As in Flatpak, whose sandbox may not pass a socket."""
    _end(services)
    folder = gimp.home / "run"
    service = Service(str(folder), {"workers": WORKERS, "loopback": True})
    (folder / "engine.sock").rename(folder / "hidden.sock")
    try:
        status, size = gimp.do(
            """
image = new_image(24, 24); layer = add_layer(image)
result = call(image, model="copy")
answer = [result["status"], size(layer)]
"""
        )
        assert service.client.status()["queue"]["done"] == 1
    finally:
        service.kill()
        (folder / "hidden.sock").unlink()
    assert (status, size) == ("success", [48, 48])


def _in_background(gimp: RealGimp, code: str) -> Any:
    """Starts code inside GIMP; returns a function that waits for its answer."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(gimp.do(code)))
    thread.start()

    def answer() -> Any:
        thread.join()
        return found[0]

    return answer


def _holds_pixels(engine: Service) -> bool:
    """Whether the service still has shared memory of a job."""
    return "/dev/shm/liif-" in Path(f"/proc/{engine.process.pid}/maps").read_text()


def _end(services: list[Service]) -> None:
    for one in services:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def _end_own_service(home: Path) -> None:
    """Ends the service that the plug-in started."""
    text = (home / "run" / "engine.lock").read_text().splitlines()
    os.kill(int(text[0]), signal.SIGTERM)
    until(lambda: not (home / "run" / "engine.sock").exists())
