"""A real Chromium for whoever makes pages: `browser_page` is a fresh page in a profile of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ..daemon.reviewing import Review
from ..daemon.workshop import Workshop, draw, ledgers_are_closed
from . import chromium as machine

__all__ = ["ledgers_are_closed"]  # a fixture

#: The first test may have to wait until Debian's Chromium is installed. [s]
INSTALL_SECONDS = 900

#: How long a page may take for one step on a loaded machine. [ms]
PATIENCE_MS = 30_000

#: Nothing that talks to its maker; and root may not have Chromium's own sandbox.
OPTIONS = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")
OPTIONS += ("--no-first-run", "--disable-dev-shm-usage", "--force-color-profile=srgb")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that wants Chromium may have to wait until it is installed."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(INSTALL_SECONDS))


@pytest.fixture(scope="package")
def chromium() -> Path:
    """The program."""
    try:
        return machine.make()
    except machine.NoChromiumError as error:
        pytest.skip(f"no Chromium to test in: {error}")


# Playwright's event loop runs as long as this fixture lives, and other folders' tests have loops of their own.
@pytest.fixture(scope="package")
def browser(chromium: Path) -> Iterator[Browser]:
    """One running Chromium with a fresh profile, which the tests of this folder share."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium, args=[*OPTIONS, *root])
        yield one
        one.close()


@pytest.fixture
def browser_context(browser: Browser) -> Iterator[BrowserContext]:
    """A profile without cookies or history, for this test alone; 1280x800 CSS pixels, light."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def browser_page(browser_context: BrowserContext) -> Iterator[Page]:
    """A page; the test fails if a script on it fails, or if its Content-Security-Policy had to stop something."""
    page = browser_context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda one: wrong.append(one.text) if "Content Security Policy" in one.text else None)
    yield page
    assert not wrong


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def review(workshop: Workshop) -> Iterator[Review]:
    """A page on five results, a failure and a picture that is too small; not opened yet."""
    for number in range(5):
        draw(workshop.folder / f"{'holidays' if number % 2 else 'old web'}" / f"picture {number}.jpg", number, 300, 200)
    (workshop.folder / "broken.jpg").write_bytes(b"no picture")
    draw(workshop.folder / "small.png", 9, 8, 8)
    workshop.once()
    one = Review(workshop)
    yield one
    assert "Traceback" not in one.end()


@pytest.fixture
def page(browser_page: Page, review: Review) -> Page:
    """The page, opened by its link; its script has run."""
    browser_page.goto(review.link)
    browser_page.wait_for_url(f"{review.origin}/")  # and its load event
    return browser_page
