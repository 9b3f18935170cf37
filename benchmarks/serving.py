"""Serinus against other servers, with the same packages and the same requests, all in one run on one machine.

    python -m benchmarks.serving [--quick] [--json FILE] [--only answering,ranking,sharing,rollout,hanging,caching]

Each server has one process that computes; the load generator runs on the same machine; everybody is asked in turn, in
rounds that begin with another one each time. Every answer is compared with the reference executor's before anything
is measured. Ratios are medians of the rounds' ratios."""

from __future__ import annotations

import sys

from benchmarks import answering, caching, hanging, ranking, rollout, sharing
from benchmarks.field import Field
from benchmarks.load import ceiling, generator
from benchmarks.options import parse
from benchmarks.report import Report, Table

TOGETHER = {"answering": answering.run, "ranking": ranking.run}
ALONE = {"sharing": sharing.run, "rollout": rollout.run, "hanging": hanging.run, "caching": caching.run}


def main() -> int:
    options = parse(__doc__, (*TOGETHER, *ALONE))
    report = Report("serving")
    chosen = options.only or (*TOGETHER, *ALONE)
    limits = Table(f"The load generator ({generator()}) against a server that only says {{}}", ["connections", "req/s"])
    limits.rows = [[str(connections), ceiling(connections, 1)] for connections in (1, 16)]
    report.table(limits)
    if not set(chosen).isdisjoint(TOGETHER):
        with Field() as field:
            for name, together in TOGETHER.items():
                if name in chosen:
                    together(field, report, options)
    for name, alone in ALONE.items():
        if name in chosen:
            alone(report, options)
    report.finish(options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
