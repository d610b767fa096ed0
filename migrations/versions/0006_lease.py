"""Which control plane leads, and which leader began each action."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    lease = op.create_table(
        "lease",
        sa.Column("epoch", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("epoch", name="pk_lease"),
    )
    op.bulk_insert(lease, [{"epoch": 0, "holder": "", "expires_at": 0.0}])
    op.add_column("actions", sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("actions", "epoch")
    op.drop_table("lease")
