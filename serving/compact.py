"""`python -m serving.compact LOG`: one round over the logs of a pool, at low priority, alone under a lock.

What is closed becomes Parquet, what is too old goes. Killed at any point it loses nothing and doubles nothing."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from serinus.archive_files import alone
from serinus.records import Kind
from serving.archiver import Archiver
from serving.retention import drop_old

log = logging.getLogger("serving.compact")
KINDS: tuple[Kind, ...] = get_args(Kind)
NICENESS = 15
QUIET_S = 900.0
KEEP_DAYS: dict[Kind, float] = {"predictions": 30.0, "labels": 30.0, "inputs": 14.0}


def run(root: Path, quiet_s: float, keep_days: Mapping[Kind, float], now: float | None = None) -> int:
    """One round. Returns how many rows became Parquet; a folder that fails is logged, and tried in the next round."""
    now = time.time() if now is None else now
    try:
        drop_old(root, keep_days, now)
    except OSError:
        log.exception("what is too old could not be removed")
    rows = 0
    for kind in KINDS:
        for folder in sorted((root / kind).glob("*/*/")):
            try:
                rows += Archiver(folder, kind, quiet_s).run(now)
            except (OSError, ValueError):
                log.exception("%s could not be compacted", folder)
    return rows


def main() -> int:
    """Returns 0, also when somebody else is at it already."""
    parser = argparse.ArgumentParser(prog="serving.compact")
    parser.add_argument("log", type=Path)
    parser.add_argument("--quiet-s", type=float, default=QUIET_S)
    for kind, days in KEEP_DAYS.items():
        parser.add_argument(f"--keep-{kind}-days", type=float, default=days)
    said = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    os.nice(NICENESS)
    keep: dict[Kind, float] = {kind: getattr(said, f"keep_{kind}_days") for kind in KINDS}
    with alone(said.log) as mine:
        if mine:
            run(said.log, said.quiet_s, keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
