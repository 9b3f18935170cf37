"""Replay of real flights against a running stack: requests and labels in event time, over HTTP, an hour at a time.

All requests of an event hour are answered before the labels that became known in it are sent, and then the label
source says "complete to the end of this hour". How fast the hours go by is left to the caller's `gate`: evidence
depends on event time alone, so any speed gives the same verdicts; the gate only keeps the story's decisions near the
traffic that they are about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

__all__ = ["HOUR_MS", "Hour", "Replay", "Tally"]

HOUR_MS = 3_600_000
REQUEST_TIMEOUT_S = 10


@dataclass(slots=True)
class Hour:
    """What happens in one hour of event time: bodies of requests, rows of labels."""

    start_ms: int
    requests: Sequence[dict[str, Any]]
    labels: Sequence[dict[str, Any]]


@dataclass(slots=True)
class Tally:
    """What the client saw. `failed`: every answer but 200 and every time-out; nothing is sent twice."""

    sent: int = 0
    failed: int = 0
    labels: int = 0
    refused: int = 0
    errors: list[str] = field(default_factory=list)
    arms: dict[str, int] = field(default_factory=dict)

    def fail(self, why: str) -> None:
        self.failed += 1
        if len(self.errors) < 20:
            self.errors.append(why)


class Replay:
    """Sends hours to the serving side at `url`; `concurrency` requests are under way at once."""

    def __init__(self, url: str, model: str, replay_token: str, concurrency: int = 16) -> None:
        self.url, self.model, self.concurrency = url.rstrip("/"), model, concurrency
        self.headers = {"Authorization": f"Bearer {replay_token}", "Content-Type": "application/json"}
        self.tally = Tally()

    async def run(self, hours: Iterable[Hour], gate: Callable[[Hour], Awaitable[bool]]) -> Tally:
        """Send the hours in order until they end or `gate`, asked after each, says that it is enough."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=self.concurrency)
        async with aiohttp.ClientSession(headers=self.headers, timeout=timeout, connector=connector) as session:
            for hour in hours:
                await self._requests(session, hour)
                await self._labels(session, hour)
                if not await gate(hour):
                    break
        return self.tally

    async def _requests(self, session: aiohttp.ClientSession, hour: Hour) -> None:
        left = iter(hour.requests)

        async def worker() -> None:
            for body in left:
                await self._request(session, body)

        await asyncio.gather(*(worker() for _ in range(min(self.concurrency, len(hour.requests)))))

    async def _request(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> None:
        self.tally.sent += 1
        try:
            async with session.post(f"{self.url}/v2/models/{self.model}/infer", data=orjson.dumps(body)) as answer:
                text = await answer.read()
                if answer.status != 200:
                    self.tally.fail(f"{answer.status}: {text[:300]!r}")
                    return
        except (aiohttp.ClientError, TimeoutError) as error:
            self.tally.fail(f"{type(error).__name__}: {error}")
            return
        arm = orjson.loads(text)["parameters"]["arm"]
        self.tally.arms[arm] = self.tally.arms.get(arm, 0) + 1

    async def _labels(self, session: aiohttp.ClientSession, hour: Hour) -> None:
        complete = {"source": "flights", "event_ms": hour.start_ms + HOUR_MS}
        body = orjson.dumps({"model": self.model, "labels": list(hour.labels), "complete_to": complete})
        async with session.post(f"{self.url}/v1/labels", data=body) as answer:
            if answer.status != 200:
                raise RuntimeError(f"labels were not taken: {answer.status}: {(await answer.text())[:300]}")
            result = orjson.loads(await answer.read())
        self.tally.labels += result["accepted"]
        self.tally.refused += len(result["refused"])
        self.tally.errors.extend(
            f"label: {row['why']}" for row in result["refused"][: max(0, 20 - len(self.tally.errors))]
        )
