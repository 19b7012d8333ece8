"""The review page as a person uses it, in a real Chromium."""

from __future__ import annotations

import http.server
import io
import re
import threading
from typing import Literal

import numpy as np
import pytest
from liif_daemon.review.rows import TIMES
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from ..daemon.reviewing import Review
from ..daemon.workshop import Workshop, draw, size_of, wait_until


def view(page: Page, name: str) -> None:
    """Goes to another view; returns when its script has run."""
    with page.expect_navigation():
        page.get_by_role("link", name=name).click()


def names(page: Page) -> list[str]:
    return (
        page.locator(".row .name bdi:first-child")
        .locator("visible=true")
        .evaluate_all("all => all.filter(one => !one.closest('small')).map(one => one.textContent)")
    )


def test_the_link_opens_the_list_and_no_second_browser(
    page: Page, review: Review, browser_context: BrowserContext
) -> None:
    assert sorted(names(page)) == [f"picture {number}.jpg" for number in range(5)]
    expect(page.locator(".row").first).to_contain_text(f"300 {TIMES} 200 → 600 {TIMES} 400")
    expect(page.locator(".row").first).to_contain_text("JPEG quality 60, 4:2:0")
    for thumbnail in page.locator(".row img").all():
        expect(thumbnail).to_have_js_property("naturalWidth", 160)
    assert browser_context.browser is not None
    other = browser_context.browser.new_context()
    stranger = other.new_page()
    answer = stranger.goto(review.link)
    assert answer is not None
    assert answer.status == 403
    assert other.cookies() == []
    other.close()


def test_undo_by_button_brings_the_byte_identical_original_back(page: Page, review: Review) -> None:
    path = review.workshop.folder / "old web" / "picture 2.jpg"
    original = review.workshop.store.path_of(review.job(path).source_sha256).read_bytes()
    assert path.read_bytes() != original
    page.locator(".row", has_text="picture 2.jpg").get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("picture 2.jpg: the original is back.")
    assert path.read_bytes() == original
    assert "picture 2.jpg" not in names(page)
    view(page, "Undone")
    assert names(page) == ["picture 2.jpg"]
    page.get_by_role("button", name="Restore again").click()
    expect(page.get_by_role("status")).to_contain_text("queued")
    review.workshop.once()
    assert size_of(path) == (600, 400)


def test_the_slider_shows_both_at_100_percent(page: Page) -> None:
    with page.expect_navigation():
        page.locator(".row .open").first.click()
    for side in ("before", "after"):
        box = page.locator(f".canvas .{side}").bounding_box()
        assert box is not None
        assert (box["width"], box["height"]) == (600, 400)
    assert page.locator(".canvas .after").evaluate("one => [one.naturalWidth, one.naturalHeight]") == [600, 400]
    assert page.locator(".canvas .before").evaluate("one => one.naturalWidth") == 300

    def cut() -> float:
        """Where the result begins, in pixels of the picture."""
        style = page.locator(".canvas .before").evaluate("one => one.style.clipPath")
        found = re.search(r"inset\(0px ([\d.]+)px", style)
        return 600 - float(found[1] if found else 0)

    assert cut() == pytest.approx(300, abs=1)
    page.locator(".split").focus()
    page.keyboard.press("Home")
    assert cut() == pytest.approx(0, abs=1)
    page.keyboard.press("Space")
    assert cut() == pytest.approx(600, abs=1)
    edge = page.locator(".edge").bounding_box()
    assert edge is not None
    x, y = edge["x"] + edge["width"] / 2, edge["y"] + 300
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 450, y)
    page.mouse.up()
    assert cut() == pytest.approx(150, abs=2)


@pytest.mark.parametrize("colours", ["active", "none"])
def test_the_result_is_not_seen_through_a_transparent_original(
    workshop: Workshop, browser_page: Page, colours: Literal["active", "none"]
) -> None:
    Image.new("RGBA", (100, 60), (255, 0, 0, 128)).save(workshop.folder / "veil.png")
    workshop.once()
    review = Review(workshop)
    browser_page.emulate_media(forced_colors=colours)
    browser_page.goto(review.link)
    browser_page.wait_for_url(f"{review.origin}/")
    with browser_page.expect_navigation():
        browser_page.locator(".row .open").click()
    with Image.open(io.BytesIO(browser_page.locator(".stage").screenshot())) as seen:
        before, after = (np.asarray(seen.convert("RGB").crop((x, 32, x + 64, 80))) for x in (16, 128))
    np.testing.assert_array_equal(before, after)
    assert len(np.unique(after[..., 1])) == 2  # the fields of a chequerboard
    review.end()


