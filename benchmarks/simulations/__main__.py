"""`make simulate`, or `python -m benchmarks.simulations [luck power system flights] [--quick] [--json FILE]`.

Every rollout that is done is a line in the folder; Ctrl-C loses only those under way, and the tables of what is there
are printed. The next run goes on from it, as long as neither the judging code nor these scripts have changed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from benchmarks.report import Table, machine
from benchmarks.simulations.journal import Journal, fingerprint
from benchmarks.simulations.scores import prepare_scores
from benchmarks.simulations.suites import SUITES, play
from benchmarks.simulations.trial import Outcome, Trial
from serinus.evidence import METHOD

FOLDER = Path(__file__).parents[1] / ".simulations"
INTERRUPTED = 130


def main() -> int:
    options = _options()
    folder = options.folder / fingerprint()
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / "outcomes.jsonl")
    planned = [trial for name in options.suites for trial in SUITES[name].trials(quick=options.quick)]
    todo = journal.missing(planned)
    random.Random(0).shuffle(todo)  # so that what an interruption leaves is a fair part of all
    print(f"method {METHOD}, {len(planned)} rollouts, {len(todo)} of them still to do; in {folder}", flush=True)
    code, began = 0, time.monotonic()
    try:
        if any(trial.suite == "flights" for trial in todo):
            prepare_scores(folder)
        _all(todo, folder, journal, options.jobs)
    except KeyboardInterrupt:
        print("\ninterrupted: these are the rollouts that are done", flush=True)
        code = INTERRUPTED
    known = journal.known()
    outcomes = [known[trial.key] for trial in planned if trial.key in known]
    tables = tables_of(outcomes)
    for table in tables:
        print(table.text())
    print(f"\n{len(outcomes)} of {len(planned)} rollouts; this run took {time.monotonic() - began:.0f} s")
    if options.json:
        _write(options.json, tables, outcomes)
    return code


def tables_of(outcomes: Sequence[Outcome]) -> list[Table]:
    found: list[Table] = []
    for name, suite in SUITES.items():
        if mine := [each for each in outcomes if each.trial.suite == name]:
            found += suite.tables(mine)
    return found


def _all(todo: Sequence[Trial], folder: Path, journal: Journal, jobs: int) -> None:
    """Processes of their own, freshly started: a fork of one that has trained models may hang."""
    if not todo:
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(play, trial, folder) for trial in todo]
        try:
            for number, future in enumerate(as_completed(futures), 1):
                journal.add(future.result())
                if number % 50 == 0:
                    print(f"{number} of {len(todo)}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write(path: Path, tables: Sequence[Table], outcomes: Sequence[Outcome]) -> None:
    found = {
        "method": METHOD,
        "code": fingerprint(),
        "machine": machine(),
        "tables": [asdict(table) for table in tables],
        "outcomes": [each.model_dump(mode="json") for each in outcomes],
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("suites", nargs="*", default=[], metavar="SUITE", help=f"of {', '.join(SUITES)}; all")
    parser.add_argument("--quick", action="store_true", help="few rollouts of each, about a minute")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write tables and rollouts there")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where it goes on ({FOLDER.name})")
    options = parser.parse_args()
    if unknown := set(options.suites) - SUITES.keys():
        parser.error(f"there is no suite {sorted(unknown)[0]!r}")
    options.suites = options.suites or list(SUITES)
    return options


if __name__ == "__main__":
    sys.exit(main())
