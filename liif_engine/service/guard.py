"""Who may use the service: this user's programs, and neither other users nor web pages."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import socket
import struct
import sys
from typing import Any
from urllib.parse import urlsplit

import h11
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from liif_engine.errors import AccessError
from liif_engine.service.answer import refusal

#: The names by which a program on this machine may call the service.
OWN_HOSTS = {"localhost", "127.0.0.1", "::1"}

#: What a request's scope says of the server when it came through the Unix socket.
UNIX_SOCKET = ("unix", None)

#: Room in the kernel for an answer on its way to the caller; the usual 200 KB cost a switch of processes each. [bytes]
SEND_BUFFER_BYTES = 1 << 20

#: Connections through the loopback port at once; the rest of serve.MAX_CONNECTIONS is for the socket alone, where
#: nobody else can take them all.
MAX_AT_PORT = 500

#: Where a caller of the loopback port asks for proof that this is the service, before it shows the token.
PROOF = "/v1/proof"


class OwnerOnly(H11Protocol):
    """HTTP/1.1 that hangs up on other users, should the modes of folder and socket ever let them in, and on the silent.

    Attributes:
        header_seconds: how long a caller may take to say what it wants, at first and after each answer.
        send_seconds: how long a caller may read nothing of an answer that is under way.
    """

    header_seconds = 10.0
    send_seconds = 60.0
    _silence: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Looks at who calls before a byte is read."""
        assert isinstance(transport, asyncio.Transport)  # uvicorn listens on streams only
        one = transport.get_extra_info("socket")
        if one is not None:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if peer_uid(one) not in {None, 0, os.getuid() if hasattr(os, "getuid") else None}:
                self._turn_away(transport, b"403 Forbidden", b"this service belongs to another user\n")
                return
        is_private = one is not None and one.family == getattr(socket, "AF_UNIX", None)
        at_port = sum(getattr(other, "server", None) != UNIX_SOCKET for other in self.connections)
        if not is_private and at_port >= MAX_AT_PORT:
            self._turn_away(transport, b"503 Service Unavailable", b"too many connections to this port\n")
            return
        super().connection_made(transport)
        if is_private:
            self.server = UNIX_SOCKET
        self._expect(after=self.cycle)

    def _turn_away(self, transport: asyncio.Transport, status: bytes, words: bytes) -> None:
        """Answers before a byte is read, and hangs up."""
        self.transport = transport
        transport.write(b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: text/plain\r\n" % status)
        transport.write(b"Content-Length: %d\r\n\r\n%s" % (len(words), words))
        transport.close()

    def on_response_complete(self) -> None:
        """Waits for the next request, of which uvicorn forgets to when its first byte has come."""
        answered = self.cycle
        super().on_response_complete()
        self._expect(after=answered)

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP; whoever waits for the rest of that request hears that nobody does any more."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:  # an answer is under way, or was given before the body had come
            self.transport.close()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing more."""
        super().connection_lost(exc)
        for timer in (self._silence, self._stall):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        """The caller reads more slowly than it is answered; if no more at all, its result would be held for ever."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The caller has read."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    def _expect(self, *, after: Any) -> None:
        """Looks in a while whether there was a request after that one; None for none."""
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self.loop.call_later(self.header_seconds, self._hang_up_if_silent, after)

    def _watch(self, unsent: int) -> None:
        """Looks in a while whether less is left to be sent."""
        self._stall = self.loop.call_later(self.send_seconds, self._hang_up_if_stalled, unsent)

    def _hang_up_if_stalled(self, before: int) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent < before:
            self._watch(unsent)
        else:
            self.transport.abort()  # to close it would wait for the caller too

    def _hang_up_if_silent(self, after: Any) -> None:
        """Ends a connection that sent no request since that one: it would keep others out."""
        if self.cycle is after and not self.transport.is_closing():
            self.transport.close()


def peer_uid(one: Any) -> int | None:
    """The user at the other end of a Unix socket, where the system tells.

    Args:
        one: a connected socket.
    """
    if not sys.platform.startswith("linux") or one.family != socket.AF_UNIX:
        return None
    _, uid, _ = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


class Guard:
    """Refuses what a web page could send, and on the loopback port whoever does not show the token.

    A page that knows the port can make a browser send requests, but cannot forge Host (DNS rebinding) or leave out
    Origin, and cannot read the token's file.

    Args:
        app: what is guarded.
        token: of the loopback port, if there is one.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it with 401 or 403."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if _host(headers.get(b"host", b"")) not in OWN_HOSTS:
            await refusal(AccessError("refused: the Host is not this machine"), 403)(scope, receive, send)
        elif b"origin" in headers:
            await refusal(AccessError("refused: web pages may not use this service"), 403)(scope, receive, send)
        elif self.token is not None and scope["path"] == PROOF:
            challenge = headers.get(b"liif-challenge", b"")
            proof = hmac.new(self.token.encode(), challenge, hashlib.sha256).hexdigest()
            await PlainTextResponse(proof)(scope, receive, send)
        elif not self._is_known(scope, headers):
            answer = refusal(AccessError("refused: the token is missing or wrong"), 401)
            answer.headers["WWW-Authenticate"] = "Bearer"  # without it Java's client raises its own error
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_known(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        """Whether the caller came through the Unix socket, or shows the token."""
        if scope.get("server") == UNIX_SOCKET:
            return True
        shown = headers.get(b"authorization", b"")
        return self.token is not None and hmac.compare_digest(shown, b"Bearer " + self.token.encode())


def _host(header: bytes) -> str:
    try:
        return urlsplit(f"//{header.decode('ascii')}").hostname or ""
    except ValueError:
        return ""
