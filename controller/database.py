"""The database: engine, short transactions, and migrations at start."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session

from controller.database_url import follow
from controller.faults import MIGRATIONS, State, fault_of, state_of
from serinus.errors import Unavailable

__all__ = ["CHANNEL", "MIGRATIONS", "Database", "Wake", "upsert", "wakes"]

Wake = Literal["routes", "pool", "facts", "notices", "audit"]
"""What a committed transaction tells every controller: a route table of a model or a pool, or what decisions about a
model rest on, has changed; there are notices to send, or entries of the audit log. With a subject: `facts:ads`."""
CHANNEL = "serinus"
MOST_TOLD = 7_000
"""Bytes of a notification; PostgreSQL takes 8,000."""

RECYCLE_S = 1_800
"""Age at which a connection is made anew, by then with a login that has rotated."""

MIGRATION_LOCK = 0x5E51_0005
"""Any number that no other program on the same PostgreSQL takes for an advisory lock."""


class Database:
    """SQLite (embedded) or PostgreSQL, by the URL. Thread-safe; every transaction is short."""

    def __init__(self, url: str, file: Path | None = None) -> None:
        """`file`: where the URL came from; on PostgreSQL each new connection logs in as it then says. Raises
        Unavailable when the URL is none, or when the folder of an SQLite file cannot be made."""
        try:
            parsed = make_url(url)
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            self.sqlite = parsed.get_backend_name() == "sqlite"
            if self.sqlite and parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            options: dict[str, Any] = {"connect_args": {"timeout": 30} if self.sqlite else {"connect_timeout": 5}}
            self.engine: Engine = create_engine(
                parsed,
                pool_size=8,
                max_overflow=40,
                pool_pre_ping=not self.sqlite,
                pool_recycle=-1 if self.sqlite else RECYCLE_S,
                **options,
            )
        except (ArgumentError, OSError, ImportError) as error:
            raise Unavailable(
                f"the database of SERINUS_DATABASE_URL cannot be used: {error}",
                "expected sqlite:////PATH or postgresql://USER:PASSWORD@HOST/NAME",
            ) from error
        self.origin = uuid.uuid4().hex
        self.listeners: dict[Wake, Callable[[str], object]] = dict.fromkeys(get_args(Wake), lambda _subject: None)
        self.before_commit: Callable[[Session], object] = lambda _session: None
        """Called at the end of each transaction that writes; what it writes is committed with it."""
        self._fault: State | None = None
        if self.sqlite:
            _tame_sqlite(self.engine)
        elif file is not None:
            follow(self.engine, file)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at its end, or rolled back by an exception.

        On SQLite it takes the one write lock at its beginning; on PostgreSQL lock the rows that you decide by."""
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                session.connection(execution_options={"writes": True})
                yield session
                self.before_commit(session)
                told = sorted(session.info.get("wakes", ()))
                if told and not self.sqlite:
                    self._notify(session, told)
        except DBAPIError as error:
            self._fault = fault_of(error) or self._fault
            raise
        self._fault = None
        self.tell(told)

    def state(self) -> State:
        """What it is like now, as far as reading shows; where it does not, as the last write found it. Never raises."""
        seen, fault = state_of(self.engine), self._fault
        unseen = fault is not None and (fault.word == "full" or (fault.word == "read_only" and self.sqlite))
        return fault if seen.ok and fault is not None and unseen else seen

    def tell(self, wakes: Iterable[str]) -> None:
        """Wake the listeners of this process. A subject of "" stands for all."""
        for wake in wakes:
            word, _, subject = wake.partition(":")
            if word in self.listeners:  # another controller may be newer than this one
                self.listeners[word](subject)

    def _notify(self, session: Session, told: list[str]) -> None:
        """Let the other controllers know when this is committed."""
        payload = " ".join([self.origin, *told])
        if len(payload.encode()) > MOST_TOLD:
            payload = " ".join([self.origin, *sorted({wake.partition(":")[0] for wake in told})])
        session.execute(text("select pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})

    def migrate(self) -> None:
        """Bring the schema to the newest revision; safe when several controllers start at once.

        Raises Unavailable that says what failed."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        try:
            with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
                if not self.sqlite:
                    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except Exception as error:
            why = str(error).strip().splitlines()[0]
            place = self.engine.url.render_as_string(hide_password=True)
            raise Unavailable(
                f"the database {place} could not be brought to the newest schema: {why}",
                "check SERINUS_DATABASE_URL, that the database runs, and that no newer Serinus has used it",
            ) from error

    def close(self) -> None:
        self.engine.dispose()


def wakes(session: Session, *what: str) -> None:
    """Once this transaction is committed, tell the listeners: a Wake, or one with a subject, `routes:ads`."""
    session.info.setdefault("wakes", set()).update(what)


def upsert(
    session: Session,
    table: type[DeclarativeBase],
    key: dict[str, Any],
    values: dict[str, Any],
    first_stays: bool = False,
) -> None:
    """Insert the row, or give the row of that key these values, also while somebody else does the same.

    `first_stays`: a row that is there already stays as it is."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement: Any = insert(table).values({**key, **values})
    if first_stays:
        statement = statement.on_conflict_do_nothing(index_elements=list(key))
    else:
        statement = statement.on_conflict_do_update(index_elements=list(key), set_=values)
    session.execute(statement)


def _tame_sqlite(engine: Engine) -> None:
    """WAL, foreign keys, a full sync before an answer, and transactions that begin when we say so."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come too late and be deferred
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
