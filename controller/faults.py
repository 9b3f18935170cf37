"""In which state a database is, in a word and in a sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

__all__ = ["MIGRATIONS", "State", "StateWord", "fault_of", "state_of"]

MIGRATIONS = Path(__file__).parent / "migrations"
StateWord = Literal["ok", "gone", "read_only", "full", "behind", "ahead"]
"""`behind`, `ahead`: its schema is older or newer than this program."""


@dataclass(frozen=True, slots=True)
class State:
    word: StateWord
    said: str = ""

    @property
    def ok(self) -> bool:
        return self.word == "ok"


OK = State("ok")
ADVICE: dict[StateWord, str] = {
    "ok": "",
    "gone": "start it, or mend the way to it; the controller goes on by itself",
    "read_only": "make it writable again (a standby? default_transaction_read_only? rights of the file?)",
    "full": "make room on its disk; the controller goes on by itself",
    "behind": "start a controller of this release, or run `python -m controller migrate`: it migrates",
    "ahead": "start this controller in the newer release that has migrated it",
}
WORDS: tuple[tuple[str, StateWord], ...] = (
    ("readonly", "read_only"),
    ("disk is full", "full"),
    ("disk i/o error", "full"),
    ("no space left", "full"),
    ("unable to open", "gone"),
)
"""What SQLite says."""


def fault_of(error: DBAPIError) -> State | None:
    """The state that an error of a transaction tells of; None when it tells of the transaction only."""
    said = str(error.orig).strip().split("\n")[0][:200]
    code = getattr(error.orig, "sqlstate", None) or ""
    if code == "25006":
        return _state("read_only", said)
    if code == "53100":
        return _state("full", said)
    if code[:2] in {"08", "57"} or error.connection_invalidated:
        return _state("gone", said)
    return next((_state(word, said) for sign, word in WORDS if sign in said.lower()), None)


def state_of(engine: Engine) -> State:
    """What can be seen by reading alone. Never raises."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file and not file.startswith(("file:", ":memory:")) and not Path(file).is_file():
        return _state("gone", f"there is no file {file}")
    try:
        with engine.connect() as connection:
            only = engine.dialect.name == "postgresql" and connection.execute(text("show transaction_read_only"))
            if only and only.scalar() == "on":
                return _state("read_only", "PostgreSQL takes no writes")
            return _by_schema(connection.execute(text("select version_num from alembic_version")).scalar())
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "42P01" or "no such table" in str(error.orig):
            return _state("behind", "it has no tables")
        return _state("gone", str(error.orig).strip().split("\n")[0])
    except SQLAlchemyError as error:  # no connection is free
        return _state("gone", str(error).split("\n")[0])


def _by_schema(found: str | None) -> State:
    known, head = _revisions()
    if found == head:
        return OK
    if found in known or found is None:
        return _state("behind", f"its schema is {found}, this program's {head}")
    return _state("ahead", f"its schema is {found}, which this program does not know; its own is {head}")


def _state(word: StateWord, said: str) -> State:
    return State(word, f"{said}; {ADVICE[word]}")


@cache
def _revisions() -> tuple[frozenset[str], str]:
    """All schemas that this program knows, and its own."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    return frozenset(each.revision for each in script.walk_revisions()), script.get_current_head() or ""
