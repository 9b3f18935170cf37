"""Every benchmark, one after the other: `make bench`, or `python -m benchmarks [--quick] [--json FOLDER]`."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = (
    *("serving", "heads", "batching", "precision", "shadow", "monitors", "profile", "controller", "rollback"),
    "metrics",
)
QUICK = {"heads": ["--seconds", "2"], "shadow": ["--rounds", "3", "--seconds", "4"]}
"""What `--quick` means to the scripts that have no such option."""


def main() -> int:
    """0 when every script ran to its end, whether its targets are met or not; the tables say that."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument("--json", metavar="FOLDER", help="write SCRIPT.json of each there")
    options = parser.parse_args()
    if options.json:
        Path(options.json).mkdir(parents=True, exist_ok=True)
    broken = []
    for script in SCRIPTS:
        print(f"\n=== benchmarks.{script}", flush=True)
        if importlib.util.find_spec(f"benchmarks.{script}") is None:
            print("not there")
            continue
        command = [sys.executable, "-m", f"benchmarks.{script}"]
        command += QUICK.get(script, ["--quick"]) if options.quick else []
        command += ["--json", str(Path(options.json) / f"{script}.json")] if options.json else []
        began = time.monotonic()
        if subprocess.run(command, check=False).returncode:
            broken.append(script)
        print(f"=== benchmarks.{script} took {time.monotonic() - began:.0f} s", flush=True)
    if broken:
        print(f"did not run to the end: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
