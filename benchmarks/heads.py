"""What budgets cost where heads are healthy, and what a bad head costs where they are not.

`python -m benchmarks.heads [--json FILE]`: one encoder and four heads in this process, no network. The engine with
budgets against the same engine without any, and against a bare loop of ONNX Runtime's calls, by turns; then the
latency of requests while one head never ends: a loop that can be told to end, and one long node that cannot."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from serinus.routes import HeadPolicy
from serving.engine import Engine
from serving.process import Process
from tests.serving.dags import WIDTH, Node, engine_of, write_dag

TASKS = ("click", "like", "share", "buy")
ROUNDS, RUNS = 30, 200
BUDGET_MS = 2.0
LOOP_VALUE, LONG_VALUE = 10_000.0, 1_500.0
POLICY = {task: HeadPolicy(budget_ms=BUDGET_MS) for task in TASKS}


def engine(folder: Path, odd: str) -> Engine:
    heads = (
        Node(f"h{at}", ("x", "enc"), task, "head", odd=odd if task == "buy" else "") for at, task in enumerate(TASKS)
    )
    write_dag(folder, ["x"], [Node("enc", ("x",)), *heads])
    return engine_of(folder, Process())


def per_call_us(call: Callable[[], object], runs: int = RUNS) -> float:
    began = time.perf_counter_ns()
    for _ in range(runs):
        call()
    return (time.perf_counter_ns() - began) / runs / 1000


def healthy(folder: Path, rows: int) -> dict[str, float]:
    """Median over the rounds, us a request, each by turns."""
    own = engine(folder, "")
    raw = {"x": np.ones((rows, WIDTH), np.float32)}
    plan = own._plan(TASKS)
    parts = [*plan.trunk, *(step for head in plan.heads for step in head.steps)]

    def bare() -> None:
        tensors: dict[str, Any] = dict(raw)
        for step in parts:
            found = step.run(step.names, {feed: tensors[name] for feed, name in step.feeds}, None)
            tensors.update(zip(step.outputs, found, strict=True))

    def deadline() -> int:
        return time.perf_counter_ns() + 1_000_000_000

    calls: dict[str, Callable[[], object]] = {
        "bare": bare,
        "without budgets": lambda: own.run(raw, TASKS),
        "with budgets": lambda: own.run(raw, TASKS, POLICY),
        "with budgets and a deadline": lambda: own.run(raw, TASKS, POLICY, "", deadline()),
    }
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            took[name].append(per_call_us(call))
    fallen = sum(sum(head.fallbacks.values()) for head in own.heads.values())
    return {**{name: float(np.median(values)) for name, values in took.items()}, "fallbacks": fallen}


def hung(folder: Path, odd: str, value: float, seconds: float) -> dict[str, float]:
    """Latencies, us, of requests at a steady pace: all healthy, then with one head that hangs in every request."""
    own = engine(folder, odd)
    good, bad = (np.full((1, WIDTH), v, np.float32) for v in (1.0, value))
    found: dict[str, float] = {}
    others_fell = 0
    for name, tensor in (("healthy", good), ("hung", bad)):
        latencies: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            began = time.perf_counter_ns()
            scored = own.run({"x": tensor}, TASKS, POLICY)
            latencies.append((time.perf_counter_ns() - began) / 1000)
            others_fell += sum(bool(scored[task].fallback) for task in TASKS[:-1])
            time.sleep(0.0005)
        for at in (50, 99, 99.9):
            found[f"{name} p{at}"] = float(np.percentile(latencies, at))
        found[f"{name} requests"], found[f"{name} worst"] = len(latencies), max(latencies)
    status = own.heads["buy"].status()
    return found | {"others fell": others_fell, "abandoned": status["abandoned"], "opened": status["opened"]}


def every_time(folder: Path, requests: int) -> dict[str, float]:
    """The same, with the breaker kept closed: each request pays the whole budget."""
    own = engine(folder, "loop")
    bad = {"x": np.full((1, WIDTH), LOOP_VALUE, np.float32)}
    latencies: list[float] = []
    for _ in range(requests):
        own.heads["buy"].breaker.succeeded()
        began = time.perf_counter_ns()
        own.run(bad, TASKS, POLICY)
        latencies.append((time.perf_counter_ns() - began) / 1000)
        time.sleep(0.0005)
    return {f"p{at}": float(np.percentile(latencies, at)) for at in (50, 99, 99.9)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report: dict[str, dict[str, float]] = {}
        for rows in (1, 100):
            report[f"healthy, {rows} rows, us"] = healthy(folder / f"healthy-{rows}", rows)
        report["a head that loops, us"] = hung(folder / "loop", "loop", LOOP_VALUE, arguments.seconds)
        report["a head of one long node, us"] = hung(folder / "long", "long", LONG_VALUE, arguments.seconds)
        report["loops in every request, breaker held closed, us"] = every_time(folder / "always", 2_000)
    for title, rows_of in report.items():
        print(title)
        for key, value in rows_of.items():
            print(f"    {key:<32}{value:>12,.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"budget_ms": BUDGET_MS, **report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
