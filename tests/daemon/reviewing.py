"""The review page as a process of its own, and whoever wants to use it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from liif_daemon.ledger import Job
from liif_daemon.ledger.review import ReviewLedger

from .workshop import Workshop, draw

#: How long the page may take to start or to end on a loaded machine. [s]
PATIENCE = 60


class Review:
    """`liif-daemon review` on a workshop's ledger.

    Args:
        workshop: where.
        browser: a command to open the page with, ``%s`` for its address; None for --no-open.

    Attributes:
        link: opens it once.
        origin: ``http://127.0.0.1:PORT``.
        cookie: of a browser that has opened the link; empty before.
    """

    def __init__(self, workshop: Workshop, *, browser: str | None = None) -> None:
        self.workshop, self.cookie = workshop, ""
        config = workshop.base / "config.yaml"
        settings = {"daemon": {"state": str(workshop.base / "state")}, "folders": [{"path": str(workshop.folder)}]}
        config.write_text(json.dumps(settings))  # JSON is YAML
        command = [sys.executable, "-m", "liif_daemon", "review", "--config", str(config)]
        command += ["--no-open"] if browser is None else []
        self.errors = workshop.base / "review.txt"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, env={**os.environ, "BROWSER": browser or ""}, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.link = self.process.stdout.readline().strip()
        assert self.link.startswith("http://127.0.0.1:"), self.errors.read_text()
        self.origin, _, self.token = self.link.partition("/open/")

    def ask(
        self, method: str, path: str, form: dict[str, object] | None = None, **headers: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request as our own page sends it, but for what `headers` say otherwise (None: without)."""
        connection = http.client.HTTPConnection(self.origin.removeprefix("http://"), timeout=PATIENCE)
        given: dict[str, str | None] = {"Host": self.origin.removeprefix("http://"), "Sec-Fetch-Site": "same-origin"}
        if self.cookie:
            given["Cookie"] = self.cookie
        if method == "POST":
            given |= {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = None if form is None else urlencode(form, doseq=True)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**given, "Content-Length": str(len(body or ""))}.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(None if body is None else body.encode())
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data

    def open(self) -> None:
        """Uses the link up."""
        status, headers, _ = self.ask("GET", f"/open/{self.token}", Sec_Fetch_Site="cross-site")
        assert status == 200
        self.cookie = headers["set-cookie"].partition(";")[0]

    def key(self) -> str:
        """The token that forms bring."""
        found = re.search(rb'name="key" value="([^"]+)"', self.ask("GET", "/")[2])
        assert found is not None
        return found[1].decode()

    def job(self, path: Path) -> Job:
        """A file's only row in the ledger."""
        ledger = ReviewLedger(self.workshop.ledger().path)
        jobs = ledger.jobs(path=path)
        ledger.close()
        return jobs[-1]

    def end(self) -> str:
        """Ends it as Ctrl+C does; what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) == 0, self.errors.read_text()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.errors.read_text()


@pytest.fixture
def review(workshop: Workshop) -> Iterator[Review]:
    """A page on one restored picture, opened."""
    draw(workshop.folder / "a.jpg", 1)
    workshop.once()
    one = Review(workshop)
    one.open()
    yield one
    assert "Traceback" not in one.end()
