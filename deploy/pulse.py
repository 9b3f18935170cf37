"""Whether a process still answers: one small HTTP request at a time, never waited for."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

__all__ = ["Pulse"]

EVERY_S = 2.0
ANSWER_WITHIN_S = 3.0
NOT_YET = (errno.EAGAIN, errno.ENOTCONN)
MISSED = 3
"""So many questions in a row must stay without an answer: a supervisor that was stopped itself suspects nobody."""


class Pulse:
    """Asks `url` (http) every 2 s. Needs no thread: `step` looks what has come, and is to be called often.

    `now`: time.monotonic(), seconds. What counts is status 200: a hanging process accepts connections too."""

    def __init__(self, url: str, now: float) -> None:
        address = urlsplit(url)
        self._address = (str(address.hostname), int(address.port or 80))
        self._question = (
            f"GET {address.path} HTTP/1.1\r\nHost: {address.hostname}\r\nConnection: close\r\n\r\n".encode()
        )
        self._socket: socket.socket | None = None
        self._unsent, self._heard = b"", b""
        self._heard_at = now
        self._asked_at, self._missed = now, 0

    def step(self, now: float) -> None:
        """Ask when it is time, take what has come, give up what comes too late."""
        if self._socket is None:
            if now >= self._asked_at + EVERY_S:
                self._ask(now)
            return
        try:
            if self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            piece = self._socket.recv(64)
        except OSError as error:
            if error.errno not in NOT_YET or now > self._asked_at + ANSWER_WITHIN_S:
                self._close(False, now)
            return
        self._heard += piece
        if len(self._heard) >= len(b"HTTP/1.1 200") or not piece:
            self._close(self._heard.split(b" ")[1:2] == [b"200"], now)

    def silent_s(self, now: float) -> float:
        """For how long there was no answer, though it was asked for several times; 0 while all is well."""
        return now - self._heard_at if self._missed >= MISSED else 0.0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, now: float) -> None:
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._unsent, self._heard, self._asked_at = self._question, b"", now
        if self._socket.connect_ex(self._address) not in (0, errno.EINPROGRESS):
            self._close(False, now)

    def _close(self, well: bool, now: float) -> None:
        self.close()
        self._missed = 0 if well else self._missed + 1
        if well:
            self._heard_at = now
