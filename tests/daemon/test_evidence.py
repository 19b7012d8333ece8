"""The evidence button: a child that makes a report, one that fails, one that is ended; what is served of it."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlencode

import anyio
import pytest
from liif_daemon import places
from liif_daemon.ledger.review import ReviewLedger
from liif_daemon.review import evidence
from liif_daemon.review.evidence import Evidence
from liif_daemon.review.guard import COOKIE, Keys
from liif_daemon.review.pages import Pages
from starlette.types import Message, Receive, Scope, Send

from liif_engine.lab import explain as lab

from .workshop import Workshop, draw, left_open, wait_until

#: Speaks as `liif explain --progress json` does. What it does depends on the picture's name.
STAND_IN = """
import json, sys, time
from pathlib import Path
picture, out = Path(sys.argv[1]), Path(sys.argv[3])
say = lambda **row: print(json.dumps(row), file=sys.stderr, flush=True)
say(share=0.4, step="Asking the network")
if picture.stem == "slow":
    time.sleep(600)
if picture.stem == "bad":
    say(error=f"{picture.name}: is odd", remedy="Try another.", exit_code=3)
    sys.exit(3)
if picture.stem == "odd":
    say(share=float("inf"))
out.write_text(f"<p>{picture.name} {len(picture.read_bytes())} {' '.join(sys.argv[4:])}<script>1</script>")
say(done=True, out=str(out))
"""


class Page:
    """The page's application in this process, with a stand-in for `liif explain`."""

    def __init__(self, workshop: Workshop, names: list[str]) -> None:
        self.originals = {name: draw(workshop.folder / f"{name}.jpg", seed) for seed, name in enumerate(names)}
        workshop.once()
        settings = workshop.settings()
        stand_in = workshop.base / "explain.py"
        stand_in.write_text(STAND_IN)
        self.ledger, self.keys = left_open(ReviewLedger(places.ledger_path(settings))), Keys()
        self.evidence = Evidence(None, [sys.executable, "-I", str(stand_in)])
        self.app = Pages(settings, self.ledger, self.keys, evidence=self.evidence).app()
        self.jobs = {job.path.stem: job for job in self.ledger.jobs()}

    def ask(self, method: str, path: str, form: dict[str, object] | None = None) -> tuple[int, dict[str, str], bytes]:
        """One request of its own browser."""
        headers = {"host": "127.0.0.1:1", "cookie": f"{COOKIE}={self.keys.session}"}
        headers |= {"origin": "http://127.0.0.1:1"} if method == "POST" else {}
        scope: Scope = {"type": "http", "method": method, "path": path, "query_string": b"", "scheme": "http"}
        scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope |= {"server": None, "client": None, "root_path": ""}
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": urlencode(form or {}).encode(), "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        async def call(app: object, scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)  # type: ignore[operator]

        anyio.run(call, self.app, scope, receive, send)
        answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], answered, b"".join(one.get("body", b"") for one in sent[1:])

    def explain(self, name: str) -> str:
        """Presses the button; where the report is."""
        number = self.jobs[name].id
        status, headers, _ = self.ask("POST", "/do/explain", {"key": self.keys.form, "id": number})
        assert (status, headers["location"]) == (303, f"/picture/{number}/evidence")
        return headers["location"]

    def state(self, name: str) -> str:
        report = self.evidence.of(self.jobs[name])
        return "" if report is None else report.state


def test_the_report_is_made_and_cannot_do_anything(workshop: Workshop) -> None:
    page = Page(workshop, ["one"])
    address = f"/picture/{page.jobs['one'].id}/evidence"
    assert page.ask("GET", address)[0] == 404
    assert page.ask("POST", "/do/explain", {"key": "guess", "id": page.jobs["one"].id})[0] == 403
    assert page.explain("one") == address
    wait_until(lambda: page.state("one") == "ready")
    status, headers, body = page.ask("GET", address)
    assert status == 200
    said = f"<p>one.jpg {len(page.originals['one'])} --progress json --scale 2 --model copy"
    assert body.startswith(said.encode())
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "script" not in headers["content-security-policy"]
    page.evidence.close()
    page.ledger.close()


