"""A head whose graph really loops, for minutes: what the requests see of it."""

from __future__ import annotations

import orjson

from benchmarks.bodies import body, rows_of
from benchmarks.handmade import hanging
from benchmarks.options import Options
from benchmarks.processes import NotThere, post
from benchmarks.report import Report, Table
from benchmarks.rounds import Lane, measure
from benchmarks.stack import Stack

BUDGET_MS, SLACK_MS = 2.0, 1.0
SPIN = 10**9
"""Turns of the loop; a million take a second."""
SHARES = {"healthy": 0.0, "1 request in 50 hangs": 0.02, "every request hangs": 1.0}


def run(report: Report, options: Options) -> None:
    """The same model three times: healthy, hanging now and then, hanging always."""
    models = {f"hanging-{at}": hanging(at) for at in range(len(SHARES))}
    stack = Stack()
    try:
        heads = {task: {"label_window_s": 60, "absent": "negative"} for task in ("click", "like", "share")}
        heads["buy"] = {**heads["click"], "head": {"budget_ms": BUDGET_MS, "fallback": "base_rate"}}
        stack.serve(models, {"tasks": heads})
        for connections in (1, 4):
            lanes = [
                Lane(name, stack.port, _requests(f"hanging-{at}", share), stack.serving_processes())
                for at, (name, share) in enumerate(SHARES.items())
            ]
            if connections == 1 and (why := _hangs(stack)):
                raise NotThere(why)
            measure(lanes, connections, options.seconds * 2, options.rounds)
            _tell(report, lanes, connections)
    except NotThere as error:
        report.table(Table(f"a hung head: not measured. {error}", [""]))
        report.target("a hung head", None, BUDGET_MS + SLACK_MS, "ms above healthy", at_least=False)
    finally:
        stack.stop()


def _requests(model: str, share: float) -> list[tuple[str, bytes]]:
    """100 requests, of which this share spin."""
    made = []
    for at in range(100):
        rows = rows_of("hanging", 1, at)
        if at % max(1, round(1 / share)) == 0 if share else False:
            rows["spin"][:] = SPIN
        made.append((f"/v2/models/{model}/infer", body(rows, f"entity-{at}")))
    return made


def _hangs(stack: Stack) -> str:
    """Why the measurement makes no sense, or "": a hanging request must be answered, `buy` by a fallback."""
    path, request = _requests("hanging-2", 1.0)[0]
    try:
        outputs = orjson.loads(post(stack.port, path, request, timeout_s=5.0))["outputs"]
    except OSError as error:
        return f"a request whose head hangs is not answered within 5 s: {error}"
    said = {output["name"]: output["parameters"]["fallback"] for output in outputs}
    return "" if [task for task, fallback in said.items() if fallback] == ["buy"] else f"the fallbacks are {said}"


def _tell(report: Report, lanes: list[Lane], connections: int) -> None:
    columns = ["", "req/s", "p50 ms", "p99 ms", "p99 above healthy ms", "errors"]
    table = Table(f"a head that loops, budget {BUDGET_MS:g} ms, {connections} connections", columns)
    for lane in lanes:
        above = lane.p99_ms - lanes[0].p99_ms
        table.rows.append([lane.name, lane.rate, lane.p50_ms, lane.p99_ms, above, lane.errors])
        if lane is not lanes[0]:
            name = f"a hung head, {lane.name}, c={connections}, p99 above the healthy run"
            report.target(name, above, BUDGET_MS + SLACK_MS, "ms", at_least=False)
    report.table(table)
    errors = sum(lane.errors for lane in lanes)
    report.target(f"a hung head, c={connections}, failed requests", errors, 0, "", at_least=False)
