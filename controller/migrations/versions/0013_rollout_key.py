"""By which key a rollout was begun, so that whoever asks again finds it, however long ago that was.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("key", sa.String(), nullable=True))
    op.create_index(op.f("ix_rollouts_key"), "rollouts", ["key"], unique=True)


def downgrade() -> None:
    op.drop_index(op.f("ix_rollouts_key"), table_name="rollouts")
    with op.batch_alter_table("rollouts") as table:
        table.drop_column("key")
