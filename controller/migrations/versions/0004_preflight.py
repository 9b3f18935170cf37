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
    # The defaults are those of the rows that are here already; they stay, for SQLite could only drop them by making the
    # tables anew, which the rows that refer to them forbid.
    op.add_column("rollouts", sa.Column("method", sa.String(), nullable=False, server_default="1"))
    op.add_column("evidence", sa.Column("stream", sa.String(), nullable=False, server_default="live"))


def downgrade() -> None:
    op.execute("DELETE FROM evidence WHERE stream <> 'live'")
    op.drop_column("evidence", "stream")
    op.drop_column("rollouts", "method")
