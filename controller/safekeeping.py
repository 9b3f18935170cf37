"""Backup and restore of the controller's database, and what has to be said to it after a restore."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from controller.audit import audit
from controller.database import Database
from controller.lifting import raise_epoch
from controller.tables import Lease, Model, RolloutRow, Route
from serinus.errors import BadInput, Unavailable

__all__ = ["COMMANDS", "backup", "carry_out", "restore", "restored"]

JUMP = 1_000_000
"""By so much epochs rise after a restore: more than a model has changed since. Replicas refuse what is older."""
COMMANDS = {"backup": 1, "restore": 1, "restored": 0, "migrate": 0}
"""Command -> how many arguments it takes."""


def carry_out(db: Database, command: Sequence[str], now: float) -> str:
    """`backup FILE`, `restore FILE`, `restored` or `migrate`: what was done, in a sentence. Raises SerinusError."""
    word, *rest = command
    if COMMANDS.get(word) != len(rest):
        raise BadInput(f"{' '.join(command)!r} is no command", "backup FILE, restore FILE, restored, or migrate")
    match word:
        case "backup":
            return backup(db, Path(rest[0]))
        case "restore":
            restore(db, Path(rest[0]), now)
    db.migrate()
    return "the database has the schema of this release" if word == "migrate" else restored(db, now)


def backup(db: Database, file: Path) -> str:
    """Copy an SQLite database as it is at one moment, also while a controller runs. The file appears whole or not."""
    source, part = _sqlite_file(db, "pg_dump --format=custom"), file.with_name(f".{file.name}.part")
    if not source.is_file():
        raise Unavailable(f"there is no database {source}", "set SERINUS_HOME or SERINUS_DATABASE_URL")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # hashes of tokens are in it
        _copy(source, part)
        part.replace(file)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        why = f"{source} could not be copied to {file}: {error}"
        raise Unavailable(why, "is there room, and may it write?") from error
    return f"{file}: {file.stat().st_size} bytes"


def restore(db: Database, file: Path, now: float) -> None:
    """Put a copy in the place of the SQLite database. No controller may run on it."""
    target = _sqlite_file(db, "pg_restore --clean --single-transaction")
    if not file.is_file():
        raise BadInput(f"there is no file {file}")
    _only_one(db, now)
    db.close()
    try:
        _copy(file, target)
    except sqlite3.Error as error:
        raise Unavailable(f"{file} could not be restored to {target}: {error}", "is it a backup of Serinus?") from error


def restored(db: Database, now: float) -> str:
    """Raise all epochs beyond what any replica has seen since the backup, and write down that it was restored.

    Doing it twice does no harm."""
    with db.write() as session:
        query = select(Model, Route).join(Route, Route.model == Model.name).order_by(Model.name).with_for_update()
        rows = session.execute(query).all()
        for model, route in rows:
            raise_epoch(session, model, route, route.epoch + JUMP)
        active = session.scalars(select(RolloutRow.id).where(RolloutRow.active_model.is_not(None))).all()
        detail = {"models": len(rows), "by": JUMP, "active_rollouts": list(active)}
        audit(session, actor="controller", action="database.restored", subject="database", detail=detail, now=now)
    goes_on = f"; these rollouts go on when a controller starts: {', '.join(active)}" if active else ""
    return f"the epochs of {len(rows)} models rose by {JUMP}{goes_on}"


def _sqlite_file(db: Database, instead: str) -> Path:
    if not db.sqlite or not db.engine.url.database:
        raise BadInput("this is for SQLite; PostgreSQL has tools of its own", f"`{instead}`, see docs/backup.md")
    return Path(db.engine.url.database)


def _only_one(db: Database, now: float) -> None:
    """Raise Unavailable while a controller holds its lease."""
    left = None
    with contextlib.suppress(SQLAlchemyError), db.read() as session:  # a database that is broken is what one restores
        left = session.scalar(select(func.max(Lease.expires_at)))
    if left is not None and left > now:
        raise Unavailable(
            f"a controller has held its lease on {db.engine.url.database} within the last seconds",
            "stop it first; one that was killed is over after 5 s",
        )


def _copy(source: Path, target: Path) -> None:
    """Page by page, by SQLite itself, and checked."""
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as taken,
        contextlib.closing(sqlite3.connect(target, timeout=5)) as given,
    ):
        if source.stat().st_size and taken.execute("select count(*) from alembic_version").fetchone() is None:
            raise sqlite3.DatabaseError("it has no schema")
        taken.backup(given)
        (found,) = given.execute("pragma quick_check").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
