"""What is told to people, until it is delivered.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("routed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_notices")),
    )
    for column in ("at", "model", "routed"):
        op.create_index(op.f(f"ix_notices_{column}"), "notices", [column], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("notice", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.Column("said", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["notice"], ["notices.number"], name=op.f("fk_deliveries_notice_notices")),
        sa.PrimaryKeyConstraint("notice", "target", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_due_at"), "deliveries", ["due_at"], unique=False)


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("notices")
