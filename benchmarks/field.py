"""The field: Serinus and every peer that can be had, all with the same packages, each answer checked beforehand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import orjson

from benchmarks.bodies import Request, singles, wrong
from benchmarks.contestants import PEER_LIST, Contestant, start
from benchmarks.handmade import towers
from benchmarks.packages import dense, flights
from benchmarks.processes import NotThere, Server, post
from benchmarks.report import Table
from benchmarks.rounds import Lane
from benchmarks.stack import Stack

SERINUS = Contestant("Serinus", "serinus")
CHECKED = 16


class Field:
    """Started as a whole, stopped as a whole. `missing`: name -> why it cannot be measured."""

    def __init__(self, peers: Sequence[Contestant] = PEER_LIST) -> None:
        self.contestants = [SERINUS, *peers]
        self.models: dict[str, Path] = {"flights": flights(), "dense": dense(), "towers": towers()}
        self.singles = {model: singles(model, folder) for model, folder in self.models.items()}
        self.servers: dict[str, Server] = {}
        self.missing: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            stack = self.servers["serinus"] = Stack()
            stack.serve(self.models)
            for program in dict.fromkeys(each.program for each in self.contestants[1:]):
                self._start(program)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.stop()

    def _start(self, program: str) -> None:
        names = [each.name for each in self.contestants if each.program == program]
        try:
            server = self.servers[program] = start(program, self.models)
            for model in self.models:
                server.wait_ready(f"/v2/models/{model}/infer", self.singles[model][0].body)
        except NotThere as error:
            self.missing.update(dict.fromkeys(names, str(error)))
            if program in self.servers:
                self.servers.pop(program).stop()
        print(f"{program}: {'cannot be measured' if names[0] in self.missing else 'ready'}", file=sys.stderr)

    def lanes(self, model: str, requests: Sequence[Request], ranked: Sequence[Request] = ()) -> list[Lane]:
        """A lane for each contestant whose answers are right; Serinus first. `ranked`: what it is asked by `rank`."""
        found = []
        for each in self.contestants:
            if each.name in self.missing:
                continue
            server = self.servers[each.program]
            path = each.infer.format(model=model)
            mine = list(requests)
            if ranked and each is SERINUS:
                path, mine = f"/v2/models/{model}/rank", list(ranked)
            if why := check(server.port, path, mine):
                print(f"{each.name} is left out of {model}: {why}", file=sys.stderr)
                self.missing[f"{each.name} ({path})"] = why
                continue
            asked = [(path, request.body) for request in mine]
            found.append(Lane(each.name, server.port, asked, server.tree(), sleeps=each is not SERINUS))
        return found


def check(port: int, path: str, requests: Sequence[Request]) -> str:
    """What is wrong with this server's answers, or ""."""
    for request in requests[:CHECKED]:
        try:
            answer = post(port, path, request.body)
        except OSError as error:
            return str(error)
        if why := wrong(request, in_order(answer) if path.endswith("/rank") else answer):
            return why
    return ""


def in_order(answer: bytes) -> bytes:
    """A ranking's outputs, brought back into the order in which the candidates were asked about."""
    ranking = orjson.loads(answer)
    places = ranking["index"]
    for output in ranking["outputs"]:
        output["data"] = [value for _, value in sorted(zip(places, output["data"], strict=True))]
    return orjson.dumps(ranking)


def rate_table(title: str, lanes: Sequence[Lane], missing: dict[str, str]) -> Table:
    """Requests a second, latencies, errors, and how many times each the first lane answers."""
    first = lanes[0]
    table = Table(title, ["", "req/s", "p50 ms", "p99 ms", "CPU us/req", f"{first.name} is", "errors"])
    for lane in lanes:
        times = f"{first.times(lane):.2f}x" if lane is not first else ""
        table.rows.append([lane.name, lane.rate, lane.p50_ms, lane.p99_ms, lane.cpu_us, times, lane.errors])
    table.notes += [f"{name}: not measured. {why}" for name, why in missing.items()]
    return table


def by_name(lanes: Sequence[Lane]) -> dict[str, Lane]:
    return {lane.name: lane for lane in lanes}
