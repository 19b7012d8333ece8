"""Where ``liif restore`` puts the results of files that are named, how large they are, and what it never replaces."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from liif_engine.errors import ExitCode

from .calling import jpeg, liif, model, names, size

__all__ = ["liif", "model"]  # fixtures


def test_a_picture_is_restored_beside_itself(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    old = jpeg(tmp_path / "old.jpg")
    before = old.read_bytes()
    code, out, _ = liif("restore", old)
    assert code == 0
    assert size(tmp_path / "old@2x.jpg") == (40, 24)
    assert names(tmp_path) == {"old.jpg", "old@2x.jpg"}
    assert old.read_bytes() == before
    assert "old@2x.jpg" in out
    assert "20x12 -> 40x24" in out


@pytest.mark.parametrize(
    ("options", "expected", "name"),
    [
        (("--scale", "2.37"), (47, 28), "old@2.37x.jpg"),
        (("--scale", "1"), (20, 12), "old@1x.jpg"),
        (("--size", "50x36"), (50, 36), "old@50x36.jpg"),
        (("--long-edge", "60"), (60, 36), "old@60x36.jpg"),
        (("--megapixels", "0.00096"), (40, 24), "old@40x24.jpg"),
    ],
)
def test_sizes(
    liif: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    options: tuple[str, ...],
    expected: tuple[int, int],
    name: str,
) -> None:
    old = jpeg(tmp_path / "old.jpg")
    code, _, _ = liif("restore", old, *options)
    assert code == 0
    assert size(tmp_path / name) == expected


def test_out_names_a_file_whose_suffix_sets_the_format(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    old = jpeg(tmp_path / "old.jpg")
    assert liif("restore", old, "--out", tmp_path / "new.png")[0] == 0
    with Image.open(tmp_path / "new.png") as image:
        assert (image.format, image.size) == ("PNG", (40, 24))


def test_format_names_the_format_and_the_suffix(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    olds = [jpeg(tmp_path / f"{n}.jpg") for n in "ab"]
    assert liif("restore", *olds, "--format", "png", "--out", tmp_path / "done")[0] == 0
    assert names(tmp_path / "done") == {"a@2x.png", "b@2x.png"}
    with Image.open(tmp_path / "done" / "a@2x.png") as image:
        assert image.format == "PNG"
    assert "b@2x.jpg" in liif("restore", olds[1], "--format", ".JPEG", "--dry-run")[1]
    assert "c.webp" in liif("restore", olds[1], "--format", "webp", "--out", tmp_path / "c.webp", "--dry-run")[1]
    for wrong, words in (("xyz", "no format"), ("png", "c.webp: is no name of a PNG file")):
        code, _, err = liif("restore", olds[0], "--format", wrong, "--out", tmp_path / "c.webp")
        assert code == ExitCode.USAGE
        assert words in err
    code, _, err = liif("restore", tmp_path, "--format", "png", "--out", tmp_path / "larger")
    assert (code, "--format is for files" in err) == (ExitCode.USAGE, True)


def test_out_names_a_folder_for_several(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    olds = [jpeg(tmp_path / f"{n}.jpg") for n in "ab"]
    code, _, err = liif("restore", *olds, "--out", tmp_path / "done")
    assert code == 0
    assert names(tmp_path / "done") == {"a@2x.jpg", "b@2x.jpg"}
    assert "2 of 2 restored" in err


def test_the_sign_for_standard_output_is_no_folder(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jpeg(tmp_path / "old.jpg")
    (tmp_path / "many").mkdir()
    monkeypatch.chdir(tmp_path)
    for source in ("old.jpg", "many"):
        code, _, err = liif("restore", source, "--out", "-")
        assert code == ExitCode.USAGE
        assert "not written to standard output" in " ".join(err.split())
    assert names(tmp_path) == {"old.jpg", "many"}


def test_a_name_without_a_suffix_is_a_folder(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    assert liif("restore", jpeg(tmp_path / "a.jpg"), "--out", tmp_path / "done")[0] == 0
    assert names(tmp_path / "done") == {"a@2x.jpg"}


def test_a_folder_that_cannot_be_made_is_a_failure_to_write(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    old = jpeg(tmp_path / "a.jpg")
    code, _, err = liif("restore", old, "--out", old / "done")
    assert code == ExitCode.OUTPUT
    assert "cannot make the folder" in err


def test_nothing_existing_is_replaced_unless_asked(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    old, taken = jpeg(tmp_path / "old.jpg"), tmp_path / "old@2x.jpg"
    taken.write_bytes(b"precious")
    code, _, err = liif("restore", old)
    assert code == ExitCode.OUTPUT
    assert taken.read_bytes() == b"precious"
    assert "old@2x.jpg" in err
    assert "--overwrite" in err
    assert liif("restore", old, "--overwrite")[0] == 0
    assert size(taken) == (40, 24)


def test_the_original_is_never_the_destination(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    old = jpeg(tmp_path / "old.jpg")
    before = old.read_bytes()
    code, _, err = liif("restore", old, "--out", old, "--overwrite")
    assert code == ExitCode.USAGE
    assert "original" in err
    assert old.read_bytes() == before


def test_a_folder_that_is_not_there_is_said_before_any_work(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, _, err = liif("restore", jpeg(tmp_path / "a.jpg"), "--out", tmp_path / "no" / "new.png", "--dry-run")
    assert code == ExitCode.OUTPUT
    assert "Make the folder first" in err


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_links_that_lead_in_a_circle_are_no_folder_for_results(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "old").mkdir()
    jpeg(tmp_path / "old" / "a.jpg")
    out = tmp_path / "circle"
    out.symlink_to(out)
    code, _, err = liif("restore", tmp_path / "old", "--out", out, *options)
    assert code == (0 if options else ExitCode.OUTPUT)
    assert "unexpected" not in err


def test_a_folder_that_goes_while_the_arguments_are_read_is_told_of(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [True]
    monkeypatch.setattr("liif_engine.plan.is_folder", lambda _: bool(answers) and answers.pop())
    code, _, err = liif("restore", tmp_path / "gone", "--out", tmp_path / "new")
    assert code == ExitCode.USAGE
    assert "there is no such folder" in err


def test_a_folder_that_cannot_be_asked_for_is_told_of_in_words(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, ask = jpeg(tmp_path / "old.jpg"), Path.is_dir

    def fail(path: Path) -> bool:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return ask(path)

    monkeypatch.setattr(Path, "is_dir", fail)
    code, _, err = liif("restore", old)
    assert code == ExitCode.OUTPUT
    assert "cannot be written (Permission denied)" in err


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o644, 0o644), (0o440, 0o640), (0o755, 0o644)])
def test_nobody_reads_a_result_who_may_not_read_its_original(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, mode: int, expected: int
) -> None:
    old = jpeg(tmp_path / "old.jpg")
    old.chmod(mode)
    before = os.umask(0o022)
    try:
        assert liif("restore", old)[0] == 0
    finally:
        os.umask(before)
    assert (tmp_path / "old@2x.jpg").stat().st_mode & 0o777 == expected


def test_a_folder_that_may_not_be_written_to_is_said_before_any_work(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the system's answer is made up."""
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (tmp_path, os.W_OK))
    code, _, err = liif("restore", jpeg(tmp_path / "old.jpg"), "--dry-run")
    assert code == ExitCode.OUTPUT
    assert "old@2x.jpg: cannot be written: its folder is closed to you" in err


