"""What all scripts take: `--quick`, `--json FILE`, and how long and how often."""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`seconds`: of one measurement; `rounds`: how often each is taken; `only`: cases, () for all."""

    seconds: float
    rounds: int
    quick: bool
    json: str | None
    only: tuple[str, ...] = ()
    rows: int | None = None


def parse(description: str | None, cases: tuple[str, ...] = (), *, rows: str = "") -> Options:
    """`rows`: what `--rows` is good for, where it is."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument("--json", metavar="FILE", help="write tables and targets as data too")
    parser.add_argument("--seconds", type=float, help="of one measurement (1)")
    parser.add_argument("--rounds", type=int, help="how often each is measured (5, quick: 2)")
    if cases:
        parser.add_argument("--only", help=f"some of {', '.join(cases)}, with commas")
    if rows:
        parser.add_argument("--rows", type=int, help=rows)
    given = parser.parse_args()
    only = tuple((given.only or "").split(",")) if cases and given.only else ()
    if unknown := set(only) - set(cases):
        parser.error(f"--only: {sorted(unknown)[0]!r} is none of {', '.join(cases)}")
    seconds = given.seconds or 1.0
    return Options(
        seconds, given.rounds or (2 if given.quick else 5), given.quick, given.json, only, given.rows if rows else None
    )
