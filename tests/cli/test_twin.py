"""Both clients come from one source, and offer the same."""

from __future__ import annotations

import inspect

import serinus
from serinus.client import AsyncClient, Client, twin


def test_the_blocking_client_is_what_its_source_makes_of_it() -> None:
    assert twin.main(["--check"]) == 0, "run `python serinus/client/twin.py`"


def test_what_awaits_and_what_blocks_have_the_same_methods_and_parameters() -> None:
    def offered(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        names = {name: list(inspect.signature(each).parameters) for name, each in found}
        return {name.removeprefix("a") if name == "aclose" else name: its for name, its in names.items()}

    public = {name: its for name, its in offered(AsyncClient).items() if not name.startswith("_")}
    assert public == {name: its for name, its in offered(Client).items() if not name.startswith("_")}
    assert "push" in public


def test_words_that_change_change_alone() -> None:
    made = twin.twin_of("async def awaited(x: AsyncIterator[int]) -> None:\n    await x.aclose()\n")
    assert made.splitlines()[1:] == ["def awaited(x: Iterator[int]) -> None:", "    x.close()"]


def test_the_clients_stand_at_the_top() -> None:
    assert serinus.Client is Client
    assert serinus.AsyncClient is AsyncClient
