"""What tests ask of processes that may go at any moment: none of these questions fails because one does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more, reaped or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below this one; empty where it has ended itself."""
    while psutil.pid_exists(pid):
        with contextlib.suppress(psutil.NoSuchProcess):  # of any below that ends meanwhile
            return psutil.Process(pid).children(recursive=True)
    return []


def command_lines(processes: Iterable[psutil.Process]) -> list[tuple[psutil.Process, str]]:
    """Each process that lives, with its command line."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found.append((process, " ".join(process.cmdline())))
    return found


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Addresses and ports at which those that live listen for TCP."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            sockets = process.net_connections("tcp")
            found |= {(c.laddr.ip, c.laddr.port) for c in sockets if c.status == psutil.CONN_LISTEN}
    return found
