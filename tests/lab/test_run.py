"""A training run from outside: it ends by the clock, is killed and goes on; what cannot work is said in words."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from liif_engine.errors import ModelError, NonFiniteError, OutputError, UsageError
from liif_engine.lab import state
from liif_engine.lab import train as lab
from liif_engine.lab.degrade import Shares
from liif_engine.lab.settings import command, parse
from liif_engine.lab.state import Progress, load_state, save_state, states
from liif_engine.network import checkpoint
from tests.conftest import tiny_network

from .training import data, log_of, one_thread, run, settings, weights

__all__ = ["data", "one_thread"]  # fixtures

#: What a GPU machine may lack: training must not need it.
NOT_NEEDED = ("pydantic", "starlette", "uvicorn", "imagecodecs", "watchdog", "pillow_heif")


def test_a_session_ends_by_the_clock_and_says_that_it_is_not_finished(data: Path, tmp_path: Path) -> None:
    result = run(settings(data, tmp_path, steps=1_000_000, session_minutes=1e-9))
    assert not result.finished
    assert states(tmp_path) == [result.state]


def test_a_run_that_was_stopped_before_its_first_step_goes_on(data: Path, tmp_path: Path) -> None:
    assert run(settings(data, tmp_path / "halves", session_minutes=1e-9)).steps == 0
    resumed = run(settings(data, tmp_path / "halves"))
    assert weights(resumed.state) == weights(run(settings(data, tmp_path / "straight")).state)


def test_a_run_whose_checkpoint_is_gone_or_has_another_name_leaves_one_again(data: Path, tmp_path: Path) -> None:
    first = run(settings(data, tmp_path, steps=2, rate=1e-9))  # so that nothing later scores higher
    first.model.unlink()
    for name in ("web", "other"):
        assert run(settings(data, tmp_path, steps=3, rate=1e-9, name=name)).model.is_file()


def test_a_time_budget_ends_the_run(data: Path, tmp_path: Path) -> None:
    result = run(settings(data, tmp_path, steps=0, minutes=0.01))
    assert result.finished
    assert result.steps > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minutes": 1.0}, "both are given"),
        ({"steps": 0}, "neither is above 0"),
        ({"steps": -1}, "--steps must be a number of at least 0, not -1"),
        ({"steps": 0, "minutes": math.nan}, "--minutes must be a number"),
        ({"rate": math.nan}, "--rate must be a number"),
        ({"decoder_rate": -1e-4}, "--decoder-rate must be a number of at least 0"),
        ({"seed": -1}, "--seed"),
        ({"threads": -3}, "--threads"),
        ({"workers": -2}, "--workers must be a number of at least -1"),
        ({"validation_pictures": 0}, "validation_pictures"),
        ({"hidden": (8, -8)}, "hidden"),
        ({"name": "../web"}, "name of a file"),
        ({"name": ""}, "name of a file"),
        ({"batch": 0}, "batch"),
        ({"patch": 7}, "patch"),
        ({"rate": 0.0}, "rate"),
        ({"average": 1.0}, "average"),
        ({"teacher_share": 1.5}, "teacher_share"),
        ({"teacher_ways": 9}, "teacher_ways"),
        ({"start": "web", "inherit": "web"}, "scratch"),
        ({"shares": Shares(clean=2)}, "share"),
        ({"optimizer": "sgd"}, "no optimizer .sgd"),
    ],
)
def test_bad_settings_are_refused_in_words(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings(tmp_path, tmp_path, **changes)


def test_what_cannot_work_is_an_error_in_words(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for changes, kind in [
        ({"data": tmp_path / "empty"}, UsageError),
        ({"out": tmp_path / "file"}, OutputError),
        ({"start": "nothing-like-this"}, ModelError),
        ({"teacher": "nothing-like-this"}, ModelError),
    ]:
        places = {"data": data, "out": tmp_path / "run"} | changes
        with pytest.raises(kind) as error:
            run(settings(**places))
        assert error.value.explain()
    with pytest.raises(NonFiniteError):
        run(settings(data, tmp_path / "run2", rate=1e30))


@pytest.mark.skipif(sys.platform == "win32", reason="no run is told of another one there; Linux and macOS do")
def test_a_second_run_in_a_folder_is_told_of_the_first(data: Path, tmp_path: Path) -> None:
    with lab.alone(tmp_path), pytest.raises(OutputError, match="another run is at work"):
        run(settings(data, tmp_path, steps=1))
    assert not states(tmp_path)
    run(settings(data, tmp_path, steps=1))
    assert states(tmp_path)


def test_a_state_of_another_network_is_refused(data: Path, tmp_path: Path) -> None:
    run(settings(data, tmp_path, steps=1))
    with pytest.raises(ModelError, match=r"state-0000001.*of a network with other sizes") as refused:
        run(settings(data, tmp_path, channels=8))
    assert "--out" in refused.value.explain()
    with pytest.raises(ModelError, match="--optimizer muon"):
        run(settings(data, tmp_path, optimizer="adam"))


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the size of files stands for a full disk; Linux has it")
def test_a_full_disk_ends_a_run_in_words_and_leaves_nothing_half_written(data: Path, tmp_path: Path) -> None:
    import resource

    run(settings(data, tmp_path, steps=1))
    before = sorted(path.name for path in tmp_path.iterdir())
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    progress = Progress(step=2)
    model = tiny_network()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(OutputError, match="state-0000002: the run's state cannot be written"):
            save_state(tmp_path, progress, model, tiny_network(), torch.optim.Adam(model.parameters()), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, told)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_run_that_ends_while_it_saves_the_same_step_again_has_a_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    model = tiny_network()
    optimizer = torch.optim.Adam(model.parameters())
    if not exchanges:
        monkeypatch.setattr(state, "exchange", lambda *_: False)

    def ends_after(count: int) -> bool:
        """Whether saving made as many as `count` changes of the folder; there it ended."""
        made: list[None] = []

        def counted(change: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                done = change(*arguments, **options)
                made.append(None)
                if len(made) == count:
                    raise KeyboardInterrupt
                return done

            return call

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(state.shutil, "rmtree", counted(shutil.rmtree))
            patch.setattr(state, "exchange", counted(state.exchange))
            patch.setattr(Path, "replace", counted(Path.replace))
            save_state(tmp_path, Progress(step=3), model, tiny_network(), optimizer, {})
        return len(made) == count

    save_state(tmp_path, Progress(step=3), model, tiny_network(), optimizer, {})
    count = 1
    while ends_after(count):
        assert load_state(states(tmp_path)[-1], model, tiny_network(), optimizer).step == 3
        count += 1
    assert count > 2
    assert [path.name for path in tmp_path.iterdir()] == ["state-0000003"]


def test_the_command_line_gives_the_settings_and_back(tmp_path: Path) -> None:
    words = "--data a b --minutes 9 --from web --hidden 32,16 --compile --shares clean=0.5,webp=0"
    chosen = parse(words.split())
    assert chosen.data == (Path("a"), Path("b"))
    assert (chosen.start, chosen.hidden, chosen.compile) == ("web", (32, 16), True)
    assert (chosen.shares.clean, chosen.shares.webp, chosen.shares.twice) == (0.5, 0.0, Shares().twice)
    assert parse(command(chosen).split()[3:]) == chosen
    assert str(tmp_path) not in command(parse(["--data", str(tmp_path / "x"), "--steps", "1", "--out", str(tmp_path)]))


def child(data: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    """A run in a process of its own, where what a GPU machine may lack cannot be imported."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({NOT_NEEDED!r}))\n"  # None there makes an import fail
        "from liif_engine.lab.train import main\n"
        "main()\n"
    )
    small = "--from scratch --channels 6 --blocks 1 --hidden 10,8 --batch 2 --patch 16 --queries 24 --device cpu"
    small += " --validation-pictures 2 --threads 1 --log-steps 1 --precision fp32"
    arguments = ["--data", str(data), "--out", str(out), *small.split(), *words]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_training_needs_no_library_of_the_service(data: Path, tmp_path: Path) -> None:
    done = child(data, tmp_path, "--steps", "2", "--workers", "1")
    out, err = done.communicate(timeout=100)
    assert done.returncode == 0, err
    assert json.loads(out)["steps"] == 2


