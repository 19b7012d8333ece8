"""The browser itself: it runs scripts, and knows what it was told to be."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page


def test_a_file_is_opened(browser_page: Page, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><title>before</title><script>document.title = 'after'</script>")
    browser_page.goto(path.as_uri())
    assert browser_page.title() == "after"
    assert browser_page.evaluate("[innerWidth, innerHeight, devicePixelRatio]") == [1280, 800, 1]
