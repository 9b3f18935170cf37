"""Which formulas a rollout is judged by, and which traffic a look is of.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rollouts") as table:
        table.add_column(sa.Column("method", sa.String(), nullable=False, server_default="1"))  # before this revision
    with op.batch_alter_table("evidence") as table:
        table.add_column(sa.Column("stream", sa.String(), nullable=False, server_default="live"))
    with op.batch_alter_table("rollouts") as table:
        table.alter_column("method", server_default=None)
    with op.batch_alter_table("evidence") as table:
        table.alter_column("stream", server_default=None)


def downgrade() -> None:
    op.execute("DELETE FROM evidence WHERE stream <> 'live'")
    with op.batch_alter_table("evidence") as table:
        table.drop_column("stream")
    with op.batch_alter_table("rollouts") as table:
        table.drop_column("method")
