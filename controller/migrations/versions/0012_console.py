"""Who is logged in to the console.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "console_sessions",
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("secret", name=op.f("pk_console_sessions")),
    )
    op.create_index(op.f("ix_console_sessions_token"), "console_sessions", ["token"], unique=False)
    op.create_index(op.f("ix_console_sessions_expires_at"), "console_sessions", ["expires_at"], unique=False)
    op.create_table(
        "console_codes",
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("secret", name=op.f("pk_console_codes")),
    )
    op.create_index(op.f("ix_console_codes_expires_at"), "console_codes", ["expires_at"], unique=False)


def downgrade() -> None:
    op.drop_table("console_codes")
    op.drop_table("console_sessions")
