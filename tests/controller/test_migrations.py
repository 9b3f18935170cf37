from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

import controller
from controller.database import MIGRATIONS, Database
from controller.tables import Base
from serinus.errors import Unavailable


def test_the_migrations_make_exactly_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()


def test_migrations_are_found_from_any_folder(tmp_path: Path) -> None:
    code = f"from controller.database import MIGRATIONS, Database; Database('sqlite:///{tmp_path}/x.db').migrate()"
    env = {**os.environ, "PYTHONPATH": str(Path(controller.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, timeout=60)
    assert (tmp_path / "x.db").exists()


def test_a_database_of_a_newer_program_is_refused_in_one_line(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = 'future'"))
    with pytest.raises(Unavailable, match="future") as caught:
        database.migrate()
    assert "\n" not in caught.value.detail


def test_rollouts_and_evidence_of_before_survive_the_migrations(database_url: str) -> None:
    """As they were at revision 0003, with rows that refer to each other."""
    database = Database(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    rows = [
        "insert into models values ('ads', 'default', '{}', null, null, 0)",
        *(f"insert into versions values ('ads', {number}, 'd{number}', '{{}}', 0)" for number in (1, 2)),
        "insert into rollouts (id, model, active_model, candidate, candidate_digest, baseline, plan, sla, phase, step, "
        "canary_bp, shadow_bp, promoted, started_at, history, reason, actor) values "
        "('r1', 'ads', null, 2, 'd2', 1, '{}', '{}', 'done', 0, 0, 0, false, 0, '[]', '', '')",
        "insert into evidence (rollout, tick_ms, verdict, monitor, received_at, body) "
        "values ('r1', 5, 'satisfied', 'm', 0, '{}')",
    ]
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for row in rows:
            connection.execute(text(row))
    database.migrate()
    with database.engine.connect() as connection:
        assert connection.execute(text("select method from rollouts")).scalar_one() == "1"
        assert connection.execute(text("select stream from evidence")).scalar_one() == "live"
    database.close()
