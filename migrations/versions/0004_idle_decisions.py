"""Replicas that were told and not carried out are pruned as decisions to hold are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    idle = sa.text("step IN ('hold', 'scale')")
    op.drop_index("ix_decisions_holds", "decisions")
    op.create_index("ix_decisions_idle", "decisions", ["last_at"], sqlite_where=idle, postgresql_where=idle)


def downgrade() -> None:
    holds = sa.text("step = 'hold'")
    op.drop_index("ix_decisions_idle", "decisions")
    op.create_index("ix_decisions_holds", "decisions", ["last_at"], sqlite_where=holds, postgresql_where=holds)
