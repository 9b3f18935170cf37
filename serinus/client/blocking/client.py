# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.
"""The client as one object, with the addresses and tokens that it uses."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Self

from serinus.client.blocking.access import Access
from serinus.client.blocking.connection import Connection
from serinus.client.blocking.inference import Inference
from serinus.client.blocking.jobs import Jobs
from serinus.client.blocking.rollouts import Rollouts
from serinus.client.blocking.versions import Versions
from serinus.client.where import local_stack, read_token
from serinus.home import Home, Stack

__all__ = ["Client"]


class Client(Versions, Rollouts, Jobs, Access, Inference):
    """Speaks to the controller (`api`) and to the serving side (`serving`), both URLs.

    What is left out comes from SERINUS_API, SERINUS_SERVING and SERINUS_TOKEN_FILE, else from the local stack of
    `home` (None: $SERINUS_HOME, else ~/.serinus). The tokens of a local stack go to that stack alone.
    `replay`: True for requests and labels of other times than now; a text is the replay token itself."""

    def __init__(
        self,
        api: str | None = None,
        serving: str | None = None,
        token: str | None = None,
        home: Path | str | None = None,
        replay: bool | str = False,
        *,
        timeout_s: float = 30.0,
    ) -> None:
        super().__init__()
        self.home = Home(home)
        self._api_url = api or os.environ.get("SERINUS_API")
        self._serving_url = serving or os.environ.get("SERINUS_SERVING")
        self._token, self._replay, self._timeout_s = token, replay, timeout_s

    @cached_property
    def stack(self) -> Stack:
        """The local stack of `home`. Raises Unavailable when it is not up."""
        return local_stack(self.home)

    @cached_property
    def api(self) -> Connection:
        token = self._token
        if token is None and (file := os.environ.get("SERINUS_TOKEN_FILE")):
            token = read_token(file)
        if self._api_url is not None:
            return Connection(self._api_url, "the controller", token, self._timeout_s)
        token = token or read_token(self.stack.token_file)
        return Connection(self.stack.api, "the controller", token, self._timeout_s)

    @cached_property
    def serving(self) -> Connection:
        token = read_token(self.stack.replay_token_file) if self._replay is True else self._replay or None
        return Connection(self._serving_url or self.stack.serving, "the serving side", token, self._timeout_s)

    def close(self) -> None:
        """Close the connections that were opened."""
        for name in ("api", "serving"):
            if name in self.__dict__:
                self.__dict__[name].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
