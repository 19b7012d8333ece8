"""The files under deploy/ hold together as far as that can be seen without a Docker engine and without a cloud."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from liif_daemon import settings

from tests.service.test_figures import free_port

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def test_the_daemon_reads_the_containers_settings() -> None:
    found = settings.load(DEPLOY / "config.yaml")
    mounts = {one["target"] for one in read("compose.yaml")["services"]["restore"]["volumes"] if isinstance(one, dict)}
    assert {str(folder.path) for folder in found.folders} <= mounts
    assert str(found.daemon.state).startswith("/state/")
    port = str(found.daemon.metrics).rpartition(":")[2]
    assert any(f":{port}" in one for one in read("compose.yaml")["services"]["restore"]["ports"])
    assert read("prometheus.yaml")["scrape_configs"][0]["static_configs"][0]["targets"] == [f"restore:{port}"]


def compose() -> list[str] | None:
    """Docker Compose's command; it needs no engine to look at a file."""
    for command in (["docker", "compose"], ["docker-compose"]):
        with contextlib.suppress(OSError):
            if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
                return command
    return None


def test_compose_accepts_its_file() -> None:
    command = compose()
    if command is None:
        pytest.skip("install Docker Compose to run this")
    words = ["--file", str(DEPLOY / "compose.yaml"), "--profile", "figures", "config", "--quiet"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_bash_takes_the_command_of_the_compose_file(tmp_path: Path) -> None:
    """Of bash, UID is read-only: a command that sets it is not run."""
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    command = re.search(r"^#   (.+ docker compose .+)$", text, re.M)
    assert command is not None
    named = set(re.findall(r"\$\{(\w+)", text)) - {"TORCH"}
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nenv\n")
    docker.chmod(0o755)
    search = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": search, "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command[1]], env=environment, capture_output=True, text=True, check=False)
    said = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert done.returncode == 0, done.stderr
    assert named <= said.keys()
    assert said["OWNER"] == f"{os.getuid()}:{os.getgid()}"


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signal that stops a process")
def test_the_containers_health_is_that_of_the_daemon_and_not_of_its_files(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "pictures").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(
        f"daemon: {{state: {tmp_path / 'state'}, metrics: {port}}}\nfolders: [{{path: {tmp_path / 'pictures'}}}]\n"
    )
    program, *words = read("compose.yaml")["services"]["restore"]["healthcheck"]["test"][1:]
    words = [word.replace("9464", str(port)).replace("timeout=20", "timeout=1") for word in words]
    words = [word.replace("/etc/liif-restore/config.yaml", str(config)) for word in words]
    health = [{"python": sys.executable}.get(program, program), *words]
    with subprocess.Popen([sys.executable, "-m", "liif_daemon", "run", "--config", config]) as daemon:
        try:
            deadline = time.monotonic() + 60
            while subprocess.run(health, capture_output=True, check=False).returncode:
                assert daemon.poll() is None
                assert time.monotonic() < deadline
            daemon.send_signal(signal.SIGSTOP)
            assert subprocess.run(health, capture_output=True, check=False).returncode
        finally:
            daemon.kill()


def test_another_process_than_the_daemon_is_the_containers_first() -> None:
    """The first reaps what others leave, which the daemon does not."""
    assert read("compose.yaml")["services"]["restore"]["init"] is True


def test_the_cpu_builds_index_is_asked_for_torch_alone() -> None:
    """It has not every version of the rest that constraints.txt pins."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    commands = re.findall(r"pip install .*--index-url .*", text)
    assert commands
    assert all(" --no-deps " in one for one in commands)


def test_ray_accepts_the_clusters_file() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util", reason="pip install 'liif-restore[ray]' to run this")
    # As `ray up` does, before it calls the cloud.
    config = util.prepare_config(read("ray-cluster.yaml"))
    util.validate_config({**config, "cluster_synced_files": []})


def test_the_image_copies_what_is_there_and_all_that_the_build_needs() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", text, re.M) for word in line.split()}
    assert all((ROOT / word).exists() for word in copied)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for name in ("liif_engine", "daemon", "gimp_plugin", "config.yaml", "README.md", "LICENSE"):
        assert name in project
        assert name in copied


def test_the_clusters_commands_name_folders_that_the_images_user_may_write_to() -> None:
    """`ray rsync-up` makes its target by that user, and calls rsync in the container."""
    image, cluster = ((DEPLOY / name).read_text("utf-8") for name in ("Dockerfile", "ray-cluster.yaml"))
    made = re.search(r" useradd .*--create-home (\w+) .* chown \1:\1 (.+)$", image.replace("\\\n", ""), re.M)
    assert made is not None
    assert f"USER {made[1]}\n" in image
    owned = [f"/home/{made[1]}", *made[2].split()]
    named = re.findall(r" (/[\w/]+)", "\n".join(line for line in cluster.splitlines() if line.startswith("#   ")))
    assert len(named) == 3
    assert all(any(path == one or path.startswith(f"{one}/") for one in owned) for path in named), named
    assert "rsync" in image


@pytest.mark.parametrize("path", sorted(DEPLOY.iterdir()), ids=lambda path: path.name)
def test_each_file_says_whether_it_was_run(path: Path) -> None:
    head = path.read_text("utf-8")[:700]
    assert "Not run" in head or "Run:" in head or path.name == "config.yaml"
