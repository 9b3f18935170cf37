"""From a verdict to the last request that the candidate answered: `python -m benchmarks.rollback [--quick]`.

The whole stack, half of the traffic on the canary, an open loop of requests that each have a connection ready. The
monitor sleeps (SIGSTOP) while a violated verdict is brought in its name: a rollback needs none. The time is of the
client's clock, from the exchange sent to the last answer by the candidate received."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
import orjson
import psutil

from benchmarks.bodies import body, rows_of
from benchmarks.fleet import look_of
from benchmarks.options import parse
from benchmarks.packages import flights, flights_at_first
from benchmarks.processes import NotThere, end_in_order
from benchmarks.report import Report, Table
from benchmarks.stack import Stack
from deploy.tokens import token_file
from serinus.evidence import MonitorReport
from serinus.rollouts import Phase, Plan, RolloutView, Step

MODEL, HALF_BP, DAY_S = "flights", 5_000, 86_400
RATE, BEFORE_S, AFTER_S, TIMEOUT_S, WITHIN_S = 200, 1.0, 2.0, 2.0, 60.0
WANTED_MS = 1_000.0


@dataclass
class Load:
    """An open loop. `by_candidate`: when each answer of the candidate came; `failed`: no 2xx, or none in time."""

    url: str
    candidate: int
    sent: int = 0
    failed: int = 0
    by_candidate: list[float] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            asked, began = [], time.monotonic()
            for at in range(int(seconds * RATE)):
                await asyncio.sleep(max(0.0, began + at / RATE - time.monotonic()))
                asked.append(asyncio.create_task(self._ask(http, at)))
            await asyncio.gather(*asked)

    async def _ask(self, http: aiohttp.ClientSession, at: int) -> None:
        self.sent += 1
        headers = {"content-type": "application/json"}
        try:
            async with http.post(self.url, data=BODIES[at % len(BODIES)], headers=headers) as answer:
                found = orjson.loads(await answer.read())
                self.failed += answer.status != 200
        except (aiohttp.ClientError, TimeoutError, ValueError):
            self.failed += 1
            return
        if found.get("model_version") == str(self.candidate):
            self.by_candidate.append(time.monotonic())


BODIES: list[bytes] = []


def main() -> int:
    options = parse(__doc__)
    end_in_order()
    report = Report("rollback")
    times = max(options.rounds, 5 if options.quick else 30)
    BODIES[:] = [body(rows_of(MODEL, 1, seed), f"e{seed}") for seed in range(200)]
    took, sent, failed = [], 0, 0
    stack = Stack()
    try:
        stack.serve({MODEL: flights()})
        version = stack.client.push(MODEL, flights_at_first()).version
        for at in range(times):
            milliseconds, load = asyncio.run(_once(stack, version, at))
            took.append(milliseconds)
            sent, failed = sent + load.sent, failed + load.failed
    except NotThere as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    finally:
        stack.stop()
    _tell(report, sorted(took), sent, failed)
    report.finish(options.json)
    return 0


def _tell(report: Report, took: list[float], sent: int, failed: int) -> None:
    table = Table(
        f"{len(took)} rollbacks, {RATE} requests/s, half of them the candidate's, the monitor stopped",
        ["", "p50 ms", "p90 ms", "p99 ms", "max ms", "requests", "failed"],
    )
    at = [took[min(len(took) - 1, int(share * len(took)))] for share in (0.5, 0.9, 0.99)]
    table.rows.append(["verdict to the candidate's last answer", *at, took[-1], sent, failed])
    report.table(table)
    report.target("verdict to the candidate's last answer, p99", at[2], WANTED_MS, "ms", at_least=False)
    report.target("failed requests", failed, 0, "", at_least=False)


async def _once(stack: Stack, version: int, at: int) -> tuple[float, Load]:
    """(Milliseconds, the load) of one rollout that is brought to half of the traffic and judged."""
    view = await asyncio.to_thread(_bring_up, stack, version, at)
    load = Load(f"http://127.0.0.1:{stack.port}/v2/models/{MODEL}/infer", version)
    with _asleep(stack):
        loading = asyncio.create_task(load.run(BEFORE_S + AFTER_S))
        await asyncio.sleep(BEFORE_S)
        if not load.by_candidate:
            raise NotThere("the candidate answers nobody")
        judged = time.monotonic()
        await asyncio.to_thread(_judge, stack, view)
        await loading
    if (ended := stack.client.rollout(view.id)).phase is not Phase.ROLLED_BACK:
        raise NotThere(f"the rollout is {ended.phase} after a violated verdict; it waits for {ended.waiting_for}")
    return max(0.0, (load.by_candidate[-1] - judged) * 1000), load


def _bring_up(stack: Stack, version: int, at: int) -> RolloutView:
    steps = (Step(canary_bp=HALF_BP, hold_s=300 * DAY_S),)
    client, plan = stack.client, Plan(shadow_bp=1, shadow_hold_s=300 * DAY_S, steps=steps)
    view = client.rollout_start(MODEL, version, plan, f"round {at}")
    until = time.monotonic() + WITHIN_S
    while (view := client.rollout(view.id)).phase is not Phase.CANARY:
        if view.phase is Phase.SHADOW:
            client.command(view.id, "skip", "to be measured")
        if time.monotonic() > until:
            raise NotThere(f"the rollout is {view.phase} after {WITHIN_S:g} s; it waits for {view.waiting_for}")
        time.sleep(0.1)
    with httpx.Client(timeout=TIMEOUT_S) as http:  # until the front door sends some there
        while not any(_version(http, stack, each) == str(version) for each in BODIES[:20]):
            if time.monotonic() > until:
                raise NotThere("the front door does not send anybody to the candidate")
            time.sleep(0.1)
    return view


def _version(http: httpx.Client, stack: Stack, content: bytes) -> Any:
    answer = http.post(
        f"http://127.0.0.1:{stack.port}/v2/models/{MODEL}/infer",
        content=content,
        headers={"content-type": "application/json"},
    )
    return answer.json().get("model_version")


def _judge(stack: Stack, view: RolloutView) -> None:
    """Bring a violated verdict, as a monitor does."""
    known = stack.home.stack()
    assert known is not None
    look = look_of(view.id, MODEL, int(time.time() * 1000), 1, "violated")
    look = look.model_copy(update={"candidate": view.candidate, "baseline": view.baseline})
    report = MonitorReport(monitor="monitor-0", evidence=(look,), watermarks_ms={})
    token = token_file(stack.home, "monitor").read_text().strip()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    sent = httpx.post(f"{known.api}/v1/monitor/exchange", content=report.model_dump_json(), headers=headers)
    sent.raise_for_status()


@contextlib.contextmanager
def _asleep(stack: Stack) -> Iterator[None]:
    """The stack's monitor and its children, stopped."""
    found = [process for process in stack.tree() if process.cmdline()[1:] == ["-m", "monitors"]]
    if not found:
        raise NotThere("the stack has no monitor")
    sleeping = [each for process in found for each in (process, *process.children(recursive=True))]
    _send(sleeping, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(sleeping, signal.SIGCONT)


def _send(processes: list[psutil.Process], which: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(which)


if __name__ == "__main__":
    sys.exit(main())
