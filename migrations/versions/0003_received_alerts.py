"""Alerts that come back from an Alertmanager."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "received_alerts",
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("starts_at", sa.Double, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=True),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("heard_at", sa.Double, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "starts_at", name="pk_received_alerts"),
    )
    op.create_index("ix_received_alerts_received_at", "received_alerts", ["received_at"])
    op.create_index("ix_received_alerts_heard_at", "received_alerts", ["heard_at"])


def downgrade() -> None:
    op.drop_table("received_alerts")
