"""Ports of the stack: free ones, and a clear word when one is taken."""

from __future__ import annotations

import contextlib
import random
import socket

import psutil

from serinus.errors import SerinusError

__all__ = ["HOST", "PortTaken", "choose_port"]

HOST = "127.0.0.1"


class PortTaken(SerinusError):
    """Somebody else listens on a port that the stack was to have."""

    hint = "choose another one, or 0 for a free one"


FREE_PORTS = range(20_000, 32_000)
"""Where a free port is looked for: below those that Linux gives to outgoing connections, one of which might else have
it by the time that the process behind it has started."""


def choose_port(wanted: int, what: str, option: str) -> int:
    """`wanted` when it is free, a free port when it is 0. Raises PortTaken that names the option to change it."""
    if wanted:
        return _bound(wanted, what, option)
    for port in random.sample(FREE_PORTS, 100):
        with contextlib.suppress(PortTaken):
            return _bound(port, what, option)
    return _bound(0, what, option)


def _bound(wanted: int, what: str, option: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            why = f"port {wanted} of {what} is taken{_holder(wanted)}" if error.errno == 98 else f"{what}: {error}"
            raise PortTaken(why, f"choose another one by {option} PORT ({option} 0: any free one)") from error
        return int(probe.getsockname()[1])


def _holder(port: int) -> str:
    """Who listens there, as far as one may know: " by PID (name)"."""
    try:
        for connection in psutil.net_connections("inet"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return ""
