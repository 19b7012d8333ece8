"""The page's addresses: lists, one picture, its files, the buttons, the live strip."""

from __future__ import annotations

from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from liif_daemon.examine import model_of
from liif_daemon.ledger import Job
from liif_daemon.ledger.review import VIEWS, Filter, ReviewLedger
from liif_daemon.review import rows
from liif_daemon.review.actions import Actions
from liif_daemon.review.addresses import address, cursor_of, filter_of, given
from liif_daemon.review.evidence import Evidence
from liif_daemon.review.guard import COOKIE, HOSTS, OPEN, Guard, Keys, refusal
from liif_daemon.review.live import live
from liif_daemon.review.pictures import Pictures, Side
from liif_daemon.settings import Settings
from liif_daemon.store import Store
from liif_engine.errors import LiifError, printable
from liif_engine.model_names import makers, names_a_file

HERE = Path(__file__).parent

#: Rows on one page.
ROWS = 50

#: A form is a few words and at most `ROWS` numbers. [bytes]
MAX_FORM_BYTES = 1 << 14

#: Of a row's number; Python itself refuses very long ones.
MAX_DIGITS = 20

#: Pictures that are read and converted at the same time.
AT_ONCE = 2

#: A report is one page with its styles and pictures inside. Should anything else ever get into it, it can do nothing.
REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"

#: What the tabs say.
TITLES = {
    "review": "To review",
    "kept": "Kept",
    "undone": "Undone",
    "failed": "Failed",
    "skipped": "Left alone",
    "queue": "Queue",
}


#: For what has its content's hash in its address.
UNCHANGING = "private, max-age=86400, immutable"


class RowConvertor(IntegerConvertor):
    """A row's number in an address; a longer one than SQLite counts to is no address of ours."""

    regex = "[0-9]{1,18}"


register_url_convertor("row", RowConvertor())


class Static(StaticFiles):
    """Styles and scripts, which a browser asks for once."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """One file."""
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = UNCHANGING
        return response


class Pages:
    """The whole page.

    Args:
        settings: where the daemon's files are.
        ledger: open.
        keys: of this run.
        evidence: what makes reports; None for `liif explain`.
    """

    def __init__(
        self, settings: Settings, ledger: ReviewLedger, keys: Keys, *, evidence: Evidence | None = None
    ) -> None:
        store = Store(settings.daemon.originals_folder, ledger.originals.owner())
        self.settings, self.ledger, self.keys = settings, ledger, keys
        self.pictures, self.actions = Pictures(store), Actions(ledger, store)
        self.evidence = evidence or Evidence(settings.path)
        self.templates = Jinja2Templates(HERE / "templates")
        self.templates.env.globals |= {"titles": TITLES, "form_key": keys.form, "static": _static_version()}
        self.templates.env.filters["printable"] = printable
        self._room: anyio.CapacityLimiter | None = None

    def app(self) -> Starlette:
        """For a server."""
        routes = [
            Route(OPEN + "{token}", self.open, methods=["GET"]),
            Route("/", self.rows, methods=["GET"]),
            Route("/live", self.live, methods=["GET"]),
            Route("/picture/{id:row}", self.picture, methods=["GET"]),
            Route("/picture/{id:row}/damage", self.damage, methods=["GET"]),
            Route("/picture/{id:row}/evidence", self.report, methods=["GET"]),
            Route("/picture/{id:row}/{side}", self.file, methods=["GET"]),
            Route("/do/{action}", self.do, methods=["POST"]),
            Mount("/static", Static(directory=HERE / "static")),
        ]
        # The Host first: whoever points a name of theirs to this machine hears nothing else.
        middleware = [
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
            Middleware(Guard, keys=self.keys),
        ]
        return Starlette(routes=routes, middleware=middleware)

    def warm(self) -> None:
        """Does beforehand what the first page would have to wait for."""
        for name in self.templates.env.list_templates():
            self.templates.env.get_template(name)
        for job in self.ledger.page(Filter(), ROWS):
            rows.row(job, self.ledger, self.pictures)

    async def open(self, request: Request) -> Response:
        """The link's end: the token becomes a cookie."""
        known = self.keys.knows(request)
        # A browser that only prepares for a click must not use the link up.
        if request.method == "HEAD" or "sec-purpose" in request.headers:
            return refusal("the link wants to be opened")
        if not known and not self.keys.use_link(request.path_params["token"]):
            return refusal("the link was used already, or is wrong. Run `liif-daemon review` again for another")
        # No redirect: a browser that came here from elsewhere would not send a strict cookie along with it.
        response = self.templates.TemplateResponse(request, "open.html")
        if not known:
            response.set_cookie(COOKIE, self.keys.session, httponly=True, samesite="strict", path="/")
        return response

    def rows(self, request: Request) -> Response:
        """The rows of one view."""
        asked = filter_of(dict(request.query_params))
        cursor = request.query_params.get("after", "")
        jobs = self.ledger.page(asked, ROWS + 1, after=cursor_of(cursor))
        if cursor and not jobs:  # the last page's rows are in other views by now
            return RedirectResponse(address("/", asked), HTTPStatus.SEE_OTHER)
        shown = [rows.row(job, self.ledger, self.pictures) for job in jobs[:ROWS]]
        older = str(jobs[ROWS - 1].sequence) if len(jobs) > ROWS else ""
        folders, models = self.ledger.choices()
        # An address cannot carry a name that is no text; its rows are among the others.
        folders = [folder for folder in folders if str(folder) == printable(folder)]
        context = {
            "asked": asked,
            "rows": shown,
            "count": self.ledger.count(asked),
            "older": address("/", asked, after=older) if older else "",
            "cursor": cursor,
            "is_first": not cursor,
            "folders": folders,
            "models": models,
        }
        return self._page(request, "list.html", asked, context)

    def picture(self, request: Request) -> Response:
        """One picture, before and after."""
        job, asked = self._job(request.path_params["id"]), filter_of(dict(request.query_params))
        after = self._first(asked, job.sequence)
        before = self.ledger.before(asked, job)
        context = {
            "row": rows.row(job, self.ledger, self.pictures),
            "job": job,
            "kept_until": self._kept_until(job),
            "lack": {side: self._lack(job, side) for side in ("before", "after")},
            "next": address(f"/picture/{after.id}", asked) if after else "",
            "previous": address(f"/picture/{before.id}", asked) if before else "",
        }
        return self._page(request, "picture.html", asked, context)

    def _kept_until(self, job: Job) -> str:
        until = self.ledger.originals.until(job.source_sha256)
        if until is not None and not self.pictures.store.path_of(job.source_sha256).is_file():
            return "was to be kept, but is not to be found in the store"
        return rows.kept_until(until)

    def damage(self, request: Request) -> Response:
        """What compression did to the original, as text: it takes a moment, so the page asks for it afterwards."""
        try:
            return PlainTextResponse(rows.damage(self.pictures.damage(self._job(request.path_params["id"]))))
        except LiifError as error:
            return PlainTextResponse(f"unknown: {error.message}")

    def report(self, request: Request) -> Response:
        """The evidence for one picture, or how far it is."""
        job = self._job(request.path_params["id"])
        report = self.evidence.of(job)
        if report is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such report, or no longer: press its button.")
        if report.state != "ready":
            context = {"report": report, "name": printable(job.path.name)}
            return self.templates.TemplateResponse(request, "evidence.html", context)
        return HTMLResponse(report.page, headers={"Content-Security-Policy": REPORT_POLICY})

    async def file(self, request: Request) -> Response:
        """``before``, ``after`` or ``thumbnail`` of one row; never a path that a browser names."""
        side = request.path_params["side"]
        if side not in {"before", "after", "thumbnail"}:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        job = await run_in_threadpool(self._job, request.path_params["id"])
        self._room = self._room or anyio.CapacityLimiter(AT_ONCE)
        make = self.pictures.thumbnail if side == "thumbnail" else lambda job: self.pictures.whole(job, side)
        try:
            shown = await anyio.to_thread.run_sync(make, job, limiter=self._room)
        except LiifError as error:
            return PlainTextResponse(error.message, HTTPStatus.NOT_FOUND)
        headers = {"Cache-Control": UNCHANGING, "Content-Disposition": "inline"}
        headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
        return Response(shown.data, media_type=shown.media_type, headers=headers)

    def live(self, request: Request) -> Response:
        """The strip at the head."""
        return self.templates.TemplateResponse(request, "live.html", {"live": live(self.settings, self.ledger)})

    async def do(self, request: Request) -> Response:
        """A button: `id` once or several times, the form's token, and where to go on."""
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_FORM_BYTES:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        pairs = parse_qsl(body.decode("utf-8", "replace"))
        numbers = [int(value) for key, value in pairs if key == "id" and value.isdecimal() and len(value) < MAX_DIGITS]
        form = dict(pairs)
        if not self.keys.is_form(form.get("key", "")):
            return refusal("the form is not from this page, or from an earlier run: load the page again")
        action = request.path_params["action"]
        if action == "explain" and numbers:
            return await run_in_threadpool(self._explain, numbers[0])
        if action not in {"undo", "keep", "again", "retry"} or not numbers:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return await run_in_threadpool(self._do, action, numbers, form)

    def _explain(self, number: int) -> Response:
        job = self._job(number)
        try:
            self.pictures.read(job, "before")  # refuses at once what could not be explained later
            self.evidence.ask(job, lambda: self.pictures.read(job, "before"), self._model_of(job))
        except LiifError as error:
            return PlainTextResponse(f"{error.message}\n", HTTPStatus.NOT_FOUND)
        return RedirectResponse(f"/picture/{job.id}/evidence", HTTPStatus.SEE_OTHER)

    def _model_of(self, job: Job) -> str:
        """What restored a picture, as `liif explain` takes it; empty if nothing did."""
        if job.state not in {"done", "undone"}:
            return ""
        asked = model_of(self.settings.folder_of(job.path), self.settings)
        # The ledger has a checkpoint's name alone, by which nobody finds it.
        return asked if names_a_file(asked) and job.model in makers(asked) else job.model

    def _do(self, action: str, numbers: list[int], form: dict[str, str]) -> Response:
        jobs, asked = [self._job(number) for number in numbers], filter_of(form)
        worked = self.actions.do(action, jobs, force=form.get("force") == "yes")
        if form.get("page") == "picture":
            leads = self._first(asked, jobs[-1].sequence) if worked else jobs[0]
            leads_to = address(f"/picture/{leads.id}", asked) if leads else address("/", asked)
        else:
            cursor = form.get("after", "") if cursor_of(form.get("after", "")) is not None else ""
            # The browser's focus goes on: to the row itself if it is still there, else to the next, else to the last.
            leads = self._first(asked, jobs[0].sequence + 1) or self.ledger.before(asked, jobs[0])
            leads_to = address("/", asked, after=cursor) + (f"#row-{leads.id}" if leads else "")
        return RedirectResponse(leads_to, HTTPStatus.SEE_OTHER)

    def _first(self, asked: Filter, after: int) -> Job | None:
        return next(iter(self.ledger.page(asked, 1, after=after)), None)

    def _page(self, request: Request, template: str, asked: Filter, context: dict[str, object]) -> Response:
        said = [self.actions.said.popleft() for _ in range(len(self.actions.said))]
        tabs = {view: address("/", Filter(view, asked.search, asked.folder, asked.model)) for view in VIEWS}
        common = {"said": said, "tabs": tabs, "live": live(self.settings, self.ledger), "asked": asked}
        common |= {"back": address("/", asked), "query": urlencode(given(asked))}
        return self.templates.TemplateResponse(request, template, {**common, **context})

    def _job(self, number: int) -> Job:
        job = self.ledger.job(number) if number < 1 << 63 else None
        if job is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such row in the ledger.")
        return job

    def _lack(self, job: Job, side: Side) -> str:
        """Why a side cannot be shown; empty if it can."""
        try:
            self.pictures.check(job, side)
        except LiifError as error:
            return error.message
        return ""


def _static_version() -> str:
    """Changes with the styles and scripts."""
    files = sorted((HERE / "static").iterdir())
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
