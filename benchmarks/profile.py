"""Where the time of one request goes, by stage: the front door of a real stack under load, sampled by py-spy.

    python -m benchmarks.profile [--quick] [--json FILE]

py-spy reads the memory of a process that runs as the same user; where the system forbids that (kernel.yama.ptrace_scope
above 0, and not root), the table says so. What the door costs in sum is measured without it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Thread

import psutil

from benchmarks.bodies import singles
from benchmarks.load import Load, load
from benchmarks.options import Options, parse
from benchmarks.packages import dense, flights
from benchmarks.processes import NotThere, cpu_s, end_in_order
from benchmarks.report import Report, Table
from benchmarks.rounds import settle
from benchmarks.stack import Stack
from benchmarks.stages import STAGES, by_stage

SAMPLES_S = 200
CONNECTIONS = 16
PARTS = (
    ("front door", "ServeReplica:serinus:FrontDoor"),
    ("HAProxy", "haproxy"),
    ("candidate and shadow", "ServeReplica:serinus:"),
    ("Ray", "ray"),
    ("controller", "-m controller"),
    ("monitor", "-m monitors"),
)


def main() -> int:
    options = parse(__doc__)
    end_in_order()
    report = Report("profile")
    models = {"flights": flights(), "dense": dense()}
    stack = Stack()
    try:
        stack.serve(models)
        for model, folder in models.items():
            requests = [(f"/v2/models/{model}/infer", each.body) for each in singles(model, folder)]
            _processes(report, options, stack, model, requests)
            _stages(report, options, stack, model, requests)
    finally:
        stack.stop()
    report.finish(options.json)
    return 0


Requests = list[tuple[str, bytes]]


def _processes(report: Report, options: Options, stack: Stack, model: str, requests: Requests) -> None:
    """CPU microseconds a request of every process of the stack."""
    groups: dict[str, list[psutil.Process]] = {name: [] for name, _ in PARTS}
    for process in stack.tree():
        words = " ".join(process.cmdline())
        name = next((name for name, mark in PARTS if mark in words), None)
        if name is not None:
            groups[name].append(process)
    settle(stack.tree())
    before = {name: cpu_s(processes) for name, processes in groups.items()}
    seen = load(stack.port, requests, CONNECTIONS, options.seconds * 3)
    table = Table(
        f"{model}: CPU a request, {CONNECTIONS} connections, {seen.rate:,.0f} req/s", ["process", "us/req", "cores"]
    )
    for name, processes in groups.items():
        used = cpu_s(processes) - before[name]
        table.rows.append([name, used / max(seen.requests, 1) * 1e6, used / seen.seconds])
    report.table(table)


def _stages(report: Report, options: Options, stack: Stack, model: str, requests: Requests) -> None:
    """Samples of the front door's busy threads, as microseconds of a request."""
    door = _front_door(stack)
    seconds = 8 if options.quick else 15
    with tempfile.NamedTemporaryFile(prefix="serinus-profile-") as file:
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(door.pid), "--format", "raw"]
        command += ["--rate", str(SAMPLES_S), "--duration", str(seconds), "--output", file.name, "--native"]
        seen: list[Load] = []
        asking = Thread(target=lambda: seen.append(load(stack.port, requests, CONNECTIONS, seconds + 2)))
        before = cpu_s([door])
        asking.start()
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        asking.join()
        used = cpu_s([door]) - before
        samples = by_stage(Path(file.name).read_text())
    if said.returncode or not samples:
        report.table(Table(f"{model}: no samples. py-spy said: {said.stderr.strip()[-300:]}", [""]))
        return
    each_us = used / max(seen[0].requests, 1) * 1e6
    total = sum(samples.values())
    title = f"{model}: where the front door's {each_us:.0f} us of CPU a request go ({total:,} samples)"
    table = Table(title, ["stage", "us/req", "share"])
    for stage in [name for name, _ in STAGES] + ["other"]:
        if samples[stage]:
            share = samples[stage] / total
            table.rows.append([stage, each_us * share, f"{share:.1%}"])
    table.rows.sort(key=lambda row: -float(row[1] or 0))
    report.table(table)


def _front_door(stack: Stack) -> psutil.Process:
    for process in stack.tree():
        if "ServeReplica:serinus:FrontDoor" in " ".join(process.cmdline()):
            return process
    raise NotThere("the stack has no front door")


if __name__ == "__main__":
    sys.exit(main())
