"""The review page's guard, without a browser: who is refused, what is served, and what cannot become script."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from liif_daemon.review import guard, peer
from starlette.types import Message, Receive, Scope, Send

from .reviewing import Review, review
from .workshop import Workshop, draw

__all__ = ["review"]  # a fixture


def test_only_its_own_pages_may_act(review: Review) -> None:
    """Each request is as it should be but for one thing."""
    path = review.workshop.folder / "a.jpg"
    restored, job, key = path.read_bytes(), review.job(path), review.key()
    form: dict[str, object] = {"key": key, "id": job.id}
    address = review.origin.removeprefix("http://")
    port = address.rpartition(":")[2]
    wrong: list[tuple[str, str, dict[str, object] | None, dict[str, str | None]]] = [
        ("another site", "POST", form, {"Origin": "https://example.org"}),
        ("another port of this machine", "POST", form, {"Origin": "http://127.0.0.1:1"}),
        ("another port, as the browser says", "POST", form, {"Sec_Fetch_Site": "same-site"}),
        ("a sandboxed frame", "POST", form, {"Origin": "null"}),
        ("no origin", "POST", form, {"Origin": None}),
        ("no cookie", "POST", form, {"Cookie": None}),
        ("another cookie", "POST", form, {"Cookie": "liif_review=guess"}),
        ("no token", "POST", {"id": job.id}, {}),
        ("another token", "POST", {**form, "key": "guess"}, {}),
        ("a rebound name", "POST", form, {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}),
        ("a rebound name without a port", "POST", form, {"Host": "evil.example"}),
        ("a page that is not acted on by reading", "GET", None, {}),
    ]
    for what, method, body, headers in wrong:
        asked = f"/do/undo?key={key}&id={job.id}" if method == "GET" else "/do/undo"
        status, _, said = review.ask(method, asked, body, **headers)
        assert status in {400, 403, 405}, f"{what}: {status} {said!r}"
        assert path.read_bytes() == restored, what
    assert review.ask("POST", "/do/undo", form)[0] == 303
    assert path.read_bytes() != restored


def test_nothing_is_shown_to_others(review: Review) -> None:
    number = review.job(review.workshop.folder / "a.jpg").id
    for path in ("/", "/live", f"/picture/{number}", f"/picture/{number}/before", "/static/review.js"):
        assert review.ask("GET", path)[0] == 200
        assert review.ask("GET", path, Cookie=None)[0] == 403
        assert review.ask("GET", path, Sec_Fetch_Site="same-site")[0] == 403
        assert review.ask("GET", path, Sec_Fetch_Site="cross-site")[0] == 403
        assert review.ask("GET", path, Host="rebound.example")[0] == 400


def test_the_link_opens_it_once(workshop: Workshop) -> None:
    review = Review(workshop)
    assert review.ask("GET", "/open/guess")[0] == 403
    assert review.ask("GET", f"/open/{review.token}", Host="rebound.example")[0] == 400
    assert review.ask("HEAD", f"/open/{review.token}")[0] == 403
    assert review.ask("GET", f"/open/{review.token}", Sec_Purpose="prefetch")[0] == 403
    status, headers, _ = review.ask("GET", f"/open/{review.token}", Sec_Fetch_Site="cross-site")
    assert status == 200
    flags = {part.strip().lower() for part in headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    assert review.token not in headers["set-cookie"]
    status, headers, said = review.ask("GET", f"/open/{review.token}")
    assert (status, "set-cookie" in headers) == (403, False)
    assert b"used already" in said
    review.end()


def test_every_answer_forbids_scripts_from_elsewhere(review: Review) -> None:
    number = review.job(review.workshop.folder / "a.jpg").id
    for path in ("/", f"/picture/{number}", f"/picture/{number}/after", "/static/review.css", "/nothing", "/live"):
        status, headers, data = review.ask("GET", path)
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["content-security-policy"].startswith("default-src 'none'"), path
        assert "unsafe" not in headers["content-security-policy"]
        if headers["content-type"].startswith("text/html"):
            assert status == 200
            assert b"<style" not in data
            assert b" style=" not in data
            assert b"<script>" not in data
            assert b" onclick" not in data
            assert b"//" not in data.replace(b"http-equiv", b"").replace(review.origin.encode(), b"")


def test_only_pictures_of_the_ledger_are_served(review: Review) -> None:
    number = review.job(review.workshop.folder / "a.jpg").id
    for path in (f"/picture/{number}/..%2f..%2fconfig.yaml", "/picture/999/before", f"/picture/{1 << 70}/before"):
        assert review.ask("GET", path)[0] == 404
    for digits in ("9" * 18, "9" * 19, "9" * 5000):  # the last is more than Python makes a number of
        assert review.ask("GET", f"/picture/{digits}")[0] == 404
        assert review.ask("GET", f"/picture/{digits}/before")[0] == 404
    for path in ("/static/../pages.py", "/static/%2e%2e/pages.py", "/picture/-1/before", "/picture/x/before"):
        assert review.ask("GET", path)[0] == 404
    target = review.workshop.folder / "a.jpg"
    target.unlink()
    target.symlink_to(review.workshop.base / "config.yaml")  # not what the ledger speaks of
    assert review.ask("GET", f"/picture/{number}/after?v=new")[0] == 404


def test_odd_addresses_are_no_failure(review: Review) -> None:
    for query in (
        "view=nothing",
        "after=x",
        "after=-1",
        "after=%C2%B2",
        f"after={1 << 70}",
        "after=" + "9" * 5000,
        "search=%ff%00",
        "folder=%ff",
    ):
        assert review.ask("GET", f"/?{query}")[0] == 200, query
    form: dict[str, object] = {"key": review.key(), "id": 1}
    for path, status in (("/do/nothing", 404), ("/do/keep?view=x", 303), ("/do/", 404), ("/", 405)):
        assert review.ask("POST", path, form)[0] == status
    for body in ({**form, "id": "x"}, {**form, "id": 1 << 70}, {**form, "id": "9" * 5000}, {"key": form["key"]}):
        assert review.ask("POST", "/do/keep", body)[0] == 404
    assert review.ask("POST", "/do/keep", {**form, "search": "x" * (1 << 15)})[0] == 413


def test_a_name_or_a_content_cannot_become_script(workshop: Workshop) -> None:
    name = '<img src=x onerror="alert(1)">&amp;\u202egpj'
    path = workshop.folder / f"{name}.jpg"
    draw(path, 1)
    (workshop.folder / "page.jpg").write_bytes(b"<html><script>alert(1)</script>")
    (workshop.folder / "drawing.png").write_bytes(b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>')
    raw = os.fsencode(workshop.folder) + b"/\xff\xfe.jpg"
    draw(workshop.folder / "latin.jpg", 2)
    (workshop.folder / "latin.jpg").rename(os.fsdecode(raw))
    assert workshop.once() == {"done": 2, "failed": 2}
    review = Review(workshop)
    review.open()
    page = review.ask("GET", "/")[2].decode()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=" in page
    assert "\\udcff" in page
    assert review.ask("GET", f"/picture/{review.job(path).id}")[0] == 200
    for lie in ("page.jpg", "drawing.png"):
        number = review.job(workshop.folder / lie).id
        for side in ("before", "thumbnail"):
            status, headers, _ = review.ask("GET", f"/picture/{number}/{side}")
            assert (status, headers["content-type"]) == (404, "text/plain; charset=utf-8")
        assert review.ask("GET", f"/picture/{number}")[0] == 200
    review.end()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells whose a connection is")
def test_it_is_known_whose_program_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    us = os.geteuid()
    stranger = 65534 if us == 0 else us
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as caller:
        here = server.getsockname()
        os.seteuid(stranger)
        try:
            made_by_stranger = socket.socket()
        finally:
            os.seteuid(us)
        with made_by_stranger:
            caller.connect(here)
            made_by_stranger.connect(here)
            assert peer.owner_of(caller.getsockname(), here) == us
            there = made_by_stranger.getsockname()
            assert peer.owner_of(there, here) == stranger
            for user, foreign in ((stranger, False), (stranger + 1, True), (0, False)):
                monkeypatch.setattr(os, "getuid", lambda user=user: user)
                assert peer.is_foreign(there, here) is foreign
    assert peer.owner_of(("127.0.0.1", 1), here) is None
    monkeypatch.setattr(peer, "CONNECTIONS", Path("/no/such/list"))  # as on other systems than Linux
    monkeypatch.setattr(os, "getuid", lambda: stranger + 1)
    assert peer.is_foreign(there, here) is False


def test_another_user_of_the_machine_is_refused_even_with_the_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "is_foreign", lambda client, _: client[1] == 2)
    keys, let_through, answers = guard.Keys(), list[int](), list[Message]()

    async def page(scope: Scope, _receive: Receive, _send: Send) -> None:
        let_through.append(scope["client"][1])

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        answers.append(message)

    for port in (1, 2):
        cookie = (b"cookie", f"{guard.COOKIE}={keys.session}".encode())
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [cookie]}
        scope |= {"client": ("127.0.0.1", port), "server": ("127.0.0.1", 80)}
        asyncio.run(guard.Guard(page, keys)(scope, receive, send))
    assert let_through == [1]
    assert answers[0]["status"] == 403
