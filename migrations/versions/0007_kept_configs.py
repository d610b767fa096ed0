"""Configurations of models whose versions a rollout set, for servers that restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_configs",
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("model", "server", name="pk_kept_configs"),
    )


def downgrade() -> None:
    op.drop_table("kept_configs")