def test_the_report_is_by_what_restored_at_a_scale_that_can_be_explained(workshop: Workshop) -> None:
    workshop.folder_values |= {"model": str(workshop.base / "copy.safetensors"), "scale": 17}
    page = Page(workshop, ["one"])
    assert page.jobs["one"].model == "copy"
    address = page.explain("one")
    wait_until(lambda: page.state("one") == "ready")
    assert f"--scale 16 --model {workshop.base / 'copy.safetensors'}<".encode() in page.ask("GET", address)[2]
    assert lab.MOST_SCALE == evidence.MOST_SCALE
    page.evidence.close()
    page.ledger.close()


def test_a_failure_is_said_and_can_be_tried_again(workshop: Workshop) -> None:
    page = Page(workshop, ["bad"])
    for _ in range(2):
        address = page.explain("bad")
        wait_until(lambda: page.state("bad") == "failed")
        assert b"There is no report: bad.jpg: is odd. Try another." in page.ask("GET", address)[2]
    page.evidence.close()
    page.ledger.close()


def test_an_error_that_nobody_expected_is_said_and_the_next_report_is_made(workshop: Workshop) -> None:
    page = Page(workshop, ["odd", "one"])
    address = page.explain("odd")
    page.explain("one")
    wait_until(lambda: page.state("one") == "ready")
    assert b"There is no report: unexpected OverflowError: " in page.ask("GET", address)[2]
    page.evidence.close()
    page.ledger.close()


def test_an_original_that_goes_while_its_report_waits_is_said(workshop: Workshop) -> None:
    """It is not kept in memory until then: many may wait, each of 256 MiB."""
    page = Page(workshop, ["slow", "later"])
    page.explain("slow")
    address = page.explain("later")
    wait_until(lambda: page.state("slow") == "made")
    Path(workshop.store.path_of(page.jobs["later"].source_sha256)).unlink()
    assert page.evidence._child is not None
    page.evidence._child.kill()
    wait_until(lambda: page.state("later") == "failed")
    assert b"There is no report: the original is no longer kept" in page.ask("GET", address)[2]
    page.evidence.close()
    page.ledger.close()


def test_old_reports_make_room_for_new_ones(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PAGES_BYTES", 200)
    page = Page(workshop, ["one", "two", "three"])
    for name in page.jobs:
        page.explain(name)
    *others, last = page.jobs
    wait_until(lambda: page.state(last) == "ready")
    kept = [name for name in page.jobs if page.state(name) == "ready"]
    assert kept == [others[-1], last]
    assert page.ask("GET", f"/picture/{page.jobs[others[0]].id}/evidence")[0] == 404
    monkeypatch.setattr(evidence, "PAGES_BYTES", 1)
    page.explain(others[0])
    wait_until(lambda: page.state(others[0]) == "ready")  # it alone is more, and yet shown
    assert [page.state(name) for name in page.jobs] == ["ready", "", ""]
    page.evidence.close()
    page.ledger.close()


def test_it_ends_with_the_page(workshop: Workshop) -> None:
    page = Page(workshop, ["slow", "later"])
    address = page.explain("slow")
    page.explain("later")
    wait_until(lambda: page.state("slow") == "made")
    body = page.ask("GET", address)[2]
    assert b"40% Asking the network" in body
    assert b'http-equiv="refresh"' in body
    assert page.state("later") == "waits"  # one at a time
    page.evidence.close()  # does not wait for ten minutes
    assert page.state("later") == "waits"
    page.ledger.close()


def test_without_an_original_there_is_nothing_to_explain(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(workshop, ["one"])
    monkeypatch.setattr(page.evidence, "ask", lambda *_: pytest.fail("asked"))
    Path(workshop.store.path_of(page.jobs["one"].source_sha256)).unlink()
    status, _, body = page.ask("POST", "/do/explain", {"key": page.keys.form, "id": page.jobs["one"].id})
    assert (status, body) == (404, b"the original is no longer kept\n")
    page.evidence.close()
    page.ledger.close()
