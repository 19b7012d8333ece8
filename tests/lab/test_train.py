"""A training run from beginning to end, interrupted, resumed, killed; on a network of a few hundred weights."""

from __future__ import annotations

import io
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from liif_engine.errors import ModelError, NonFiniteError, OutputError, UsageError
from liif_engine.lab import train as lab
from liif_engine.lab.card import sources
from liif_engine.lab.degrade import Shares
from liif_engine.lab.pairs import is_held_out
from liif_engine.lab.settings import TrainSettings, command, parse
from liif_engine.lab.state import Progress, save_state, states
from liif_engine.network import checkpoint
from liif_engine.network.card import read_card
from tests.conftest import tiny_network
from tests.picture.photograph import photograph

#: What a GPU machine may lack: training must not need it.
NOT_NEEDED = ("pydantic", "starlette", "uvicorn", "imagecodecs", "watchdog", "pillow_heif")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    names = [f"photo{number}.png" for number in range(60)]
    held_out, others = [n for n in names if is_held_out(n)][:2], [n for n in names if not is_held_out(n)][:3]
    for number, name in enumerate([*held_out, *others]):
        Image.fromarray(photograph(200, 200, seed=number)).save(folder / name)
    rows = ["file\tsource\tlicence", *(f"{name}\ta camera\tCC0" for name in [*held_out, *others])]
    (folder / "index.tsv").write_text("\n".join(rows))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # a tiny network is no faster on two, and sums in one order on one
    yield
    torch.set_num_threads(before)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    checkpoint.save(tiny_network(), path, {})
    return path


def settings(data: Path, out: Path, **changes: Any) -> TrainSettings:
    usual: dict[str, Any] = {"steps": 8, "batch": 2, "patch": 16, "queries": 24, "warm_up": 2, "log_steps": 1}
    usual |= {"start": "scratch", "channels": 6, "blocks": 1, "hidden": (10, 8), "validation_pictures": 2}
    usual |= {"device": "cpu", "precision": "fp32", "validate_minutes": 0, "rate": 1e-3}
    return TrainSettings(data=(data,), out=out, **usual | changes)


def run(chosen: TrainSettings) -> lab.TrainResult:
    return lab.train(chosen, Console(file=io.StringIO(), width=200))


def weights(state: Path) -> dict[str, bytes]:
    return {
        f"{file} {key}": value.numpy().tobytes()
        for file in ("weights", "moments")
        for key, value in load_file(state / f"{file}.safetensors").items()
    }


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `count` batches through, then interrupts as Ctrl+C would."""
    whole = lab.batches

    def some(*arguments: Any) -> Iterator[Any]:
        stream = whole(*arguments)
        for _ in range(count):
            yield next(stream)
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "batches", some)


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_four_steps_and_four_more_are_eight_bit_for_bit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    wide: dict[str, Any] = {"optimizer": optimizer, "channels": 32, "hidden": (40, 36)}
    straight = run(settings(data, tmp_path / "straight", **wide))
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        with pytest.raises(KeyboardInterrupt):
            run(settings(data, tmp_path / "halves", save_minutes=1e-9, **wide))
    halves = states(tmp_path / "halves")
    assert [state.name for state in halves] == ["state-0000004"]
    resumed = run(settings(data, tmp_path / "halves", **wide))
    assert resumed.steps == straight.steps == 8
    assert resumed.finished
    assert weights(resumed.state) == weights(straight.state)
    assert resumed.scores == straight.scores
    losses = [
        [entry["loss"] for entry in log_of(tmp_path / name) if "loss" in entry] for name in ("straight", "halves")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 8


def test_workers_change_nothing(data: Path, tmp_path: Path) -> None:
    here = run(settings(data, tmp_path / "here", steps=3, workers=0))
    there = run(settings(data, tmp_path / "there", steps=3, workers=2))
    assert weights(here.state) == weights(there.state)


def test_another_seed_gives_other_weights(data: Path, tmp_path: Path, start: Path) -> None:
    first, second = (run(settings(data, tmp_path / str(seed), steps=1, seed=seed, start=str(start))) for seed in (0, 1))
    assert weights(first.state) != weights(second.state)


def test_training_lowers_the_loss_and_the_log_and_the_plot_show_it(data: Path, tmp_path: Path) -> None:
    result = run(settings(data, tmp_path, steps=60, batch=4, rate=3e-3, log_steps=10))
    log = log_of(tmp_path)
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.85 * losses[0]
    assert [entry["step"] for entry in log if "loss" in entry] == [10, 20, 30, 40, 50, 60]
    rates = [entry["rate"] for entry in log if "rate" in entry]
    assert rates == sorted(rates, reverse=True)
    assert all(entry["pairs_per_second"] > 0 for entry in log if "loss" in entry)
    assert result.scores["mean"] > result.start_scores["mean"]
    with Image.open(tmp_path / "loss.png") as plot:
        assert min(plot.size) > 300
        assert len(plot.convert("RGB").getcolors(1 << 20) or []) > 3


def test_what_is_shipped_is_the_average_and_only_if_it_scores_higher(data: Path, tmp_path: Path, start: Path) -> None:
    last = run(settings(data, tmp_path / "last", steps=3, average=0.0, start=str(start)))
    state = load_file(last.state / "weights.safetensors")
    for key in [key[6:] for key in state if key.startswith("model.")]:
        assert torch.equal(state[f"model.{key}"], state[f"average.{key}"])
    slow = load_file(run(settings(data, tmp_path / "slow", steps=3, start=str(start))).state / "weights.safetensors")
    assert any(not torch.equal(slow[f"model.{key[8:]}"], slow[key]) for key in slow if key.startswith("average."))

    ruined = run(settings(data, tmp_path / "ruined", steps=6, rate=3.0, average=0.0, start=str(start)))
    assert ruined.scores == ruined.start_scores
    kept, given = checkpoint.load(ruined.model).state_dict(), checkpoint.load(start).state_dict()
    assert all(torch.equal(kept[key], given[key]) for key in given)


def test_data_sets_with_pictures_of_the_same_name_are_all_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        rows = "file\tsource\tlicence", f"0001.png\tset {name}\tCC0"
        (tmp_path / name / "index.tsv").write_text("\n".join(rows))
    folders = [tmp_path / "one", tmp_path / "two"]
    assert sources(folders, ["0001.png", "0001.png"]) == ["set one (1; CC0)", "set two (1; CC0)"]


def test_the_card_says_where_the_model_comes_from(data: Path, tmp_path: Path, start: Path) -> None:
    result = run(settings(data, tmp_path / "run", steps=2, start=str(start), name="mine"))
    assert result.model.name == "mine.safetensors"
    card = read_card(result.model).card
    assert card["started_from"] == f"start.safetensors, sha256 {checkpoint.sha256_of(start)}"
    assert "seed 0" in card["training"]
    assert card["data"] == "3 pictures: a camera (3; CC0)"
    assert str(tmp_path) not in json.dumps(dict(card))
    assert "x1 q10" in card["validation"]
    assert "PSNR" in card["trained_for"]
    assert card["license"] == "BSD-3-Clause"


def test_a_teacher_pulls_the_answers_towards_its_own(data: Path, tmp_path: Path, start: Path) -> None:
    losses = {}
    for share in (0.0, 1.0):
        out = tmp_path / str(share)
        result = run(
            settings(data, out, steps=30, start=str(start), teacher=str(start), teacher_share=share, rate=1e-4)
        )
        losses[share] = log_of(out)[1]["loss"]
        assert "weight" in read_card(result.model).card["teacher"]
    # The student is its own teacher: nothing to learn from it, much from the truth.
    assert losses[1.0] == pytest.approx(0, abs=1e-6)
    assert losses[0.0] > 0.01


def test_a_model_can_learn_from_its_own_self_ensemble(data: Path, tmp_path: Path, start: Path) -> None:
    own: dict[str, Any] = {"start": str(start), "teacher": f"{start}+", "teacher_share": 1.0, "rate": 1e-4}
    result = run(settings(data, tmp_path / "run", steps=3, **own))
    assert log_of(tmp_path / "run")[1]["loss"] > 1e-5  # the ways differ, and that is all there is to learn
    assert "start.safetensors+ asked in 2 ways" in read_card(result.model).card["teacher"]


def test_a_smaller_network_can_learn_from_a_larger_teacher(data: Path, tmp_path: Path, start: Path) -> None:
    result = run(settings(data, tmp_path / "run", steps=2, hidden=(6, 4), teacher=str(start), name="fast"))
    assert checkpoint.load(result.model).hidden == (6, 4)


def test_a_held_encoder_stays_as_inherited_while_the_decoder_learns_to_read_it(
    data: Path, tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student: dict[str, Any] = {"inherit": str(start), "hidden": (6, 4), "channels": 8, "hold_encoder": 4}
    student |= {"decoder_rate": 1e-2}
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(KeyboardInterrupt):
            run(settings(data, tmp_path / "run", save_minutes=1e-9, **student))
    held, given = load_file(states(tmp_path / "run")[-1] / "weights.safetensors"), checkpoint.load(start).state_dict()
    assert all(torch.equal(held[f"model.{key}"], given[key]) for key in given if key.startswith("encoder."))
    assert not torch.equal(held["model.imnet.layers.2.weight"], given["imnet.layers.2.weight"])

    resumed = run(settings(data, tmp_path / "run", **student))
    freed = load_file(resumed.state / "weights.safetensors")
    assert all(not torch.equal(freed[f"model.{key}"], given[key]) for key in given if key.startswith("encoder."))
    assert weights(resumed.state) == weights(run(settings(data, tmp_path / "straight", **student)).state)
    assert read_card(resumed.model).card["started_from"].startswith("a part of start.safetensors, sha256 ")


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


def test_the_command_line_gives_the_settings_and_back(tmp_path: Path) -> None:
    words = "--data a b --minutes 9 --from web --hidden 32,16 --compile --shares clean=0.5,webp=0"
    chosen = parse(words.split())
    assert chosen.data == (Path("a"), Path("b"))
    assert (chosen.start, chosen.hidden, chosen.compile) == ("web", (32, 16), True)
    assert (chosen.shares.clean, chosen.shares.webp, chosen.shares.twice) == (0.5, 0.0, Shares().twice)
    assert parse(command(chosen).split()[3:]) == chosen
    assert str(tmp_path) not in command(parse(["--data", str(tmp_path / "x"), "--steps", "1", "--out", str(tmp_path)]))


def test_the_rate_rises_then_falls_to_almost_nothing() -> None:
    rates = [lab.rate_factor(step / 100, step, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) > 0.95
    assert rates.index(max(rates)) == 9
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] == pytest.approx(lab.FINAL_RATE)
    assert math.isclose(lab.rate_factor(5.0, 10_000, 10), lab.FINAL_RATE)


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
