"""The ``liif`` command as a person or a script meets it: bad files, settings, words."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from liif_engine.errors import ExitCode
from liif_engine.picture.image_file import read_marker
from tests.conftest import close_config, picture

from .calling import jpeg, liif, model, names

__all__ = ["liif", "model"]  # fixtures


def test_a_configuration_that_may_not_be_read_is_no_wrong_option(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").touch()
    close_config(monkeypatch)
    code, _, err = liif("restore", jpeg(tmp_path / "a.jpg"), "--config", tmp_path / "config.yaml")
    assert code == ExitCode.CONFIG
    assert "cannot read it (Permission denied)" in " ".join(err.split())


def test_one_bad_file_does_not_stop_the_rest(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    good = [jpeg(tmp_path / f"{n}.jpg") for n in "ab"]
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"this is no picture")
    code, out, err = liif("restore", good[0], bad, tmp_path / "missing.jpg", good[1])
    assert code == ExitCode.INPUT
    assert {"a@2x.jpg", "b@2x.jpg"} <= names(tmp_path)
    assert str(bad) in err
    assert "missing.jpg" in err
    assert "2 of 4 restored, 2 failed" in err
    assert out.count("->") == 4  # a line per restored file, each with files and sizes


def test_one_file_that_may_not_be_read_does_not_stop_the_rest(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the system's answers are made up."""
    good, locked = jpeg(tmp_path / "a.jpg"), jpeg(tmp_path / "locked.jpg")
    access, opened = os.access, io.open

    def refuse(path: Any, *rest: Any, **more: Any) -> Any:
        if path == locked or path == str(locked):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "access", lambda path, *rest: str(path) != str(locked) and access(path, *rest))
    monkeypatch.setattr("io.open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    code, _, err = liif("restore", locked, good)
    assert code == ExitCode.INPUT
    assert f"{locked}: may not be read" in err
    assert "a@2x.jpg" in names(tmp_path)


def test_a_name_that_the_system_refuses_is_one_bad_file_and_no_fault(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    good, no_name = jpeg(tmp_path / "a.jpg"), tmp_path / f"{'n' * 300}.jpg"
    code, out, err = liif("restore", no_name, good, "--dry-run")
    assert code == ExitCode.INPUT
    assert "a@2x.jpg" in out + err
    code, _, err = liif("restore", good, "--out", no_name, "--dry-run")
    assert code == ExitCode.OUTPUT
    assert "too long" in err
    assert "fault" not in err


def test_a_name_that_no_file_can_have_does_not_stop_the_rest(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    good, long = jpeg(tmp_path / "a.jpg"), jpeg(tmp_path / f"{'n' * 251}.jpg")
    code, _, err = liif("restore", long, good)
    assert code == ExitCode.OUTPUT
    assert "too long" in err
    assert "a@2x.jpg" in names(tmp_path)


def test_names_neither_break_lines_nor_steer_the_terminal(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    old = jpeg(tmp_path / "a\x1b[31m\nb.jpg")
    _, out, err = liif("restore", old, tmp_path / "missing\n.jpg")
    assert "\x1b" not in out + err
    assert len(out.splitlines()) == 1
    assert "a\\x1b[31m\\nb@2x.jpg" in out


def test_different_failures_end_with_their_own_code(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    old = jpeg(tmp_path / "old.jpg")
    (tmp_path / "old@2x.jpg").touch()
    assert liif("restore", old, tmp_path / "missing.jpg")[0] == ExitCode.SEVERAL


def test_a_fault_in_one_file_does_not_stop_the_rest(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liif_engine import file as picture_file

    olds = [jpeg(tmp_path / f"{n}.jpg") for n in "ab"]
    compute = picture_file.compute

    def faulty(engine, planned, *rest, **more):  # type: ignore[no-untyped-def]
        if planned.source == olds[0]:
            raise ZeroDivisionError("division by zero")
        return compute(engine, planned, *rest, **more)

    monkeypatch.setattr(picture_file, "compute", faulty)
    code, _, err = liif("restore", *olds)
    assert code == ExitCode.ENGINE
    assert f"{olds[0]}: unexpected ZeroDivisionError" in err
    assert "b@2x.jpg" in names(tmp_path)


def test_json_is_all_there_is_on_stdout(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    old = jpeg(tmp_path / "old.jpg")
    code, out, _ = liif("restore", old, tmp_path / "missing.jpg", "--json")
    assert code == ExitCode.INPUT
    failed, restored = json.loads(out)
    assert (restored["status"], restored["out_width"], restored["out_height"]) == ("restored", 40, 24)
    assert restored["destination"] == str(tmp_path / "old@2x.jpg")
    assert (failed["status"], failed["exit_code"]) == ("failed", ExitCode.INPUT)
    assert failed["remedy"]


@pytest.mark.parametrize(
    ("options", "exit_code"),
    [
        (("--model", "missing"), ExitCode.MODEL),
        (("--device", "cuda:99"), ExitCode.DEVICE),
        (("--scale", "0.5"), ExitCode.USAGE),
        (("--config", "missing.yaml"), ExitCode.CONFIG),
        (("--out", "one.jpg"), ExitCode.USAGE),
        (("--out", "a.jpg/below"), ExitCode.OUTPUT),
    ],
)
def test_json_names_each_file_also_where_the_whole_run_fails(
    liif: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, str],
    exit_code: ExitCode,
) -> None:
    monkeypatch.chdir(tmp_path)
    olds = [jpeg(Path(name)) for name in ("a.jpg", "b.jpg")]
    code, out, err = liif("restore", *olds, "--json", *options)
    assert code == exit_code
    rows = json.loads(out)
    assert [(row["source"], row["status"], row["exit_code"]) for row in rows] == [
        (str(old), "failed", exit_code) for old in olds
    ]
    assert " ".join(err.split()).count(rows[0]["error"]) == 1


def test_json_keeps_what_was_done_before_the_whole_run_failed(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    old, done = jpeg(tmp_path / "a.jpg"), jpeg(tmp_path / "done.jpg")
    (tmp_path / "done@2x.jpg").touch()
    code, out, _ = liif("restore", done, old, "--json", "--device", "cuda:99")
    assert code == ExitCode.DEVICE
    assert [row["exit_code"] for row in json.loads(out)] == [ExitCode.OUTPUT, ExitCode.DEVICE]


@pytest.mark.parametrize(
    ("options", "exit_code"),
    [
        (("--model", "missing"), ExitCode.MODEL),
        (("--device", "cuda:99"), ExitCode.DEVICE),
        (("--out", "olds/a.jpg"), ExitCode.OUTPUT),
        (("--format", "png"), ExitCode.USAGE),
    ],
)
def test_json_of_a_folder_says_what_ended_the_run(
    liif: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, str],
    exit_code: ExitCode,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("olds").mkdir()
    jpeg(Path("olds", "a.jpg"))
    code, out, err = liif("restore", "olds", "--json", "--out", "new", *options)
    assert code == exit_code
    summary = json.loads(out)
    assert (summary["restored"], summary["failed"], summary["exit_code"]) == (0, 0, exit_code)
    assert summary["error"] in " ".join(err.split())


def test_dry_run_says_and_does_nothing(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    old = jpeg(tmp_path / "old.jpg")
    code, out, _ = liif("restore", old, "--dry-run", "--scale", "3")
    assert code == 0
    assert "20x12 -> 60x36" in out
    assert names(tmp_path) == {"old.jpg"}
    code, out, _ = liif("restore", old, "--dry-run", "--out", tmp_path / "done")
    assert code == 0
    assert f"{tmp_path / 'done' / 'old@2x.jpg'}" in out
    assert names(tmp_path) == {"old.jpg"}
    more = [jpeg(tmp_path / f"{number}.jpg") for number in range(2)]
    assert "2 of 2 would be restored" in liif("restore", *more, "--dry-run")[2]


def test_a_file_that_is_named_twice_is_restored_once(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    old = jpeg(tmp_path / "old.jpg")
    (tmp_path / "sub").mkdir()
    code, out, err = liif("restore", "old.jpg", old, "./old.jpg", "sub/../old.jpg", "--out", "new.jpg")
    assert (code, err) == (0, "")
    assert out.startswith("old.jpg -> new.jpg")
    assert out.count("->") == 2  # names and sizes


def test_a_result_that_is_named_again_is_restored_again_but_not_in_silence(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    old = jpeg(tmp_path / "old.jpg")
    assert "once more" not in liif("restore", old)[2]
    code, _, err = liif("restore", tmp_path / "old@2x.jpg")
    assert code == 0
    # In one line, however long it is.
    assert f"{tmp_path / 'old@2x.jpg'} is a result of liif-restore already, and is restored once more" in err
    assert liif("restore", tmp_path / "old@2x.jpg", "--overwrite", "--again")[::2] == (0, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--scale", "0.5"), "at least 1"),
        (("--scale", "nan"), "at least 1"),
        (("--scale", "2", "--long-edge", "100"), "--scale and --long-edge each say"),
        (("--size", "big"), "WIDTHxHEIGHT"),
        (("--quality", "0"), "quality"),
        (("--nonsense",), "nonsense"),
        (("--precision", "fp8"), "fp8"),
        (("--device", "quantum"), "quantum"),
        (("--model", "no-such-model"), "liif models"),
        (("--config", "/no/such/config.yaml"), "config.yaml"),
    ],
)
def test_wrong_orders_are_answered_in_words(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    old = jpeg(tmp_path / "old.jpg")
    code, _, err = liif("restore", old, *options)
    assert code not in {0, ExitCode.SEVERAL}
    assert words in err
    assert names(tmp_path) == {"old.jpg"}


def test_settings_come_from_the_file_and_the_command_line_wins(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, model: Path
) -> None:
    old = jpeg(tmp_path / "old.jpg", 64, 64)
    config = tmp_path / "config.yaml"
    config.write_text(f"engine:\n  model: {model}\n  quality: 10\n")
    assert liif("restore", old, "--config", config, "--out", tmp_path / "low.jpg")[0] == 0
    assert liif("restore", old, "--config", config, "--quality", "95", "--out", tmp_path / "high.jpg")[0] == 0
    assert (tmp_path / "low.jpg").stat().st_size * 2 < (tmp_path / "high.jpg").stat().st_size


def test_a_self_ensemble_says_so_in_its_result(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, model: Path
) -> None:
    old = jpeg(tmp_path / "old.jpg")
    answers = {}
    for name in (str(model), f"{model}+"):
        out = tmp_path / f"{len(answers)}.png"
        assert liif("restore", old, "--model", name, "--out", out)[0] == 0
        answers[name] = out.read_bytes()
        marker = read_marker(out)
        assert marker is not None
        assert marker.model == ("tiny+" if name.endswith("+") else "tiny")
    assert len(set(answers.values())) == 2


def test_models_are_listed_with_what_they_are_for(liif: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = liif("models")
    assert code == 0
    for word in ("published", "web", "2012.09161", "github.com/yinboc/liif", "trained for"):
        assert word in out
    cards = {card["name"]: card for card in json.loads(liif("models", "--json")[1])}
    original = "1cf77e16f33ee17bd04049f497eaea1e06f25585dbb1919e4c7cd1d9d4d23d57"
    assert original in cards["published"].values()


def test_the_list_of_models_fits_the_terminal(
    liif: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, liif("models")[1].splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "30")
    words = liif("models")[1].split()
    assert sum(len(word.strip(",.")) == 64 for word in words) > 1, "hashes are whole"


def test_evaluate_prints_only_a_list(liif: Callable[..., tuple[int, str, str]], tmp_path: Path, model: Path) -> None:
    (tmp_path / "truth").mkdir()
    Image.fromarray(picture(24, 24)).save(tmp_path / "truth" / "one.png")
    common = ("evaluate", "--images", tmp_path / "truth", "--scale", "2", "--model", model, "--json")
    rows = json.loads(liif(*common, "--jpeg-quality", "10", "--jpeg-quality", "40")[1])
    assert [row["quality"] for row in rows] == [10, 40]
    assert set(rows[0]) == {"quality", "psnr_y", "psnr_rgb", "ssim", "psnr_b", "images"}
    assert json.loads(liif(*common)[1])[0]["quality"] is None


def test_auto_is_the_default_and_says_which_model_and_why(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    old = jpeg(tmp_path / "old.jpg", 48, 48, quality=30)
    code, out, err = liif("restore", old, "--model", "auto", "--verbose", "--scale", "1")
    assert code == 0
    assert "web" in out
    assert "JPEG quality 30" in err


def test_a_worker_names_the_file_in_its_log(tmp_path: Path) -> None:
    old = jpeg(tmp_path / "old.jpg")
    command = [sys.executable, "-m", "liif_engine", "restore", str(old), "--model", "fast", "--workers", "1", "-v"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^liif: {re.escape(str(old))}: \d+x\d+ by fast", done.stderr, re.M), done.stderr
