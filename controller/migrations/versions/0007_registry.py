"""Lineage, tags, notes, keys, signatures, uploads, and the history of SLAs.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("signed_by", sa.Text(), server_default="[]", nullable=False))
    op.add_column("models", sa.Column("deleted_at", sa.Double(), nullable=True))
    op.add_column("versions", sa.Column("deleted_at", sa.Double(), nullable=True))
    _of_versions()
    _of_packages()
    op.execute(
        "insert into slas (model, number, sla, reason, actor, at) "
        "select name, 1, sla, 'in force when SLAs began to be numbered', '', created_at from models"
    )
    op.execute(
        "insert into version_cards (model, number, created_by, tags, notes) "
        "select model, number, '', '[]', '' from versions"
    )
    op.execute("insert into packages (digest, held_until) select distinct digest, 0 from versions")


def _of_versions() -> None:
    op.create_table(
        "version_cards",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("measured", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("imported", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["model", "number"], ["versions.model", "versions.number"], name=op.f("fk_version_cards_model_versions")
        ),
        sa.PrimaryKeyConstraint("model", "number", name=op.f("pk_version_cards")),
    )
    op.create_table(
        "slas",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("sla", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_slas_model_models")),
        sa.PrimaryKeyConstraint("model", "number", name=op.f("pk_slas")),
    )


def _of_packages() -> None:
    op.create_table(
        "keys",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("public", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_keys")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_keys_fingerprint")),
    )
    op.create_table(
        "signatures",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "fingerprint", name=op.f("pk_signatures")),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("signatures", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("package", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_uploads_model_models")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_model"), "uploads", ["model"], unique=False)
    op.create_index(op.f("ix_uploads_expires_at"), "uploads", ["expires_at"], unique=False)
    op.create_table(
        "packages",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("held_until", sa.Double(), nullable=False),
        sa.Column("removing_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_packages")),
    )


def downgrade() -> None:
    for name in ("packages", "uploads", "signatures", "keys", "slas", "version_cards"):
        op.drop_table(name)
    for table, column in (("versions", "deleted_at"), ("models", "deleted_at"), ("models", "signed_by")):
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
