"""Where the service lives: a private folder, one instance, what the dead leave, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from liif_engine.errors import ServiceError
from liif_engine.service import client, place
from liif_engine.service.client import Client, NotRunning

from .asking import PIXELS, SHAPE
from .conftest import Start, wait_until

NOBODY = 65534


needs_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="run as root to act as another")


#: Does without our packages, which another user may not be able to read.
CALL = """
import socket, sys
one = socket.socket(socket.AF_UNIX)
try:
    one.connect(sys.argv[1])
except OSError as error:
    sys.exit("not connected: %s" % error)
answer = b""
try:
    one.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
except OSError:
    pass  # it has closed already; what it said can be read all the same
try:
    while not answer.endswith(b"user\\n"):
        answer += one.recv(4096) or sys.exit(answer.decode())
except OSError as error:
    answer += str(error).encode()
sys.exit(answer.decode())
"""


def call_as_nobody(path: Path) -> str:
    """What another user gets to hear at a socket."""
    command = [shutil.which("python3", path="/usr/bin:/bin") or sys.executable, "-c", CALL, str(path)]
    done = subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, cwd="/")
    return done.stderr


@needs_root
def test_another_user_is_refused_by_the_folder_and_if_that_fails_by_the_service(start: Start) -> None:
    service = start()
    folder, path = Path(service.folder), Path(service.folder, "engine.sock")
    assert "Permission denied" in call_as_nobody(path)
    folder.chmod(0o755)
    assert "Permission denied" in call_as_nobody(path)
    path.chmod(0o777)
    answer = call_as_nobody(path)
    assert answer.startswith("HTTP/1.1 403"), answer
    assert "belongs to another user" in answer
    folder.chmod(0o700)
    assert service.client.status()["api"] == 1


@needs_root
def test_the_client_refuses_a_folder_that_another_user_made(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(client.ServiceError, match="not a private folder"):
        Client(str(folder)).status()


def test_folder_and_socket_are_the_users_own(start: Start) -> None:
    service = start(loopback=True)
    folder = Path(service.folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "engine.sock").stat().st_mode & 0o777 == 0o600
    assert (folder / "engine.port").stat().st_mode & 0o777 == 0o600
    workers = service.client.status()["workers"]
    assert workers[0]["device"] == "cpu"


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(ServiceError, match="not a private folder") as refused, place.occupy(tmp_path, loopback=False):
        pass
    assert "Delete" not in refused.value.remedy  # it may be anything, even the folder for temporary files
    assert "LIIF_RUNTIME_DIR" in refused.value.remedy
    tmp_path.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(ServiceError, match="not a private folder"), place.occupy(link, loopback=False):
        pass


def test_a_path_too_long_for_a_socket_is_refused_in_words(tmp_path: Path) -> None:
    with (
        pytest.raises(ServiceError, match="longer than 103 bytes"),
        place.occupy(tmp_path / ("x" * 99), loopback=False),
    ):
        pass


def test_there_is_one_service_and_the_second_says_so(start: Start) -> None:
    first = start()
    code, said = start(wait=False).wait()
    assert code == 1
    assert f"runs already in {first.folder} (process {first.process.pid})" in said
    assert first.client.status()["pid"] == first.process.pid


def test_after_kill_9_the_next_one_takes_over_and_nothing_is_left(start: Start) -> None:
    first = start()
    first.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)
    sent = first.client.submit_image(b"not a picture, but long" * 1000, scale=1, model="slow:60", detach=True)
    worker = first.client.status()["workers"][0]["pid"]
    scratch = Path(Path(first.folder, "engine.lock").read_text().splitlines()[1])
    assert sent.id
    assert scratch.is_dir()
    first.kill()
    assert Path(first.folder, "engine.sock").exists(), "it is stale"
    wait_until(lambda: not is_alive(worker), "the worker outlived its service")
    with pytest.raises(NotRunning):
        first.client.status()
    second = start()
    assert second.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1)[0] == PIXELS
    assert not scratch.exists()


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="shared memory has no files here; it has on Linux")
def test_shared_memory_goes_though_everything_was_killed_at_once(start: Start) -> None:
    """As the system does with a whole group when memory runs out: also with what Python has to tidy up."""
    first = start()
    job = first.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:60", detach=True)
    wait_until(lambda: job.state()["state"] == "running", "it did not start")
    pid = first.process.pid
    os.kill(pid, signal.SIGSTOP)  # so that it does nothing about the death of the others
    children = Path(f"/proc/{pid}/task/{pid}/children")
    threads = [path.read_text().split() for path in children.parents[1].glob("*/children")]
    prefix = Path(first.folder, "engine.lock").read_text().splitlines()[2]
    for child in [int(number) for numbers in threads for number in numbers]:
        os.kill(child, signal.SIGKILL)
    first.kill()
    assert len(list(Path("/dev/shm").glob(f"{prefix}*"))) == 2, "the picture and its result"
    start()
    assert list(Path("/dev/shm").glob(f"{prefix}*")) == []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_sigterm_ends_it_cleanly_amid_a_job(start: Start) -> None:
    service = start()
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:60")
    caught: list[client.ServiceError] = []
    running = threading.Event()

    def follow() -> None:
        try:
            job.wait(lambda state, _: running.set() if state == "running" else None)
        except client.ServiceError as error:
            caught.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    assert running.wait(30)
    worker = service.client.status()["workers"][0]["pid"]
    code, said = service.end()
    thread.join(30)
    assert (code, said.splitlines()[1:]) == (0, [])
    assert [str(error) for error in caught] == ["the service ended"]
    assert caught[0].retryable
    assert not Path(service.folder, "engine.sock").exists()
    assert not is_alive(worker)


def test_a_caller_that_reads_no_more_holds_up_no_end(start: Start) -> None:
    service = start()
    shape = (1500, 1500, 3)
    job = service.client.submit_pixels(bytes(1500 * 1500 * 3), shape, "u8", scale=1, detach=True)
    job.wait()
    response = service.client.open("GET", f"/v1/jobs/{job.id}/result")
    assert response.read(100) == bytes(100)
    code, said = service.end()
    response.close()
    assert (code, said.splitlines()[1:]) == (0, [])


def test_a_service_that_dies_is_noticed_at_once(start: Start) -> None:
    service = start()
    job = service.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:60")
    events = job.events()
    next(events)
    service.kill()
    with pytest.raises(NotRunning, match="went away") as caught:
        list(events)
    assert caught.value.retryable


def test_the_next_one_waits_for_one_that_is_about_to_end(start: Start) -> None:
    first = start()
    os.kill(first.process.pid, signal.SIGSTOP)
    Path(first.folder, "engine.sock").unlink()  # as it does itself before anything else
    second = start(wait=False)
    time.sleep(0.3)
    assert second.process.poll() is None
    first.kill()
    second.wait_until_it_answers()


def test_it_ends_when_idle_and_not_while_a_job_runs(start: Start) -> None:
    service = start(exit_when_idle=0.5)
    assert service.client.restore_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:1.5")[0] == PIXELS
    code, _ = service.wait()
    assert code == 0
    assert not Path(service.folder, "engine.sock").exists()


def test_without_unix_sockets_there_is_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "HAS_UNIX_SOCKETS", False)
    folder = Path(tempfile.mkdtemp(prefix="liif-"))
    with place.occupy(folder, loopback=False) as found:
        assert [one.family for one in found.sockets] == [socket.AF_INET]
        assert found.sockets[0].getsockname() == ("127.0.0.1", found.port)
        assert json.loads((folder / "engine.port").read_text()) == {"port": found.port, "token": found.token}
        assert len(found.token or "") > 40
        assert not (folder / "engine.sock").exists()
    assert not (folder / "engine.port").exists()
    shutil.rmtree(folder)


def test_who_lost_its_folder_leaves_the_next_one_s_alone(start: Start) -> None:
    first = start()
    first.process.send_signal(signal.SIGSTOP)  # it notices later
    shutil.rmtree(first.folder)
    second = start()
    first.process.send_signal(signal.SIGCONT)
    code, said = first.wait()
    assert code == 0, said
    assert "somebody has removed the socket" in said
    assert second.client.status()["pid"] == second.process.pid


def test_who_lost_its_socket_ends_after_its_work_and_the_next_one_takes_over(start: Start) -> None:
    first = start(loopback=True)
    job = first.client.submit_pixels(PIXELS, SHAPE, "u8", scale=1, model="slow:2", detach=True)
    connection, _ = client.connect(first.folder)
    connection.request("GET", f"/v1/jobs/{job.id}/events")
    for name in place.ENTRANCES:
        Path(first.folder, name).unlink()
    second = start()
    with connection.getresponse() as events:
        assert json.loads(events.read().splitlines()[-1])["state"] == "done"
    connection.close()
    code, said = first.wait()
    assert code == 0, said
    assert second.client.status()["pid"] == second.process.pid


def test_a_scratch_folder_that_was_cleaned_away_is_made_again(start: Start) -> None:
    service = start()
    picture_file = BytesIO()
    Image.new("RGB", (7, 5)).save(picture_file, "PNG")
    for scratch in Path(service.folder).glob(f"{place.SCRATCH_PREFIX}*"):
        scratch.rmdir()
    service.client.submit_image(picture_file.getvalue(), scale=1, detach=True).wait()
    (scratch,) = Path(service.folder).glob(f"{place.SCRATCH_PREFIX}*")
    assert scratch.stat().st_mode & 0o777 == 0o700
