# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.
"""What each half of the client stands on."""

from __future__ import annotations

from functools import cached_property

from serinus.client.blocking.connection import Connection

__all__ = ["Base"]


class Base:
    """Reading is tried again when a connection breaks; so is writing, under one idempotency key a call."""

    @cached_property
    def api(self) -> Connection:
        """The connection to the controller."""
        raise NotImplementedError

    @cached_property
    def serving(self) -> Connection:
        """The connection to the serving side."""
        raise NotImplementedError