def test_a_wrong_call_ends_in_words_and_an_exit_code(tmp_path: Path) -> None:
    done = child(tmp_path, tmp_path / "run", "--steps", "2")
    _, err = done.communicate(timeout=100)
    assert done.returncode == UsageError.exit_code
    assert "Traceback" not in err
    assert "of 0 pictures in" in err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--shares", "foo", "shares like clean=0.2"),
        ("--shares", "clean=x", "of unscaled"),
        ("--hidden", "a,b", "64,64"),
    ],
)
def test_a_list_that_is_none_is_told_without_names_of_functions(
    option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--data", "pictures", "--steps", "1", option, value])
    said = " ".join(capsys.readouterr().err.split())
    assert words in said
    assert "invalid _" not in said


def test_a_killed_run_leaves_a_state_and_a_checkpoint_that_load(data: Path, tmp_path: Path) -> None:
    words = ("--steps", "1000000", "--save-minutes", "1e-9", "--validate-minutes", "1e-9", "--workers", "0")
    killed = child(data, tmp_path, *words)
    deadline = time.monotonic() + 90
    while not states(tmp_path) or int(states(tmp_path)[-1].name[6:]) < 3:
        assert killed.poll() is None, killed.stderr and killed.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    step = int(states(tmp_path)[-1].name[6:])
    checkpoint.load(tmp_path / "web.safetensors")
    (tmp_path / ".state-0000001.part").mkdir()  # as if killed while saving
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": step + 1, "loss": 9.0}) + '\n{"step": 1, "lo')
    resumed = run(settings(data, tmp_path, steps=step + 2))
    assert resumed.steps == step + 2
    steps = [entry["step"] for entry in log_of(tmp_path) if "loss" in entry]
    assert steps[-3:] == [step, step + 1, step + 2]
    assert not list(tmp_path.glob(".state-*"))
