"""What README and docs tell people to type works as written."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from liif_engine import cli
from tests.conftest import picture

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(page and number, text) of each fenced block; the pages of service and GIMP have tests of their own."""
    for page in PAGES:
        if page.name in {"service.md", "gimp.md"}:
            continue
        for number, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)):
            yield f"{page.name}-{number}", text


def commands() -> list[str]:
    """README's `liif restore`, `models`, `evaluate` and `explain` lines."""
    lines = [line for page, text in blocks("sh") if page.startswith("README") for line in text.splitlines()]
    return [line for line in lines if re.match(r"liif (restore|models|evaluate|explain)", line)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples speak of, as the working folder."""
    Image.fromarray(picture(32, 48)).save(tmp_path / "old.jpg")
    for folder in ("truth", "archive"):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture(32, 48)).save(tmp_path / folder / "one.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", [pytest.param(text, id=name) for name, text in blocks("python")])
def test_python_examples_run(code: str, here: Path) -> None:
    exec(compile(code, "example", "exec"), {"__name__": "example"})
    assert len(list(here.iterdir())) > 3  # each leaves a result


@pytest.mark.parametrize("line", commands())
def test_commands_of_the_readme_run(line: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    for word in shlex.split(line, comments=True):
        found = sorted(path.name for path in here.glob(word)) if "*" in word else []
        words += found or [word]
    monkeypatch.setattr(sys, "argv", words)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 0


def test_there_are_examples() -> None:
    assert len(commands()) >= 7
    assert sum(1 for _ in blocks("python")) >= 2


def anchors(page: Path) -> set[str]:
    """What links to its headings end with, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert target.startswith("https://") or file.exists(), target
        assert target.startswith("https://") or not anchor or anchor in anchors(file), target
