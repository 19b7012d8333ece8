"""`liif explain` as people and programs meet it: the page, the JSON, the lines of progress, and every refusal."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from liif_engine import cli, terminal
from liif_engine.lab import explain_command
from liif_engine.lab.explain_command import parse_place
from liif_engine.network import checkpoint

from ..conftest import tiny_network
from ..picture.photograph import photograph


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    checkpoint.save(tiny_network(), path, {})
    return path


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "old <b>&amp; \"'.jpg"  # a name that a page must not take for markup
    Image.fromarray(photograph(48, 56)).save(path, quality=25)
    return path


@pytest.fixture
def run(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `liif explain` in this process; (exit code, stdout, stderr)."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["liif", "explain", *map(str, words), "--model", str(model)])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, before)
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return call


class Page(HTMLParser):
    """What a page refers to, its ids, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_but_itself(run: Any, jpeg: Path, tmp_path: Path) -> None:
    code, out, err = run(jpeg, "--out", tmp_path / "report.html")
    assert (code, out.strip(), err) == (0, str(tmp_path / "report.html"), "")
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            address = attributes.get(name)
            if address is not None:
                assert address.startswith("data:image/" if tag != "a" else "https://"), (tag, address[:60])
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["aria-label"]
    assert "url(" not in text
    assert "@import" not in text
    assert jpeg.name in page.text  # escaped, so that it reads as it is
    assert "nan" not in re.findall(r"[a-z]+", page.text.lower())
    for heading in ("The task", "The way", "The clues", "What is evidence", "What this stands on"):
        assert heading in page.text
    for paper in ("2012.09161", "2306.06238", "2408.08575", "2406.07543", "1707.02921", "2011.11036"):
        assert paper in page.text
    inputs = {attributes["id"] for tag, attributes in page.tags if tag == "input"}
    labels = {attributes["for"] for tag, attributes in page.tags if tag == "label"}
    assert inputs == labels == {"v-file", "v-result", "v-loss", "v-change", "v-beyond"}


def test_json_alone_writes_no_page(run: Any, jpeg: Path, tmp_path: Path) -> None:
    code, out, err = run(jpeg, "--json", "--at", "8,8,16,16")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["patch"] == [8, 8, 16, 16]
    assert facts["model"]["name"] == "tiny"
    assert {"completeness_error", "diffusion_index"} <= facts["attribution"].keys()
    assert {"input", "result"} <= facts["consistency"].keys()
    assert list(tmp_path.iterdir()) == [jpeg]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes; runs on Linux and macOS")
def test_the_page_is_read_by_nobody_who_may_not_read_the_picture(run: Any, jpeg: Path, tmp_path: Path) -> None:
    jpeg.chmod(0o600)
    assert run(jpeg, "--out", tmp_path / "report.html")[0] == 0
    assert (tmp_path / "report.html").stat().st_mode & 0o077 == 0


def test_by_default_the_page_lies_beside_the_picture(run: Any, jpeg: Path) -> None:
    code, out, _ = run(jpeg)
    assert code == 0
    assert Path(out.strip()) == jpeg.with_name(f"{jpeg.stem}.evidence.html")
    assert Path(out.strip()).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no names that are no text; Linux does")
def test_a_name_that_is_no_text_is_shown_escaped(run: Any, jpeg: Path) -> None:
    odd = jpeg.rename(jpeg.with_name("a\udcff.jpg"))
    code, _, err = run(odd)
    assert (code, err) == (0, "")
    page = Page(odd.with_name("a\udcff.evidence.html").read_text("utf-8"))
    assert "a\\udcff.jpg" in page.text


