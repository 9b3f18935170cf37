"""What replicas have fetched, and their memory.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM replicas")  # they call again within seconds
    with op.batch_alter_table("replicas") as table:
        table.add_column(sa.Column("fetched", sa.Text(), nullable=False))
        table.add_column(sa.Column("resident_bytes", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("free_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("replicas") as table:
        table.drop_column("free_bytes")
        table.drop_column("resident_bytes")
        table.drop_column("fetched")
