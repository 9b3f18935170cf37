"""What tasks cost that share an encoder: one model with four heads against four services of one task each."""

from __future__ import annotations

import numpy as np

from benchmarks.bodies import singles
from benchmarks.contestants import start
from benchmarks.options import Options
from benchmarks.packages import TASKS, dense, dense_rows, many
from benchmarks.processes import Server
from benchmarks.report import Report, Table
from benchmarks.rounds import Lane, measure
from benchmarks.stack import Stack
from serinus.execute import Executor
from serinus.training import auc

CURVE = (1, 2, 4, 8, 16, 50)
CONNECTIONS = 8
HELD_FROM = 0.8


def run(report: Report, options: Options) -> None:
    """CPU seconds and requests a second for an entity whose four tasks are wanted, and the curve to 50 tasks."""
    single = {f"only-{task}": dense([task], f"only-{task}") for task in TASKS}
    curve = {f"tasks-{count}": many(count) for count in CURVE}
    models = {"dense": dense(), **single, **curve}
    stack = Stack()
    bare: Server | None = None
    try:
        stack.serve(models)
        bare = start("asgi", models)
        body = singles("dense", models["dense"], 1)[0].body
        bare.wait_ready("/v2/models/dense/infer", body)
        servers = {"Serinus": (stack, stack.serving_processes()), "raw ASGI on uvicorn": (bare, bare.tree())}
        _quality(report)
        _four(report, options, servers)
        _curve(report, options, servers)
    finally:
        stack.stop()
        if bare is not None:
            bare.stop()


Servers = dict[str, tuple[Server, list]]  # type: ignore[type-arg]


def _quality(report: Report) -> None:
    """AUC on the rows that no network was trained on."""
    found = dense_rows()
    cut = round(HELD_FROM * len(found))
    raw = {name: values[cut:] for name, values in found.raw.items()}
    table = Table("quality on held-out rows (AUC)", ["task", "one model of 4 tasks", "a model of its own"])
    together = Executor(dense()).run(raw)
    for task in TASKS:
        alone = Executor(dense([task], f"only-{task}")).run(raw)
        labels = found.labels[task][cut:]
        table.rows.append([task, *(round(float(auc(labels, p[task]) or np.nan), 4) for p in (together, alone))])
    report.table(table)


def _bodies(count: int = 32) -> list[bytes]:
    return [request.body for request in singles("dense", dense(), count)]


def _four(report: Report, options: Options, servers: Servers) -> None:
    columns = ["", "entities/s", "CPU us/entity", "CPU: times cheaper", "entities/s: times"]
    table = Table(f"four tasks of one entity, {CONNECTIONS} connections", columns)
    for name, (server, processes) in servers.items():
        one = [("/v2/models/dense/infer", body) for body in _bodies()]
        four = [(f"/v2/models/only-{task}/infer", body) for body in _bodies() for task in TASKS]
        lanes = [Lane("one", server.port, one, processes), Lane("four", server.port, four, processes)]
        measure(lanes, CONNECTIONS, options.seconds, options.rounds)
        together, apart = lanes
        cheaper = len(TASKS) * apart.cpu_us / together.cpu_us
        faster = len(TASKS) * together.times(apart)
        table.rows.append(
            [f"{name}: one model of 4 tasks", together.rate, together.cpu_us, f"{cheaper:.2f}x", f"{faster:.2f}x"]
        )
        cost = len(TASKS) * apart.cpu_us
        table.rows.append([f"{name}: 4 models of one task", apart.rate / len(TASKS), cost, "", ""])
        if name == "Serinus":
            report.target("one 4-task model against 4 single-task services, CPU seconds an entity", cheaper, 2.7)
            report.target("one 4-task model against 4 single-task services, entities/s", faster, 2.7)
            report.target("sharing, errors", sum(lane.errors for lane in lanes), 0, "", at_least=False)
    table.notes.append("The four single-task models of a server share its process, which is cheaper than four servers.")
    report.table(table)


def _curve(report: Report, options: Options, servers: Servers) -> None:
    columns = ["tasks"]
    columns += [f"{name}: {what}" for name in servers for what in ("req/s", "CPU us/req", "x cheaper than single")]
    table = Table(f"one model of N tasks (256-512-512, linear heads), {CONNECTIONS} connections", columns)
    lanes: dict[str, list[Lane]] = {}
    for name, (server, processes) in servers.items():
        lanes[name] = [
            Lane(str(count), server.port, [(f"/v2/models/tasks-{count}/infer", body) for body in _bodies()], processes)
            for count in CURVE
        ]
        measure(lanes[name], CONNECTIONS, options.seconds, options.rounds)
    for at, count in enumerate(CURVE):
        row: list[str | int | float | None] = [str(count)]
        for name in servers:
            lane, alone = lanes[name][at], lanes[name][0]
            row += [lane.rate, lane.cpu_us, f"{count * alone.cpu_us / lane.cpu_us:.2f}x"]
        table.rows.append(row)
    report.table(table)
