"""Looks are kept packed, by stream and tick, and those that mattered; of every look a small line stays.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
KEY = ("rollout", "stream", "tick_ms")


def upgrade() -> None:
    op.create_table(
        "look_shapes",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("guards", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_look_shapes_rollout_rollouts")),
        sa.PrimaryKeyConstraint("rollout", "number", name=op.f("pk_look_shapes")),
    )
    op.create_table(
        "looks",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("tick_ms", sa.BigInteger(), nullable=False),
        sa.Column("e", sa.Double(), nullable=False),
        sa.Column("limit_", sa.Double(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("mark", sa.String(), nullable=False),
        sa.Column("shape", sa.BigInteger(), nullable=False),
        sa.Column("cells", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_looks_rollout_rollouts")),
        sa.PrimaryKeyConstraint(*KEY, name=op.f("pk_looks")),
    )
    _rebuild(sa.LargeBinary(), KEY, sa.Column("digest", sa.String(), nullable=False), default=None)
    _copy(_packed, "digest")


def downgrade() -> None:
    _rebuild(sa.Text(), ("rollout", "tick_ms"), default="live")
    _copy(_plain)
    op.drop_table("looks")
    op.drop_table("look_shapes")


def _rebuild(body: sa.types.TypeEngine[Any], key: tuple[str, ...], *more: sa.Column[str], default: str | None) -> None:
    """Make the table anew under its name; its rows wait in `evidence_old`."""
    op.execute("CREATE TABLE evidence_old AS SELECT * FROM evidence")
    op.drop_table("evidence")
    op.create_table(
        "evidence",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("tick_ms", sa.BigInteger(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False, server_default=default),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("monitor", sa.String(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("body", body, nullable=False),
        *more,
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_evidence_rollout_rollouts")),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_evidence")),
    )
    op.create_index(op.f("ix_evidence_rollout_verdict"), "evidence", ["rollout", "verdict"])


def _copy(change: Callable[[dict[str, Any]], dict[str, Any]], *more: str) -> None:
    """Row by row: all of them need not fit in memory."""
    names = ("rollout", "tick_ms", "stream", "verdict", "monitor", "received_at", "body")
    old = sa.table("evidence_old", *(sa.column(name) for name in names))
    new = sa.table("evidence", *(sa.column(name) for name in (*names, *more)))
    connection = op.get_bind()
    for rollout, tick_ms in connection.execute(sa.select(old.c.rollout, old.c.tick_ms)).all():
        mine = (old.c.rollout == rollout, old.c.tick_ms == tick_ms)
        for row in connection.execute(sa.select(old).where(*mine)).mappings().all():
            connection.execute(sa.insert(new).values(change({**row})))
    op.drop_table("evidence_old")


def _packed(row: dict[str, Any]) -> dict[str, Any]:
    told = row["body"].encode()
    return {**row, "body": zlib.compress(told, 6), "digest": hashlib.sha256(told).hexdigest()}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "body": zlib.decompress(row["body"]).decode()}