def test_two_files_never_write_one_result(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
    olds = [jpeg(tmp_path / folder / "old.jpg") for folder in "ab"]
    code, _, err = liif("restore", *olds, "--out", tmp_path / "done")
    assert code == ExitCode.USAGE
    assert names(tmp_path / "done") == {"old@2x.jpg"}
    assert str(olds[1]) in err


def test_several_pictures_do_not_fit_one_file(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    olds = [jpeg(tmp_path / f"{n}.jpg") for n in "ab"]
    code, _, err = liif("restore", *olds, "--out", tmp_path / "two.png")
    assert code == ExitCode.USAGE
    assert "2 pictures" in err
    assert names(tmp_path) == {"a.jpg", "b.jpg"}


def test_a_file_in_the_place_of_a_folder_is_said_before_any_work(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    old = jpeg(tmp_path / "old.jpg")
    (tmp_path / "done").touch()
    code, _, err = liif("restore", old, "--dry-run", "--out", tmp_path / "done")
    assert code == ExitCode.USAGE
    assert "done: is no folder" in err


@pytest.mark.parametrize("name", ["old", "old.jpg.", ".jpg"])
def test_a_name_without_a_suffix_keeps_its_format(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path, name: str
) -> None:
    code, out, err = liif("restore", jpeg(tmp_path / name), "--scale", "2.5")
    assert (code, err) == (0, "")
    with Image.open(tmp_path / f"{name}@2.5x") as image:
        assert (image.format, image.size) == ("JPEG", (50, 30))
    assert "stretched" not in out


def test_other_proportions_are_told(liif: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    old = jpeg(tmp_path / "old.jpg")
    assert "20x12 -> 50x36, stretched" in liif("restore", old, "--dry-run", "--size", "50x36")[1]
    assert "stretched" not in liif("restore", old, "--dry-run", "--size", "51x30")[1]
    assert "stretched" not in liif("restore", old, "--dry-run", "--long-edge", "33")[1]


def test_a_result_too_large_for_its_format_is_refused_before_any_work(
    liif: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    old = jpeg(tmp_path / "old.jpg", width=700, height=2)
    code, _, err = liif("restore", old, "--scale", "100")
    assert code != 0
    assert "65,5" in err
    assert names(tmp_path) == {"old.jpg"}
