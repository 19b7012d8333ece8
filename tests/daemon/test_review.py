"""The review page without a browser: what it shows, what its buttons and `prune --reviewed` do."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from liif_daemon import places, progress
from liif_daemon.ledger.review import Filter, ReviewLedger
from liif_daemon.prune import prune
from liif_daemon.review.guard import Keys
from liif_daemon.review.live import live
from liif_daemon.review.pages import Pages
from PIL import Image

from .reviewing import Review, review
from .workshop import Workshop, draw, left_open, sha, size_of, wait_until

__all__ = ["review"]  # a fixture


def opened(workshop: Workshop) -> ReviewLedger:
    return left_open(ReviewLedger(places.ledger_path(workshop.settings())))


def test_the_link_is_opened_in_the_user_s_browser(workshop: Workshop) -> None:
    script, opened = workshop.base / "browser.sh", workshop.base / "opened"
    script.write_text(f'#!/bin/sh\necho "$1" > "{opened}"\n')
    script.chmod(0o700)
    review = Review(workshop, browser=f"{script} %s")
    wait_until(lambda: opened.exists() and opened.read_text().strip() == review.link)
    review.end()


def test_what_a_browser_cannot_show_becomes_a_png(workshop: Workshop) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (24, 32, 4), np.uint8)
    Image.fromarray(pixels[..., :3]).save(workshop.folder / "scan.tif")
    pillow_heif.from_pillow(Image.fromarray(pixels[..., :3])).save(workshop.folder / "photo.heic")
    Image.fromarray(pixels, "CMYK").save(workshop.folder / "ink.jpg")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 256).save(workshop.folder / "deep.png")
    Image.fromarray(pixels[..., :3]).save(workshop.folder / "plain.webp")
    (lies := Image.Exif())[0x0112] = 6  # its first row is seen on the right; browsers do not turn a WebP
    Image.fromarray(np.rot90(pixels[..., :3])).save(workshop.folder / "turned.webp", lossless=True, exif=lies)
    draw(workshop.folder / "plain.jpg", 3, 32, 24)
    names = sorted(path.name for path in workshop.folder.iterdir())
    assert workshop.once() == {"done": 7}
    review = Review(workshop)
    review.open()
    for name in names:
        number = review.job(workshop.folder / name).id
        for side, size in (("before", (32, 24)), ("after", (64, 48)), ("thumbnail", (32, 24))):
            status, headers, data = review.ask("GET", f"/picture/{number}/{side}")
            assert status == 200, (name, side, data)
            with Image.open(io.BytesIO(data)) as shown:
                assert shown.size == size
                if side != "thumbnail":
                    native = name.startswith("plain") or (name == "turned.webp" and side == "after")
                    assert shown.format == (name.rpartition(".")[2].upper().replace("JPG", "JPEG") if native else "PNG")
                assert headers["content-type"] == f"image/{(shown.format or '').lower()}"
                assert shown.mode in {"L", "RGB", "RGBA"}
    for name in ("scan.tif", "turned.webp"):
        seen = review.ask("GET", f"/picture/{review.job(workshop.folder / name).id}/before")[2]
        with Image.open(io.BytesIO(seen)) as shown:
            np.testing.assert_array_equal(np.asarray(shown), pixels[..., :3])
    review.end()


def test_undo_keep_and_retry_by_button(review: Review) -> None:
    workshop = review.workshop
    path = workshop.folder / "a.jpg"
    original, job = workshop.store.path_of(review.job(path).source_sha256).read_bytes(), review.job(path)
    form: dict[str, object] = {"key": review.key(), "id": job.id}

    def views() -> dict[str, int]:
        ledger = opened(workshop)
        found = {view: ledger.count(Filter(view)) for view in ("review", "kept", "undone", "queue")}
        ledger.close()
        return {view: count for view, count in found.items() if count}

    for action, then in (("keep", "kept"), ("again", "review"), ("keep", "kept"), ("undo", "undone")):
        assert review.ask("POST", f"/do/{action}", form)[0] == 303
        assert views() == {then: 1}
    assert path.read_bytes() == original
    assert workshop.once() == {"undone": 1}  # it stays, as with `liif-daemon undo`
    assert review.ask("POST", "/do/retry", form)[0] == 303
    assert workshop.once() == {"done": 1}
    assert size_of(path) == (40, 32)
    assert views() == {"review": 1}  # the review was of the result that is gone
    assert workshop.leftovers() == []


def test_a_page_of_the_list_that_became_empty_leads_to_the_first(review: Review) -> None:
    status, headers, _ = review.ask("GET", "/?view=review&after=1")  # nothing is behind the only row
    assert (status, headers["location"]) == (303, "/?view=review")
    assert b"a.jpg" in review.ask("GET", headers["location"])[2]


def test_undo_of_a_changed_file_is_refused_and_then_meant(review: Review) -> None:
    path = review.workshop.folder / "a.jpg"
    job, form = review.job(path), dict[str, object](key=review.key(), page="picture")
    edited = draw(path, 7, 44, 44)
    form["id"] = job.id
    assert review.ask("POST", "/do/undo", form)[0] == 303
    assert path.read_bytes() == edited
    page = review.ask("GET", f"/picture/{job.id}")[2]
    assert b"was changed since it was restored. \xe2\x80\x9cUndo all the same\xe2\x80\x9d is on" in page
    assert b"--force" not in page
    assert b">Undo all the same</button>" in page
    assert review.ask("POST", "/do/undo", {**form, "force": "yes"})[0] == 303
    assert sha(path) == job.source_sha256
    assert review.workshop.store.holds(sha(edited))


def test_undo_by_button_takes_a_renamed_result_away_and_says_so(review: Review) -> None:
    path, other = (review.workshop.folder / name for name in ("a.jpg", "renamed.png"))
    job = review.job(path)
    path.rename(other)
    assert review.ask("POST", "/do/undo", {"key": review.key(), "page": "picture", "id": job.id})[0] == 303
    assert sha(path) == job.source_sha256
    assert not other.exists()
    assert f"its result, {other}, was taken away".encode() in review.ask("GET", f"/picture/{job.id}")[2]


def test_keep_changes_no_promise_and_prune_lets_go_when_asked(workshop: Workshop) -> None:
    first, second = (draw(workshop.folder / f"{name}.jpg", seed) for name, seed in (("a", 1), ("b", 2)))
    (workshop.folder / "copy").mkdir()
    (workshop.folder / "copy" / "a.jpg").write_bytes(first)  # the same original at two places
    assert workshop.once() == {"done": 3}
    ledger, store = opened(workshop), workshop.store
    rows = {job.path.relative_to(workshop.folder).as_posix(): job for job in ledger.jobs()}
    assert ledger.review([rows["a.jpg"]]) == 1
    assert prune(ledger, store).count == 0
    assert prune(ledger, store, also=ledger.reviewed_originals()).count == 0  # the other place may want it back
    assert ledger.review([rows["copy/a.jpg"], rows["b.jpg"]]) == 2
    ledger.forget_review(rows["b.jpg"])
    assert prune(ledger, store, also=ledger.reviewed_originals(), dry_run=True).count == 1
    assert prune(ledger, store, also=ledger.reviewed_originals()).count == 1
    assert [path.name for path in store] == [sha(second)]
    assert ledger.originals.until(sha(first)) is None
    ledger.close()


def test_an_original_that_somebody_removed_from_the_store_is_not_said_to_be_kept(review: Review) -> None:
    workshop = review.workshop
    job = review.job(workshop.folder / "a.jpg")
    assert b"kept for ever" in review.ask("GET", f"/picture/{job.id}")[2]
    workshop.store.path_of(job.source_sha256).unlink()
    page = review.ask("GET", f"/picture/{job.id}")[2]
    assert b"was to be kept, but is not to be found in the store" in page
    assert b"kept for ever" not in page


def test_search_finds_parts_of_names_as_they_are_written(workshop: Workshop) -> None:
    ledger = opened(workshop)
    row = {"folder": workshop.folder, "target": "2x", "in_place": True, "size": 1, "mtime_ns": 1, "model": "web"}
    row |= {"width": 1, "height": 1}
    names = ["100%.jpg", "100.jpg", "a_b.jpg", "aXb.jpg", "back\\slash.jpg", "Ünder.JPG"]
    for name in names:
        ledger.note({**row, "path": workshop.folder / name, "source_sha256": sha(name.encode())}, "done", "")
    found = {
        search: sorted(job.path.name for job in ledger.page(Filter(search=search), 9))
        for search in ("100%", "a_b", "\\", "AXB", "Ünder.jpg", "' OR 1 --")
    }
    assert found == {
        "100%": ["100%.jpg"],
        "a_b": ["a_b.jpg"],
        "\\": ["back\\slash.jpg"],
        "AXB": ["aXb.jpg"],
        "Ünder.jpg": ["Ünder.JPG"],
        "' OR 1 --": [],
    }
    pages, after = [], None
    while page := ledger.page(Filter(), 4, after=after):
        pages += [job.path.name for job in page]
        after = page[-1].sequence
    assert pages == names[::-1]
    jobs = ledger.page(Filter(), 9)
    assert ledger.before(Filter(), jobs[1]) == jobs[0]
    assert ledger.before(Filter(), jobs[0]) is None
    ledger.close()


def test_a_result_beside_its_original_is_found_by_the_name_that_is_shown(workshop: Workshop) -> None:
    ledger = opened(workshop)
    row = {"folder": workshop.folder, "target": "4x", "size": 1, "mtime_ns": 1, "model": "web", "width": 1, "height": 1}
    row |= {"path": workshop.folder / "house.jpg", "source_sha256": sha(b"house"), "in_place": False}
    ledger.note(row, "done", "")
    [job] = ledger.page(Filter(), 9)
    beside = workshop.folder / "house@4x.jpg"
    ledger.promise(
        job, result_sha256=sha(b"large"), result_size=1, destination=beside, model="web", out=(4, 4), kept=False
    )
    assert [job.destination for job in ledger.page(Filter(search="house@4X"), 9)] == [beside]
    assert ledger.count(Filter(search="house")) == 1
    assert ledger.count(Filter(search="house@2x")) == 0
    ledger.close()


def test_a_ledger_of_the_first_version_is_brought_up_to_date(workshop: Workshop) -> None:
    for number, name in enumerate(("b.jpg", "a.jpg")):
        draw(workshop.folder / name, number)
        workshop.once()
    ledger = workshop.ledger()
    latest = [job.id for job in ledger.overview.recent("done", 2)]
    with ledger._file.change() as db:
        db.execute("DROP TABLE reviews")
        for name in ("jobs_begin", "jobs_change"):
            db.execute(f"DROP TRIGGER {name}")
        for name in ("jobs_in_sequence", "jobs_by_sequence"):
            db.execute(f"DROP INDEX {name}")
        db.execute("ALTER TABLE jobs DROP COLUMN sequence")
        db.execute("DROP TABLE looks")
        db.execute("DROP INDEX jobs_by_source")
        db.execute("DROP INDEX jobs_by_result")
        db.execute("DROP INDEX jobs_in_turn")
        db.execute("CREATE INDEX jobs_by_state ON jobs (state, not_before)")
        for table in ("identity", "stores", "clock"):
            db.execute(f"DROP TABLE {table}")
        db.execute("ALTER TABLE jobs DROP COLUMN begun")
        db.execute("ALTER TABLE jobs DROP COLUMN deaths")
        db.execute("PRAGMA user_version = 1")
    ledger.close()
    newer = opened(workshop)
    assert [job.id for job in newer.page(Filter(), 9)] == latest
    assert newer.review(newer.jobs()) == 2
    newer.close()


def test_the_strip_says_why_nothing_is_done_in_a_folder(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"path": "/new", "how": "away", "why": "300 pictures in it would be replaced for the first time"},
        {"path": "/share", "how": "silent", "why": "it has not answered since 12:00:00"},
        {"path": "/fine", "how": "polling", "why": "polling is on"},
        {"path": "/unknown yet", "how": "away", "why": ""},
    ]
    monkeypatch.setattr(progress, "read", lambda _: {"folders": rows})
    ledger = opened(workshop)
    page = Pages(workshop.settings(), ledger, Keys())
    strip = page.templates.env.get_template("live.html").render(live=live(workshop.settings(), ledger))
    assert re.findall(r"<bdi>(.*?)</bdi>: (.*?)\.</p>", strip) == [(row["path"], row["why"]) for row in rows[:2]]
    page.evidence.close()
    ledger.close()


def test_a_taken_port_is_said_in_words(review: Review) -> None:
    port = review.origin.rpartition(":")[2]
    config = str(review.workshop.base / "config.yaml")
    command = [sys.executable, "-m", "liif_daemon", "review", "--no-open", "--port", port, "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr
