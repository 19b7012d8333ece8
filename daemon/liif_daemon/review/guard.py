"""Who may use the review page: the browser that opened its link, from the page itself, and nobody else."""

from __future__ import annotations

import hmac
import secrets
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liif_daemon.review.peer import is_foreign

#: The names by which a browser on this machine may call the page. Any other name is somebody's who points it here.
HOSTS = ["127.0.0.1", "localhost"]

#: Where the link leads; what follows is the token.
OPEN = "/open/"

COOKIE = "liif_review"

#: Nothing but this program's own files and pictures, no script or style inside the pages, no frame around them.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers hide the Origin of our own forms
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Keys:
    """The secrets of one run of the page.

    Attributes:
        link: opens the page once; None when it was used.
        session: the cookie's value.
        form: what every form must bring.
    """

    def __init__(self) -> None:
        self.link: str | None = secrets.token_urlsafe(32)
        self.session, self.form = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

    def use_link(self, shown: str) -> bool:
        """Whether this is the link's token; it is worth nothing afterwards."""
        if self.link is None or not _same(shown, self.link):
            return False
        self.link = None
        return True

    def knows(self, request: Request) -> bool:
        """Whether the browser shows the cookie."""
        return _same(request.cookies.get(COOKIE, ""), self.session)

    def is_form(self, shown: str) -> bool:
        """Whether a form comes from a page of this run."""
        return _same(shown, self.form)


class Guard:
    """Refuses whatever does not come from the page itself, and tells browsers what the page may do.

    A request that acts must come from this very origin, with the cookie, which no other site can make a browser send
    or read; forms bring a token besides (see actions.py). Other ports of this machine are another origin, but the same
    "site", so a strict cookie alone does not keep their pages out: `Origin` and `Sec-Fetch-Site` do. And browsers send
    the cookie to whoever listens there, so other users of the machine are refused even with it, where the system tells.

    Args:
        app: what is guarded.
        keys: of this run.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app, self.keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it with 403."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refusal(Request(scope))
        await (refused or self.app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        if is_foreign(request.scope.get("client"), request.scope.get("server")):
            return refusal("this page belongs to another user of this machine")
        opens = request.url.path.startswith(OPEN) and request.method == "GET"
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{request.headers.get('host', '')}":
            return refusal("it comes from another site")
        if request.method not in {"GET", "HEAD"} and origin is None:
            return refusal("it does not say which page it comes from")
        # A link may be clicked anywhere; all else is asked for by the page itself, or typed.
        if not opens and request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return refusal("it comes from another site")
        if not opens and not self.keys.knows(request):
            return refusal("this browser has not opened the page. Use the link that `liif-daemon review` has shown")
        return None


def refusal(why: str) -> Response:
    """403, in words."""
    return PlainTextResponse(f"Refused: {why}.\n", HTTPStatus.FORBIDDEN)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
