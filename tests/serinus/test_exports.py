"""What is public is listed, and what is listed is there."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import serinus

MODULES = ["serinus", *(m.name for m in pkgutil.walk_packages(serinus.__path__, "serinus.") if "_rooms" not in m.name)]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_all_is_there_and_true(name: str) -> None:
    module = importlib.import_module(name)
    listed = list(module.__all__)
    assert len(set(listed)) == len(listed)
    assert [word for word in listed if not hasattr(module, word)] == []
    if name.startswith("serinus.cli."):
        return  # a command is typed, not imported: its own function need not be listed
    own = {
        word
        for word, thing in vars(module).items()
        if not word.startswith("_")
        and (inspect.isclass(thing) or inspect.isfunction(thing))
        and thing.__module__ == name
    }
    assert sorted(own - set(listed)) == []
