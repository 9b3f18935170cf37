"""Bodies as they come: bounded each, and all together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from serinus.errors import BadInput, Overloaded, TooLarge
from serving.ask import MAX_BODY_BYTES

MAX_HELD_BYTES = 64 << 20
LONGEST_S = 20.0
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Bodies:
    """The bodies of inference requests that are on their way in. `held`: bytes of those on which no work has begun."""

    def __init__(self) -> None:
        self.held = 0

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The whole body. Raises TooLarge as soon as that is known, Overloaded, BadInput."""
        declared = headers.get(b"content-length", b"")
        if len(declared) > 6 and declared.isdigit() and int(declared[:20]) > MAX_BODY_BYTES:
            raise TooLarge(f"the body has {declared[:20].decode()} bytes, expected at most {MAX_BODY_BYTES}")
        message = await receive()
        if self.held > MAX_HELD_BYTES:
            raise Overloaded(f"{self.held} bytes of bodies wait here")
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            return body
        try:
            async with asyncio.timeout(LONGEST_S):
                return await self._rest(message, receive)
        except TimeoutError as error:
            raise BadInput(f"the body did not come within {LONGEST_S:g} s") from error

    async def _rest(self, message: dict[str, Any], receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise BadInput("the client went away before its body was read")
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                self.held += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise TooLarge(f"the body has more than {MAX_BODY_BYTES} bytes")
                if self.held > MAX_HELD_BYTES:
                    raise Overloaded(f"{self.held} bytes of bodies wait here")
                chunks.append(chunk)
                if not message.get("more_body"):
                    return b"".join(chunks)
                message = await receive()
        finally:
            self.held -= size