def test_a_following_program_reads_a_line_for_each_step(run: Any, jpeg: Path, tmp_path: Path) -> None:
    code, _, err = run(jpeg, "--out", tmp_path / "a.html", "--progress", "json")
    assert code == 0
    lines = [json.loads(line) for line in err.splitlines()]
    shares = [line["share"] for line in lines[:-1]]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert all(line["step"] for line in lines[:-1])
    assert lines[-1] == {"done": True, "out": str(tmp_path / "a.html")}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--at", "1,2,3"], 2, "--at is X,Y,WIDTH,HEIGHT"),
        (["--at", "1,2,0,3"], 2, "at least one pixel"),
        (["--at", "500,0,8,8"], 2, "lies in the picture"),
        (["--scale", "0.5"], 2, "at least 1"),
        (["--consistent"], 2, "scale 1"),
        (["--out", "no/such/folder.html"], 5, "its folder does not exist"),
        (["--out", "."], 5, "is a folder"),
        (["--out", "taken.html"], 5, "already exists"),
        (["--out", "-"], 2, "not written to standard output"),
        (["--device", "abacus"], 8, "abacus"),
    ],
)
def test_refusals_are_words_for_people_and_a_line_for_programs(
    run: Any, jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.html").write_text("mine")
    before = sorted(tmp_path.iterdir())
    ended, out, err = run(jpeg, "--out", "a.html", *words)
    assert (ended, out) == (code, "")
    assert message in " ".join(err.split())
    ended, _, err = run(jpeg, "--out", "a.html", *words, "--progress", "json")
    last = json.loads(err.splitlines()[-1])
    assert (ended, last["exit_code"]) == (code, code)
    assert message in last["error"]
    assert last["remedy"] or code == 2
    assert sorted(tmp_path.iterdir()) == before
    assert Path("taken.html").read_text() == "mine"


@pytest.mark.parametrize("name", ["missing.jpg", "words.jpg", "cmyk.jpg", "tiny.png"])
def test_files_that_cannot_be_explained(run: Any, tmp_path: Path, name: str) -> None:
    if name == "words.jpg":
        (tmp_path / name).write_text("no picture")
    elif name == "cmyk.jpg":
        Image.fromarray(photograph(32, 32)).convert("CMYK").save(tmp_path / name)
    elif name == "tiny.png":
        Image.new("RGB", (5, 5)).save(tmp_path / name)
    code, _, err = run(tmp_path / name, "--out", tmp_path / "a.html")
    assert code in {3, 4}
    assert name in err.replace("\n", "")
    assert not (tmp_path / "a.html").exists()


def test_a_picture_that_may_not_be_read_is_a_line_too(
    run: Any, jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def closed(path: Path, *rest: Any, **more: Any) -> Any:
        if path == jpeg:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *rest, **more)

    monkeypatch.setattr(Path, "open", closed)
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: mode != os.R_OK and may(path, mode, **more))
    code, _, err = run(jpeg, "--out", tmp_path / "a.html", "--progress", "json")
    assert code == 3
    assert json.loads(err.splitlines()[-1])["exit_code"] == 3


def test_overwrite_replaces_a_page_but_never_the_picture(run: Any, jpeg: Path, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("old")
    assert run(jpeg, "--out", tmp_path / "a.html", "--overwrite")[0] == 0
    assert (tmp_path / "a.html").read_text("utf-8").startswith("<!doctype html>")
    before = jpeg.read_bytes()
    assert run(jpeg, "--out", jpeg, "--overwrite")[0] == 2
    assert jpeg.read_bytes() == before


def test_an_unforeseen_failure_is_a_line_too(run: Any, jpeg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from liif_engine.lab import attribution

    monkeypatch.setattr(attribution, "attribute", lambda *_, **__: 1 / 0)
    code, _, err = run(jpeg, "--json", "--progress", "json")
    assert code == 10
    assert "ZeroDivisionError" in json.loads(err.splitlines()[-1])["error"]


@pytest.mark.skipif(sys.platform == "win32", reason="a terminated process cannot clean up there")
def test_a_child_that_is_stopped_leaves_nothing(model: Path, jpeg: Path, tmp_path: Path) -> None:
    """As GIMP runs it: stopped in the midst of the work, it says so, ends at once and leaves no file."""
    command = [sys.executable, "-m", "liif_engine", "explain", str(jpeg), "--at", "8,8,16,16", "--model", str(model)]
    command += ["--out", str(tmp_path / "a.html"), "--progress", "json"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stderr is not None
    assert json.loads(child.stderr.readline())["share"] == 0  # it has begun
    child.terminate()
    _, rest = child.communicate(timeout=60)
    assert child.returncode == 130
    assert json.loads(rest.splitlines()[-1])["exit_code"] == 130
    assert list(tmp_path.iterdir()) == [jpeg]


@pytest.mark.parametrize(("text", "place"), [("1,2,3,4", (1, 2, 3, 4)), (" -5, 0 ,10,20 ", (-5, 0, 10, 20))])
def test_places_are_read(text: str, place: tuple[int, int, int, int]) -> None:
    assert parse_place(text) == place


def test_restore_consistent_keeps_to_the_file(tmp_path: Path, model: Path) -> None:
    from liif_engine import Engine, Target, restore_file
    from liif_engine.errors import UsageError
    from liif_engine.picture import coefficients, consistency

    source = tmp_path / "a.jpg"
    Image.fromarray(photograph(48, 56)).save(source, quality=25)
    engine = Engine(model, device="cpu", precision="fp32")
    stored = coefficients.read(source)
    assert stored is not None
    shares = []
    for consistent in (False, True):
        out = tmp_path / f"{consistent}.png"
        restore_file(engine, source, out, target=Target(scale=1), consistent=consistent)
        with Image.open(out) as image:
            shares.append(consistency.agreement(stored, np.asarray(image)).share)
    assert shares[1] > 0.99 > shares[0]
    with pytest.raises(UsageError, match="scale 1"):
        restore_file(engine, source, tmp_path / "b.png", target=Target(scale=2), consistent=True)
    with pytest.raises(UsageError, match="no JPEG"):
        restore_file(engine, tmp_path / "True.png", tmp_path / "b.png", target=Target(scale=1), consistent=True)
    assert not (tmp_path / "b.png").exists()


def test_the_time_that_has_passed_is_shown_whole_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=shown, force_terminal=True, width=40, color_system=None))
    with explain_command._progress(explain_command.ProgressKind.AUTO, Path("a.jpg")) as report:
        report(0.5, "Restoring the picture")
    assert "0:00:00" in shown.getvalue().split("Restoring the picture")[-1]
