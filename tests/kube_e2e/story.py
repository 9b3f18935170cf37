"""Steps that tell what was tried, what failed, and loudly what was not run."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.kube_e2e.cluster import NotRun


@dataclass
class Story:
    """`lines`: (name, how it ended, seconds, what it measured)."""

    lines: list[tuple[str, str, float, str]] = field(default_factory=list)
    done: set[str] = field(default_factory=set)

    def step(self, name: str, act: Callable[[], Any], after: tuple[str, ...] = ()) -> Any:
        """Act, when the steps before it went well; what `act` gives, None when it did not end well."""
        began, measured, ended = time.monotonic(), "", "ok"
        found = None
        if missing := [each for each in after if each not in self.done]:
            ended, measured = "NOT RUN", f"needs: {', '.join(missing)}"
        else:
            try:
                found = act()
                measured = found if isinstance(found, str) else ""
                self.done.add(name)
            except NotRun as why:
                ended, measured = "NOT RUN", str(why)
            except Exception as error:
                traceback.print_exc()
                ended, measured = "FAILED", str(error).splitlines()[0][:200] if str(error) else repr(error)
        self.lines.append((name, ended, time.monotonic() - began, measured))
        print(f"e2e: {ended:8}{name} ({self.lines[-1][2]:.1f} s) {measured}", file=sys.stderr, flush=True)
        return found

    def end(self) -> int:
        """Print the whole; 1 when something failed, 0 else."""
        print(f"\n{'':3}{'step':58}{'seconds':>8}  measured")
        for name, ended, seconds, measured in self.lines:
            print(f"{ended:8}{name:55}{seconds:6.1f}  {measured}")
        left = [name for name, ended, _, _ in self.lines if ended == "NOT RUN"]
        if left:
            print(f"\n!!! {len(left)} of {len(self.lines)} STEPS DID NOT RUN: {'; '.join(left)}")
        return int(any(ended == "FAILED" for _, ended, _, _ in self.lines))
