"""The report in a real browser: it shows, fetches nothing, fits a phone, and works from the keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser

from liif_engine import Engine
from liif_engine.lab.explain import explain

from ..conftest import tiny_network
from ..picture.photograph import photograph


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    Image.fromarray(photograph(72, 96)).save(folder / "old.jpg", quality=25)
    told = explain(folder / "old.jpg", engine=Engine(tiny_network(), device="cpu", precision="fp32"))
    (folder / "report.html").write_text(told.html(), encoding="utf-8")
    return folder / "report.html"


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_shows_and_asks_the_network_for_nothing(
    browser: Browser, page_file: Path, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert not complaints
    assert [address for address in asked if not address.startswith("data:")] == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in shade.removeprefix("rgb(").rstrip(")").split(","))
    assert brightness < 200 if scheme == "dark" else brightness > 600
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_stand_out_from_their_ground(
    browser: Browser, page_file: Path, scheme: Literal["light", "dark"]
) -> None:
    """By 4.5 to 1, as the WCAG has it."""
    page = browser.new_page(color_scheme=scheme)
    page.goto(page_file.as_uri())
    least = page.evaluate("""() => {
        const numbers = text => text.match(/[\\d.]+/g).map(Number);
        const mixed = (ground, colour, share) => ground.map((one, i) => one * (1 - share) + colour[i] * share);
        const light = colour => colour.map(one => (one / 255 + .055) / 1.055 > .09 ? ((one / 255 + .055) / 1.055) ** 2.4
          : one / 255 / 12.92).reduce((sum, one, i) => sum + one * [.2126, .7152, .0722][i], 0) + .05;
        const ground = one => {
          const shade = getComputedStyle(one).backgroundColor, veil = one.querySelector(":scope > span:first-child");
          if (shade.startsWith("rgba")) return ground(one.parentElement);
          if (one.tagName !== "TD") return numbers(shade);
          return mixed(numbers(shade), numbers(getComputedStyle(veil).backgroundColor), getComputedStyle(veil).opacity);
        };
        const words = [...document.querySelectorAll("body *")].filter(one => !one.closest("svg")
          && [...one.childNodes].some(part => part.nodeType === 3 && part.textContent.trim()));
        return Math.min(...words.map(one => {
          const [ink, paper] = [numbers(getComputedStyle(one).color), ground(one)].map(light);
          return Math.max(ink, paper) / Math.min(ink, paper);
        }));
    }""")
    assert least >= 4.5
    page.close()


def test_on_paper_all_is_dark_on_white_with_its_bars_and_nothing_is_folded(browser: Browser, page_file: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.emulate_media(media="print")
    page.goto(page_file.as_uri())
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert max(int(part) for part in ink.removeprefix("rgb(").rstrip(")").split(",")) < 80
    assert page.evaluate("document.querySelector('details p').checkVisibility()")
    assert page.evaluate("getComputedStyle(document.querySelector('.bar-fill')).printColorAdjust") == "exact"
    page.close()


def test_forced_colours_leave_the_bars_and_the_chosen_view(browser: Browser, page_file: Path) -> None:
    page = browser.new_page(forced_colors="active")
    page.goto(page_file.as_uri())
    shade = "one => getComputedStyle(document.querySelector(one)).backgroundColor"
    assert page.evaluate(shade, ".bar-fill") != page.evaluate(shade, ".bar-track")
    looks = "one => { const {color, outline} = getComputedStyle(document.querySelector(one)); return color + outline; }"
    assert page.evaluate(looks, "input:checked + label") != page.evaluate(looks, "input:not(:checked) + label")
    page.close()


def test_the_views_are_changed_from_the_keyboard(browser: Browser, page_file: Path) -> None:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    shown = "[...document.querySelectorAll('.viewer figure')].filter(f => f.offsetHeight > 0).map(f => f.className)"
    assert page.evaluate(shown) == ["f-file"]
    page.focus("#v-file")
    for name in ("result", "loss", "change", "beyond"):
        page.keyboard.press("ArrowRight")
        assert page.evaluate(shown) == [f"f-{name}"]
    page.focus("summary")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('details').open")
    page.close()
