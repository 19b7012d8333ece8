"""What a training run learns, bit for bit the same after a pause: from data, from a teacher; its log and its card."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from liif_engine.lab import train as lab
from liif_engine.lab.card import sources
from liif_engine.lab.state import states
from liif_engine.network import checkpoint
from liif_engine.network.card import read_card

from .training import data, log_of, one_thread, run, settings, start, weights

__all__ = ["data", "one_thread", "start"]  # fixtures


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


def test_the_rate_rises_then_falls_to_almost_nothing() -> None:
    rates = [lab.rate_factor(step / 100, step, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) > 0.95
    assert rates.index(max(rates)) == 9
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] == pytest.approx(lab.FINAL_RATE)
    assert math.isclose(lab.rate_factor(5.0, 10_000, 10), lab.FINAL_RATE)
