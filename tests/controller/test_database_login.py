"""A rotated password of the database is taken without a restart: a real PostgreSQL that asks for passwords."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from controller.database import Database

BEFORE, AFTER = "the:first", "the second@/%"


@pytest.fixture
def rotating(own_postgres: Any) -> Any:
    """The role `rotating`, which must say its password, and its database."""
    own_postgres.execute(f"create role rotating login password '{BEFORE}'", "create database rotating owner rotating")
    rules = Path(own_postgres.home) / "data" / "pg_hba.conf"
    rules.write_text(f"local all rotating scram-sha-256\n{rules.read_text()}")
    own_postgres.run("pg_ctl", "-D", f"{own_postgres.home}/data", "reload")
    return own_postgres


@pytest.fixture
def say(rotating: Any, tmp_path: Path) -> Callable[[str], str]:
    """Write the URL with that password, percent-encoded, into the file; returns it."""

    def write(password: str, database: str = "rotating") -> str:
        url = f"postgresql://rotating:{password}@/{database}?host={rotating.home}"
        (tmp_path / "url").write_text(f"{url}\n")
        return url

    return write


@pytest.fixture
def db(say: Callable[[str], str], tmp_path: Path) -> Iterator[Database]:
    database = Database(say("the%3Afirst"), tmp_path / "url")
    database.migrate()
    yield database
    database.close()


def rotate(postgres: Any) -> None:
    """The new password is in force, and nobody who logged in by the old one stays."""
    postgres.execute(
        f"alter role rotating password '{AFTER.replace('%', '%%')}'",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'rotating'",
    )


def who(db: Database) -> str:
    with db.read() as session:
        return str(session.scalar(text("select current_user")))


def test_new_connections_log_in_as_the_file_says(db: Database, rotating: Any, say: Callable[[str], str]) -> None:
    say("the%20second%40%2F%25")
    rotate(rotating)
    assert who(db) == "rotating"


def test_another_role_may_follow(db: Database, rotating: Any, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"postgresql+psycopg://serinus@/rotating?host={rotating.home}")
    rotate(rotating)
    assert who(db) == "serinus"


@pytest.mark.parametrize("content", [None, "", "no url", "postgresql://rotating:hidden@/postgres?host=/nowhere"])
def test_a_file_that_is_no_use_changes_nothing_and_is_told_once(
    db: Database, tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "url").unlink()
    if content is not None:
        (tmp_path / "url").write_text(content)
    with caplog.at_level(logging.ERROR, "controller.database_url"):
        for _ in range(2):
            db.engine.dispose()
            assert who(db) == "rotating"
    assert len(caplog.messages) == 1
    assert "SERINUS_DATABASE_URL_FILE" in caplog.messages[0]
    assert "hidden" not in caplog.text


def test_without_the_file_a_rotation_locks_it_out(rotating: Any, say: Callable[[str], str]) -> None:
    alone = Database(say("the%3Afirst"))
    assert who(alone) == "rotating"
    rotate(rotating)
    with pytest.raises(OperationalError):
        who(alone)
    alone.close()
