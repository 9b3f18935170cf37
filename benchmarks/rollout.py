"""What a rollout costs those who are not in it: 1 % canary and 10 % shadow, next to the same model at rest."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.bodies import Rows, rows_of, singles
from benchmarks.options import Options
from benchmarks.packages import flights, flights_at_first
from benchmarks.processes import NotThere
from benchmarks.report import Report, Table
from benchmarks.rounds import Lane, measure
from benchmarks.stack import Stack
from serinus.client import Client, Label
from serinus.rollouts import Phase, Plan, Step

CANARY_BP, SHADOW_BP, DAY_S = 100, 1_000, 86_400
REPLAYED_MIN, PER_MINUTE, ROWS, WITHIN_S = 40, 25, 16, 180.0
TASK = "dep_late"
SLA = {"tick_s": 60, "freeze_scores": 200, "guards": [{"task": TASK, "metric": "log_loss", "margin": 10}]}
"""One guard that needs little data: the rollout has to be there, not to be judged."""


def run(report: Report, options: Options) -> None:
    """Two models of one pool with the same stable version; one of them has a rollout going on."""
    stack = Stack()
    try:
        stack.serve({"resting": flights(), "rolling": flights()}, SLA)
        _roll(stack)
        requests = singles("flights", flights())
        for connections in (1, 16):
            lanes = [
                Lane(name, stack.port, [(f"/v2/models/{name}/infer", each.body) for each in requests], stack.tree())
                for name in ("resting", "rolling")
            ]
            measure(lanes, connections, options.seconds, options.rounds)
            columns = ["", "req/s", "p50 ms", "p99 ms", "CPU us/req", "req/s: times", "errors"]
            table = Table(f"flights, 1 % canary and 10 % shadow, {connections} connections", columns)
            for lane in lanes:
                figures = lane.rate, lane.p50_ms, lane.p99_ms, lane.cpu_us, lane.times(lanes[0])
                table.rows.append([lane.name, *figures, lane.errors])
            report.table(table)
            errors = sum(lane.errors for lane in lanes)
            report.target(f"rollout going on, c={connections}, failed requests", errors, 0, "", at_least=False)
    except NotThere as error:
        report.table(Table(f"a rollout going on: not measured. {error}", [""]))
    finally:
        stack.stop()


def _roll(stack: Stack) -> None:
    """Bring a rollout of `rolling` to its canary. Raises NotThere when it does not get there in time."""
    client = stack.client
    version = client.push("rolling", flights_at_first()).version
    steps = (Step(canary_bp=CANARY_BP, hold_s=300 * DAY_S),)
    plan = Plan(shadow_bp=SHADOW_BP, shadow_hold_s=0, steps=steps)
    rollout = client.rollout_start("rolling", version, plan, "to be measured").id
    until = time.monotonic() + WITHIN_S
    with Client(home=stack.home.path, replay=True) as replaying:
        minute = REPLAYED_MIN
        while (view := client.rollout(rollout)).phase is not Phase.CANARY:
            if time.monotonic() > until:
                raise NotThere(f"the rollout is {view.phase} after {WITHIN_S:g} s; it waits for {view.waiting_for}")
            if view.phase is Phase.SHADOW and minute > 0:
                _one_minute(replaying, int(time.time() - 60 * minute) * 1000)
                minute -= 1
            else:
                time.sleep(0.2)


def _one_minute(client: Client, at_ms: int) -> None:
    """A minute of the past: some requests and their labels, drawn at random: the evidence shall begin, not decide."""
    random = np.random.default_rng(at_ms)
    labels = []
    for number in range(PER_MINUTE):
        rows = rows_of("flights", ROWS, at_ms // 1000 + number)
        entity = f"{at_ms}-{number}"
        answer = client.infer("rolling", _lists(rows), event_time_ms=at_ms + 50 * number, entity=entity)
        late = np.flatnonzero(random.random(ROWS) < 0.5).tolist()
        labels += [Label(answer.id, TASK, 1, index, at_ms + 1_000) for index in late]
    client.labels("rolling", labels, ("benchmark", at_ms + 2_000))


def _lists(rows: Rows) -> dict[str, list[Any]]:
    """Columns as the client takes them, None where a value is missing."""
    found = {}
    for name, values in rows.items():
        gaps = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
        found[name] = [None if gap else value for value, gap in zip(values.tolist(), gaps, strict=True)]
    return found
