"""Processes that leave nothing behind: groups of their own, a mark in the environment, an end with a deadline.

Ray starts many processes, some in groups and sessions of their own. What all of them keep is the environment: each
process of a stack carries MARK=STACK:NAME, and so do its children's children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable

import psutil

__all__ = ["MARK", "become_subreaper", "die_with_parent", "end", "marked", "reap_orphans"]

MARK = "SERINUS_STACK"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def become_subreaper() -> None:
    """Orphans of our children become ours, so that none is left to nobody as a zombie. Linux only, else nothing."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Between fork and exec of a child: it gets SIGTERM when its supervisor dies, however that dies."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def reap_orphans(own: Iterable[int]) -> None:
    """Take the exit codes of dead orphans that became ours; `own`: children whose codes others want."""
    kept = set(own)
    for child in psutil.Process().children():
        try:
            if child.pid not in kept and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue


def marked(stack: str, name: str | None = None) -> list[psutil.Process]:
    """Every living process of a stack (`name`: of one of its processes) but ourselves, found by its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "") if process.pid != os.getpid() else ""
            alive = process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            continue
        if alive and (mark == f"{stack}:{name}" if name else mark.startswith(f"{stack}:")):
            found.append(process)
    return found


def end(processes: Iterable[psutil.Process], grace_s: float) -> int:
    """SIGTERM, then SIGKILL to those that live after `grace_s`. Gives how many had to be killed."""
    waiting = list(processes)
    for process in waiting:
        _signal(process, signal.SIGTERM)
    _, left = psutil.wait_procs(waiting, grace_s)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, 5)
    return len(left)


def _signal(process: psutil.Process, which: signal.Signals) -> None:
    try:
        process.send_signal(which)
    except psutil.NoSuchProcess:
        return
