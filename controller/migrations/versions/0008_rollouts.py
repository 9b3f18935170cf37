"""The queue, what rollouts said, and time in which no controller was alive.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("place", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("rollouts", sa.Column("said", sa.Text(), server_default="[]", nullable=False))
    op.add_column("rollouts", sa.Column("lacking_since", sa.Double(), nullable=True))
    op.add_column("leases", sa.Column("dead_s", sa.Double(), server_default="0", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("rollouts") as table:
        for name in ("place", "said", "lacking_since"):
            table.drop_column(name)
    with op.batch_alter_table("leases") as table:
        table.drop_column("dead_s")
