"""One row a request: Serinus with everything on, its peers with nothing but the model."""

from __future__ import annotations

from benchmarks.field import Field, by_name, rate_table
from benchmarks.options import Options
from benchmarks.report import Report
from benchmarks.rounds import measure

FASTAPI = ("FastAPI, body by orjson", "FastAPI, body by pydantic")
MODELS = ("flights", "dense")


def run(field: Field, report: Report, options: Options) -> None:
    """Flights and the dense model, over 1 and over 16 connections."""
    for model in MODELS:
        requests = field.singles[model]
        size = sum(len(request.body) for request in requests) // len(requests)
        for connections in (1, 16):
            lanes = field.lanes(model, requests)
            measure(lanes, connections, options.seconds, options.rounds)
            title = f"{model}, one row ({size} bytes), {connections} connections"
            report.table(rate_table(title, lanes, field.missing))
            found = by_name(lanes)
            mine = found.get("Serinus")
            if connections == 1 or mine is None:
                continue
            bare = [found[name] for name in FASTAPI if name in found]
            fastest = max(bare, key=lambda lane: lane.rate) if bare else None
            for name, other, wanted in (
                ("the faster bare FastAPI", fastest, 1.2),
                ("MLServer", found.get("MLServer"), 2.0),
                ("raw ASGI on bare uvicorn", found.get("raw ASGI on uvicorn"), 0.6),
            ):
                got = mine.times(other) if other else None
                report.target(f"{model}, c=16, requests/s against {name}", got, wanted)
            report.target(f"{model}, c=16, errors of all", sum(lane.errors for lane in lanes), 0, "", at_least=False)
