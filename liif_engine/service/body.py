"""A request's body: taken piece by piece, within limits of length and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.requests import ClientDisconnect, Request

from liif_engine import memory
from liif_engine.errors import LiifError, TimeLimitError, TooLargeError

#: A refused body up to this long is read all the same. [bytes]
MAX_DRAINED_BYTES = 64 << 20

TOO_LONG_REMEDY = "Name a picture by its path instead of sending it: docs/service.md says how."


class Body:
    """The body of one request.

    Args:
        request: whose body it is.
        seconds: how long the next piece may take to arrive.

    Attributes:
        length: in bytes, if the caller says it; of a body in chunks, which decide, another length says nothing.
    """

    def __init__(self, request: Request, seconds: float) -> None:
        self.request, self.seconds = request, seconds
        chunked = "transfer-encoding" in request.headers
        announced = None if chunked else request.headers.get("content-length")
        self.length = None if announced is None else int(announced)  # h11 has seen to it that it is a number

    async def pieces(self, limit: int, remedy: str = TOO_LONG_REMEDY) -> AsyncIterator[bytes]:
        """The body's pieces; `remedy` is for one that is too long.

        Raises:
            TooLargeError: it is longer than `limit` bytes.
            TimeLimitError: the next piece did not come in time.
            ClientDisconnect: the caller has gone.
        """
        received, stream = 0, aiter(self.request.stream())
        while True:
            try:
                piece = await asyncio.wait_for(anext(stream), self.seconds)
            except StopAsyncIteration:
                return
            except TimeoutError:
                words = f"no more of the body came for {self.seconds:g} s"
                raise TimeLimitError(words, remedy="Send it again.") from None
            received += len(piece)
            if received > limit:
                words = f"the body is longer than {memory.readable(limit)}"
                raise TooLargeError(words, remedy=remedy)
            yield piece

    @asynccontextmanager
    async def not_yet(self) -> AsyncIterator[None]:
        """What is refused in this block is refused before the body is taken.

        The body is then still read where that is quick, since few callers look for an answer before they have sent all.
        """
        try:
            yield
        except LiifError:
            await self.drain()
            raise

    async def drain(self) -> None:
        """Reads the body to its end and forgets it, unless it is long or the caller waits to be asked for it."""
        if self.length is None or self.length > MAX_DRAINED_BYTES or "expect" in self.request.headers:
            return
        with suppress(LiifError, ClientDisconnect):
            async for _ in self.pieces(self.length):
                pass
