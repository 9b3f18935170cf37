"""The encoder cache under a Zipf replay: users who come again within a moment, each time with another item."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.bodies import body, rows_of
from benchmarks.handmade import towers
from benchmarks.options import Options
from benchmarks.report import Report, Table
from benchmarks.stack import Stack

USERS, EXPONENT, TTL_MS = 1_000, 1.1, 100.0
MODEL = "towers"


@dataclass(frozen=True)
class Replay:
    """What was sent: the user of each request, and when it was on its way (seconds)."""

    users: list[int]
    sent_s: list[float]
    answered_s: list[float]

    def possible(self) -> int:
        """Requests whose user had been computed less than a TTL before, as far as the client can tell."""
        computed: dict[int, float] = {}
        found = 0
        for user, sent, answered in zip(self.users, self.sent_s, self.answered_s, strict=True):
            now = (sent + answered) / 2
            if now - computed.get(user, -1e9) < TTL_MS / 1000:
                found += 1
            else:
                computed[user] = now
        return found

    @property
    def p50_ms(self) -> float:
        return float(np.median(np.subtract(self.answered_s, self.sent_s))) * 1000


def run(report: Report, options: Options) -> None:
    """Requests one after the other over one connection; hits by the front door's own counters."""
    stack = Stack()
    try:
        stack.serve({MODEL: towers()})
        bodies = _bodies(USERS)
        ranks = np.arange(1, USERS + 1) ** -EXPONENT
        users = np.random.default_rng(11).choice(USERS, 50_000, p=ranks / ranks.sum())
        columns = ["users", "requests", "possible hits", "hits", "share", "p50 ms"]
        table = Table(f"two towers, the user's kept for {TTL_MS:g} ms, one connection", columns)
        shares = []
        for name, chosen in (("Zipf", users), ("each another", np.arange(50_000) % USERS)):
            before = _hits(stack)
            replay = _replay(stack.port, bodies, chosen.tolist(), options.seconds * options.rounds)
            hits, possible = _hits(stack), replay.possible()
            gained = None if hits is None or before is None else hits - before
            share = None if gained is None or not possible else gained / possible
            shares.append(share)
            shown = None if share is None else f"{share:.1%}"
            table.rows.append([name, len(replay.users), possible, gained, shown, replay.p50_ms])
        report.table(table)
        report.target("encoder cache, hits of the possible hits on a Zipf replay", shares[0], 0.95, "")
    finally:
        stack.stop()


def _bodies(count: int) -> list[bytes]:
    """One for each user, with an item of its own."""
    rows = rows_of("towers", count, 17)
    return [body({name: values[at : at + 1] for name, values in rows.items()}, f"user-{at}") for at in range(count)]


def _replay(port: int, bodies: list[bytes], users: list[int], seconds: float) -> Replay:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    replay = Replay([], [], [])
    until = time.perf_counter() + seconds
    for user in users:
        sent = time.perf_counter()
        if sent > until:
            break
        connection.request("POST", f"/v2/models/{MODEL}/infer", bodies[user], {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the front door answered {answer.status}")
        replay.users.append(user)
        replay.sent_s.append(sent)
        replay.answered_s.append(time.perf_counter())
    connection.close()
    return replay


def _hits(stack: Stack) -> int | None:
    """The front door's count of hits, wherever its status tells it; None when it does not."""
    waiting: list[Any] = [stack.status()]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if isinstance(found.get("hits"), int):
                return int(found["hits"])
            waiting += found.values()
    return None
