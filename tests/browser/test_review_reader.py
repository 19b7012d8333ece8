"""The review page for who uses keyboard and screen reader, and for a tab that is refused."""

from __future__ import annotations

import threading
from typing import Literal

from playwright.sync_api import BrowserContext, Page, expect

from ..daemon.reviewing import Review
from ..daemon.workshop import draw, wait_until
from .test_review import names


def test_the_focus_goes_on_and_what_was_done_is_in_view(page: Page, review: Review) -> None:
    page.set_viewport_size({"width": 1280, "height": 300})
    shown = names(page)

    def press(row: str, button: str, *, then: str, role: Literal["alert", "status"] = "status") -> None:
        with page.expect_navigation():
            page.locator(".row", has_text=row).get_by_role("button", name=button).press("Enter")
        link = page.locator(".row .open", has_text=then)
        expect(link).to_be_focused()
        for one in (link, page.get_by_role(role)):
            expect(one).to_be_in_viewport(ratio=1)

    press(shown[2], "Keep", then=shown[3])
    press(shown[4], "Undo", then=shown[3])  # nothing is behind the last row
    draw(next(review.workshop.folder.rglob(shown[3])), 99)
    press(shown[3], "Undo", then=shown[3], role="alert")  # it stays, since the file was changed


def test_a_screen_reader_is_told_what_is_what_and_what_was_done(page: Page, review: Review) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("To review")
    row = page.locator(".row", has_text="picture 2.jpg")
    expect(row.get_by_role("button", name="Undo")).to_have_accessible_name("Undo: picture 2.jpg")
    page.add_init_script("""
        window.told = [];
        new MutationObserver(changes => changes.forEach(({target}) => {
          if (document.readyState === "complete" && target.role === "status") told.push(target.textContent);
        })).observe(document, {childList: true, subtree: true});
    """)
    with page.expect_navigation():
        row.get_by_role("button", name="Keep").click()
    wait_until(lambda: "picture 2.jpg: kept." in page.evaluate("told"))  # only words that come later are read out
    go_on, workshop = threading.Event(), review.workshop
    workshop.engine.before = lambda _: go_on.wait(60)  # type: ignore[attr-defined]
    with workshop.running():
        draw(workshop.folder / "new.jpg", 55)
        expect(page.get_by_role("progressbar", name="new.jpg")).to_be_visible()
        go_on.set()
        wait_until(lambda: workshop.counts()["done"] == 6)


def test_the_page_of_a_report_that_is_made_is_not_loaded_anew(page: Page) -> None:
    """A screen reader would begin again each time. The report fails: `copy` is a model of the tests alone."""
    with page.expect_navigation():
        page.locator(".row .open").first.click()
    with page.expect_popup() as opened:
        page.keyboard.press("e")
    opened.value.evaluate("window.stays = true")
    expect(opened.value.get_by_role("progressbar", name="The report")).to_be_visible()
    expect(opened.value.get_by_role("alert")).to_contain_text("There is no report", timeout=60_000)
    assert opened.value.evaluate("window.stays")


def test_a_tab_that_is_refused_or_alone_says_so(page: Page, review: Review, browser_context: BrowserContext) -> None:
    browser_context.clear_cookies()  # as another run's link does
    expect(page.get_by_role("alert")).to_contain_text("go on in the tab of the link that was opened last")
    review.end()
    expect(page.get_by_role("alert")).to_contain_text("has ended")
