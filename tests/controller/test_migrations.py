from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

import controller
from controller.database import Database
from controller.tables import Base
from serinus.errors import Unavailable


def test_the_migrations_make_exactly_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()


def test_migrations_are_found_from_any_folder(tmp_path: Path) -> None:
    code = f"from controller.database import Database; Database('sqlite:///{tmp_path}/x.db').migrate()"
    env = {**os.environ, "PYTHONPATH": str(Path(controller.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, timeout=60)
    assert (tmp_path / "x.db").exists()


def test_a_database_of_a_newer_program_is_refused_in_one_line(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = 'future'"))
    with pytest.raises(Unavailable, match="future") as caught:
        database.migrate()
    assert "\n" not in caught.value.detail
