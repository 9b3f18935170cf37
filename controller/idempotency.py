"""The header Idempotency-Key, before any handler: handlers need to know nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass, field

from anyio import to_thread
from sqlalchemy import or_, select
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.auth import bearer_sha256
from controller.bodies import replaying, streams
from controller.once import Answer, Carrying, Claim
from controller.problems import problem_of
from controller.services import Services
from controller.tables import Token
from serinus.errors import BadInput, SerinusError, Stale

__all__ = ["Idempotency"]

KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT = ("content-type", "etag", "location")
MOST_BYTES = 256 << 10
"""Of an answer that is kept; a larger one is not, and its request is not carried out again."""
MANY = re.compile(r"/v1/uploads/[^/]+/finish|/v1/garbage")
"""Writes of many transactions, which do the same when they are repeated: cut off between two of them they must be."""
WAIT_S, LOOK_S = 5.0, 0.1
"""How long a repetition waits for the first, and how often it looks."""


class Idempotency:
    """Streams have no key: packages and parts of uploads are known by their digest and their place."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app, self.services = app, services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = Headers(scope=scope).get("idempotency-key") if _covered(scope) else None
        if key is None:
            await self.app(scope, receive, send)
            return
        try:
            if not KEY.fullmatch(key):
                raise BadInput("Idempotency-Key: expected 1 to 255 visible ASCII characters")
            whose = await to_thread.run_sync(self._whose, Headers(scope=scope).get("authorization"))
            if whose is None:  # the handler says why it is nobody's
                await self.app(scope, receive, send)
                return
            body = await Request(scope, receive).body()
            claim = await self._claimed(whose, key, _request_hash(scope, body))
        except SerinusError as error:
            await problem_of(error)(scope, receive, send)
            return
        if isinstance(claim, Answer):
            headers = {**claim.headers, "idempotency-replayed": "true"}
            await Response(claim.body, claim.status, headers)(scope, receive, send)
            return
        await self._carry_out(claim, scope, replaying(body, receive), send)

    def _whose(self, header: str | None) -> str | None:
        """The hash of a token that is good; of none, where none is needed. None: nothing is kept for strangers, and
        nothing that was kept is told to them."""
        digest, now = bearer_sha256(header), self.services.clock()
        good = (Token.sha256 == digest, or_(Token.expires_at.is_(None), Token.expires_at > now))
        with self.services.db.read() as session:
            if digest is not None and session.scalar(select(Token.name).where(*good)):
                return digest
            return None if session.scalar(select(Token.name).limit(1)) else "anybody"

    async def _claimed(self, whose: str, key: str, request: str) -> Claim | Answer:
        until = asyncio.get_running_loop().time() + WAIT_S
        while (found := await to_thread.run_sync(self.services.claims.claim, whose, key, request)) is None:
            if asyncio.get_running_loop().time() >= until:
                error = Stale("the same request is being carried out", "send it again, with the same key")
                error.retry_after_s = 1.0
                raise error
            await asyncio.sleep(LOOK_S)
        return found

    async def _carry_out(self, claim: Claim, scope: Scope, receive: Receive, send: Send) -> None:
        kept = _Kept()
        try:
            with Carrying(claim):
                await self.app(scope, receive, kept.take)
        except BaseException:
            await to_thread.run_sync(self.services.claims.settle, claim, None)
            raise
        await to_thread.run_sync(self.services.claims.settle, claim, kept.answer())
        for message in kept.messages:
            await send(message)


@dataclass(slots=True)
class _Kept:
    """An answer on its way, held back until it is in the database."""

    messages: list[Message] = field(default_factory=list)

    async def take(self, message: Message) -> None:
        self.messages.append(message)

    def answer(self) -> Answer | None:
        if not self.messages:
            return None
        headers = Headers(raw=self.messages[0]["headers"])
        body = b"".join(message.get("body", b"") for message in self.messages[1:])
        if len(body) > MOST_BYTES or "no-store" in headers.get("cache-control", ""):
            return None
        told = {name: headers[name] for name in KEPT if name in headers}
        return Answer(self.messages[0]["status"], told, body)


def _covered(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH", "DELETE") or streams(scope):
        return False
    path: str = scope["path"]
    return path.startswith("/v1/") and not path.startswith(("/v1/pools/", "/v1/monitor/")) and not MANY.fullmatch(path)


def _request_hash(scope: Scope, body: bytes) -> str:
    headers = Headers(scope=scope)
    head = [scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers.get("if-match", "")]
    return hashlib.sha256("\n".join(head).encode() + b"\n" + body).hexdigest()
