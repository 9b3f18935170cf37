"""`python -m tests.runbooks [RUNBOOK...]`: injects the fault of a runbook into a real local stack, runs its console
blocks, and prints a table: runbook, fault, steps run, whether they said what is wrong.

Needs root, for a disk of its own."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.alerts.traffic import MODEL
from tests.runbooks.inject import INJECT
from tests.runbooks.tried import FAULTS, PAGES, blocks
from tests.runbooks.world import World, world

SAYS = {
    "no-active-controller": "controller hangs",
    "target-down": "monitors hangs",
    "promotion-held": "waits for `resume`",
    "notices-stuck": "have not reached their target",
    "database-down": "the database may refuse writes",
    "rows-lost": "make room",
    "labels-stopped": "behind the traffic",
    "guard-violated": "violated, carried this",
    "head-fallbacks": "are fallbacks; requests: ",
    "latency-budget-burn": "took more than 100 ms: ",
    "error-budget-burn": " failed: ",
    "shadow-dropping": "were not scored: ",
    "stable-decay": "damaged",
    "evidence-error": "cannot be looked at: IsADirectoryError",
    "log-lag": "of event time behind the log",
    "replicas-behind": "has not applied the newest route table",
}
"""What one of the commands at least must say."""
WITHIN_S = 60.0


def main(wanted: list[str]) -> int:
    """0 when every runbook named (default: all with a fault) was of use."""
    rows: list[tuple[str, str, int, str]] = []
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as made:
        for page in wanted or FAULTS:
            rows.append((page, FAULTS[page], *_try(made, page)))
    print("\n| runbook | fault | commands | result |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    return int(any(row[3] != "as written" for row in rows))


def _try(made: World, page: str) -> tuple[int, str]:
    """(Commands run, "as written" or what was amiss)."""
    try:
        with INJECT[page](made):
            return _followed(made, page)
    except Exception as error:  # the other pages are tried all the same
        traceback.print_exc()
        return 0, f"{type(error).__name__}: {error}"


def _followed(made: World, page: str) -> tuple[int, str]:
    deadline = time.monotonic() + WITHIN_S
    while True:
        commands = list(blocks(PAGES[page], MODEL))
        said = [made.run(*words) for words in commands]
        for words, text in zip(commands, said, strict=True):
            print(f"[{page}] $ serinus {' '.join(words)}\n{text}", flush=True)
        if SAYS[page] in " ".join("\n".join(said).split()):
            return len(said), "as written"
        if time.monotonic() > deadline:
            return len(said), f"nothing of {SAYS[page]!r} was said"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