def test_a_large_picture_is_panned_and_the_edge_stays(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 500})
    with page.expect_navigation():
        page.locator(".row .open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    stage = page.locator(".stage")
    box, edge = stage.bounding_box(), page.locator(".edge").bounding_box()
    assert box is not None
    assert edge is not None
    at = "one => [one.scrollLeft, one.scrollTop]"
    before = stage.evaluate(at)
    page.mouse.move(box["x"] + 40, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 10, box["y"] + 130)
    page.mouse.up()
    after = stage.evaluate(at)
    assert after == [before[0] + 30, before[1] + 20]
    assert page.locator(".edge").bounding_box() == edge
    clip = page.locator(".canvas .before").evaluate("one => parseFloat(one.style.clipPath.split(' ')[1])")
    assert 600 - clip == pytest.approx(after[0] + stage.evaluate("one => one.clientWidth") / 2, abs=1)


def test_a_person_goes_through_all_by_keyboard(page: Page, review: Review) -> None:
    page.keyboard.press("ArrowDown")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    shown = []
    for key in "kuknk":
        shown.append(page.locator("h1 > bdi").text_content())
        with page.expect_navigation():
            page.keyboard.press(key)
    assert len(set(shown)) == 5
    expect(page.locator(".row")).to_have_count(1)  # the one that `n` went past
    assert names(page) == [shown[3]]
    assert review.workshop.counts() == {"done": 4, "undone": 1, "failed": 1, "skipped": 1}
    view(page, "Kept")
    assert sorted(names(page)) == sorted([str(shown[0]), str(shown[2]), str(shown[4])])
    page.keyboard.press("/")
    page.keyboard.type(str(shown[0]))
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert names(page) == [shown[0]]


def test_single_letter_keys_can_be_turned_off_for_good(
    page: Page, review: Review, browser_context: BrowserContext
) -> None:
    page.get_by_role("checkbox", name="Single-letter keys").uncheck()
    with page.expect_navigation():
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    address = page.url
    for key in "kune/":
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert page.url == address
    assert len(browser_context.pages) == 1
    assert review.workshop.counts()["done"] == 5
    with page.expect_navigation():
        page.keyboard.press("Escape")
    page.get_by_role("checkbox", name="Single-letter keys").check()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_keep_in_the_list_goes_on_to_the_next_row(page: Page) -> None:
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    second, third = names(page)[1:3]
    with page.expect_navigation():
        page.keyboard.press("k")
    assert second not in names(page)
    assert third in str(page.evaluate("document.activeElement.textContent"))
    with page.expect_navigation():
        page.get_by_role("button", name="Keep these 4").click()
    expect(page.locator(".empty")).to_be_visible()


def test_failures_have_their_reason_and_a_retry(page: Page, review: Review) -> None:
    view(page, "Failed")
    expect(page.locator(".row")).to_contain_text("is not a picture of a known kind")
    with page.expect_navigation():
        page.locator(".row .open").click()
    expect(page.get_by_text("is not a picture of a known kind")).to_have_count(1)
    expect(page.locator(".keys")).to_contain_text("r queues it again")
    with page.expect_navigation():
        page.keyboard.press("Escape")
    draw(review.workshop.folder / "broken.jpg", 77)
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status")).to_contain_text("queued")
    view(page, "Left alone")
    expect(page.locator(".row")).to_contain_text("min_side")


def test_what_the_daemon_does_appears_by_itself(page: Page, review: Review) -> None:
    expect(page.locator("#live")).to_contain_text("not running")
    expect(page.locator("#newer")).to_be_hidden()
    go_on, workshop = threading.Event(), review.workshop
    workshop.engine.before = lambda _: go_on.wait(60)  # type: ignore[attr-defined]
    with workshop.running():
        original = draw(workshop.folder / "new.jpg", 55)
        expect(page.locator("#live")).to_contain_text("new.jpg to 2x, 10%")
        expect(page.locator("[data-count=queue]")).to_have_text("1")
        go_on.set()
        wait_until(lambda: workshop.counts()["done"] == 6)
        expect(page.locator("#newer")).to_be_visible()
        with page.expect_navigation():
            page.locator("#newer").click()
        assert names(page)[0] == "new.jpg"
        page.locator(".row", has_text="new.jpg").get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("new.jpg: the original is back.")
        draw(workshop.folder / "later.jpg", 56)
        wait_until(lambda: workshop.counts()["done"] == 6)
        # The daemon has seen both files change; only one of them was to be restored.
        assert (workshop.folder / "new.jpg").read_bytes() == original
        assert workshop.counts()["undone"] == 1


def test_pages_of_other_sites_reach_nothing(page: Page, review: Review, browser_context: BrowserContext) -> None:
    """A page on another port of this machine: the same site to a cookie, but not the same origin."""
    path = review.workshop.folder / "holidays" / "picture 1.jpg"
    job, restored, key = review.job(path), path.read_bytes(), page.locator("[name=key]").first.input_value()
    attack = f"""<!doctype html><title>attack</title>
        <img id=image src="{review.origin}/picture/{job.id}/after">
        <iframe src="{review.origin}/"></iframe>
        <form method=post action="{review.origin}/do/undo" target=_self>
        <input name=key value="{key}"><input name=id value={job.id}></form>"""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(attack.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for host in ("127.0.0.1", "localhost"):
            stranger = browser_context.new_page()
            stranger.goto(f"http://{host}:{server.server_port}/")
            assert stranger.evaluate("document.getElementById('image').naturalWidth") == 0
            assert "picture 1" not in "".join(frame.content() for frame in stranger.frames[1:])
            fetched = "url => fetch(url, {credentials: 'include'}).then(() => 'read', () => 'refused')"
            assert stranger.evaluate(fetched, review.origin) == "refused"
            with stranger.expect_navigation() as sent:
                stranger.evaluate("document.forms[0].submit()")
            assert sent.value is not None
            assert sent.value.status == 403
            stranger.close()
        server.shutdown()
    assert path.read_bytes() == restored


def test_without_scripts_it_still_works(review: Review, browser_context: BrowserContext) -> None:
    assert browser_context.browser is not None
    context = browser_context.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(review.link)
    page.wait_for_url(f"{review.origin}/")
    page.locator(".row .open").first.click()
    expect(page.locator(".canvas .before")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("the original is back")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_and_nothing_from_outside(page: Page, review: Review, scheme: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.reload()
    page.locator(".row .open").first.click()
    page.wait_for_load_state("networkidle")
    red = page.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.slice(4))")
    assert red > 200 if scheme == "light" else red < 60
    assert asked
    assert all(url.startswith(review.origin) for url in asked)
