"""The face for GIMP 2.10 with a fake gimpfu and the real engine's service, in Python 3 and, where there is one, 2.7."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gimp_plugin import install
from gimp_plugin.gimps import Place

from ..service.conftest import FAULTY, Service

SCRIPT = Path(__file__).with_name("old_face.py")


def old_python() -> str | None:
    """A Python 2.7, from the path or from pyenv."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = sorted(str(path) for path in root.glob("versions/2.7*/bin/python2.7"))
    # pyenv's shims are on the path even where they lead nowhere.
    for python in [*found, shutil.which("python2.7"), shutil.which("python2")]:
        if python and subprocess.run([python, "-c", "pass"], capture_output=True).returncode == 0:
            return python
    return None


@pytest.fixture(params=["3", "2.7"])
def python(request: pytest.FixtureRequest) -> str:
    """Both interpreters."""
    found = sys.executable if request.param == "3" else old_python()
    if found is None:
        pytest.skip("no Python 2.7: `pyenv install 2.7.18` would give one")
    return found


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    folder = tempfile.mkdtemp(prefix="liif-")
    one = Service(folder, {"workers": FAULTY})
    yield one
    one.kill()
    if one.process.stderr is not None:
        one.process.stderr.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as GIMP 2.10 has it."""
    place = Place(tmp_path_factory.mktemp("2.10") / "plug-ins", "GIMP 2.10")
    install.install([place])
    return place.folder


def run(python: str, plug_in: Path, service: Service, case: str) -> Any:
    environment = {"PATH": "/usr/bin:/bin", "LIIF_RUNTIME_DIR": service.folder, "HOME": service.folder}
    command = [python, "-B", str(SCRIPT), str(plug_in), case]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_enlarges_in_one_step_of_undo(python: str, plug_in: Path, service: Service) -> None:
    cores, calls, messages, progress = run(python, plug_in, service, "enlarge")
    assert cores == [[12, 8, False, 12 * 8 * 3]]
    assert calls == ["undo_group_start", "scale", "flush", "undo_group_end", "displays_flush"]
    assert messages == []
    assert progress


def test_only_artifacts_goes_through_the_shadow_so_that_the_selection_holds(
    python: str, plug_in: Path, service: Service
) -> None:
    cores, calls, messages, _ = run(python, plug_in, service, "only artifacts")
    assert cores == [[6, 4, True, 6 * 4 * 3]]
    assert calls == ["undo_group_start", "flush", "merge_shadow", "undo_group_end", "displays_flush"]
    assert messages == []


def test_a_new_image_leaves_the_old_one_alone(python: str, plug_in: Path, service: Service) -> None:
    cores, calls, _, _ = run(python, plug_in, service, "new image")
    assert cores == [[6, 4, True, 72], [12, 8, False, 288]]
    assert calls[0] == "duplicate"
    assert "display" in calls


def test_a_model_may_lie_below_the_home_folder(python: str, plug_in: Path, service: Service) -> None:
    cores, _, messages, _ = run(python, plug_in, service, "model at home")
    assert messages == []
    assert cores == [[12, 8, False, 12 * 8 * 3]]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("16 bits", "8 bits only"),
        ("locked", "are locked"),
        ("floating", "anchor it first"),
        ("group", "Choose a layer"),
        ("palette", "Image > Mode > RGB"),
        ("no such model", "no such library"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(
    python: str, plug_in: Path, service: Service, case: str, words: str
) -> None:
    cores, calls, messages, _ = run(python, plug_in, service, case)
    assert cores == [[6, 4, True, 72]]
    assert calls == []
    assert len(messages) == 1
    assert words in messages[0]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("painted meanwhile", "changed while"),
        ("selected meanwhile", "changed while"),
        ("closed meanwhile", None),
        ("closed meanwhile, long before the end", None),
    ],
)
def test_an_image_that_was_changed_meanwhile_is_left_as_it_is(
    python: str, plug_in: Path, service: Service, case: str, words: str | None
) -> None:
    cores, calls, messages, _ = run(python, plug_in, service, case)
    assert cores == [[6, 4, case != "painted meanwhile", 72]]
    assert calls == []
    assert len(messages) == (words is not None)
    assert all(words in message for message in messages if words)


def test_a_copy_is_taken_of_what_was_painted_meanwhile(python: str, plug_in: Path, service: Service) -> None:
    cores, _, messages, _ = run(python, plug_in, service, "copy painted meanwhile")
    assert cores == [[6, 4, False, 72], [12, 8, False, 288]]
    assert messages == []


def test_it_registers_all_its_options(python: str, plug_in: Path, service: Service) -> None:
    name, options, menu = run(python, plug_in, service, "register")
    assert name == "python-fu-liif-restore"
    assert options == ["image", "drawable", "scale", "only-artifacts", "model", "device", "result"]
    assert menu == "<Image>/Filters/Enhance"


def test_python_2_7_compiles_what_gimp_2_10_starts(plug_in: Path) -> None:
    python = old_python()
    if python is None:
        pytest.skip("no Python 2.7: `pyenv install 2.7.18` would give one")
    code = "import sys; [compile(open(name).read(), name, 'exec') for name in sys.argv[1:]]"
    files = [str(plug_in / name) for name in ("liif_restore.py", "gimp2.py", "courier.py", "client/client.py")]
    done = subprocess.run([python, "-c", code, *files], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
