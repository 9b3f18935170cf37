"""Alembic runs this to migrate: on the connection, and in the transaction, that `Database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from controller.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
context.run_migrations()
