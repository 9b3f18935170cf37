"""Serinus against other servers, with the same packages and the same requests, all in one run on one machine.

    python -m benchmarks.serving [--quick] [--json FILE] [--only answering,ranking,sharing,rollout,hanging,caching]

Each server has one process that computes; the load generator runs on the same machine; everybody is asked in turn, in
rounds that begin with another one each time. Every answer is compared with the reference executor's before anything
is measured. Ratios are medians of the rounds' ratios."""

from __future__ import annotations

import statistics
import sys
import traceback
from collections.abc import Callable
from functools import partial

from benchmarks import answering, caching, hanging, ranking, rollout, sharing
from benchmarks.field import Field
from benchmarks.load import ceiling, generator
from benchmarks.options import parse
from benchmarks.processes import end_in_order
from benchmarks.report import Report, Table
from benchmarks.rounds import beside_cores

TOGETHER = {"answering": answering.run, "ranking": ranking.run}
ALONE = {"sharing": sharing.run, "rollout": rollout.run, "hanging": hanging.run, "caching": caching.run}


def main() -> int:
    options = parse(__doc__, (*TOGETHER, *ALONE))
    end_in_order()
    report = Report("serving")
    chosen = options.only or (*TOGETHER, *ALONE)
    limits = Table(f"The load generator ({generator()}) against a server that only says {{}}", ["connections", "req/s"])
    limits.rows = [[str(connections), ceiling(connections, 1)] for connections in (1, 16)]
    report.table(limits)
    if not set(chosen).isdisjoint(TOGETHER):
        with Field() as field:
            for name, together in TOGETHER.items():
                if name in chosen:
                    attempt(report, name, partial(together, field, report, options))
    for name, alone in ALONE.items():
        if name in chosen:
            attempt(report, name, partial(alone, report, options))
    report.beside = statistics.median(beside_cores) if beside_cores else None
    report.finish(options.json)
    return 0


def attempt(report: Report, name: str, run: Callable[[], None]) -> None:
    """One case; when it breaks off, the others go on and the targets say so."""
    try:
        run()
    except Exception as error:
        traceback.print_exc()
        report.table(Table(f"{name} broke off: {type(error).__name__}: {str(error)[:300]}", [""]))
        report.target(f"{name}, cases that broke off", 1, 0, "", at_least=False)


if __name__ == "__main__":
    sys.exit(main())
