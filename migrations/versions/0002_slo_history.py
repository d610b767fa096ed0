"""History that can be judged again: histograms as read, versions of objectives, corrections, alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table in ("slices", "rollups"):
        op.add_column(table, sa.Column("bad_capacity", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("policy_state", sa.Column("alerts", sa.Text, nullable=False, server_default="{}"))
    _create_histograms()
    _create_judging()


def _create_histograms() -> None:
    op.create_table(
        "histogram_series",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("indicator", sa.Text, nullable=False),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_histogram_series"),
        sa.UniqueConstraint("model", "indicator", "gateway", name="uq_histogram_series_model_indicator_gateway"),
    )
    op.create_table(
        "histogram_shapes",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_histogram_shapes"),
        sa.UniqueConstraint("body", name="uq_histogram_shapes_body"),
    )
    op.create_table(
        "histograms",
        sa.Column("series_id", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("level_s", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("shape_id", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("series_id", "level_s", "start", "shape_id", name="pk_histograms"),
        sa.ForeignKeyConstraint(["series_id"], ["histogram_series.id"], name="fk_histograms_series_id"),
        sa.ForeignKeyConstraint(["shape_id"], ["histogram_shapes.id"], name="fk_histograms_shape_id"),
        sqlite_with_rowid=False,
    )


def _create_judging() -> None:
    op.create_table(
        "objective_versions",
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("objective", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "since", name="pk_objective_versions"),
    )
    op.create_table(
        "adjustments",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("end", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_adjustments"),
        sa.UniqueConstraint("id", name="uq_adjustments_id"),
    )
    op.create_table(
        "alert_events",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("objective", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_alert_events"),
        sa.UniqueConstraint("at", "model", "objective", "severity", name="uq_alert_events_at_model_objective_severity"),
    )
    op.create_index("ix_alert_events_model_seq", "alert_events", ["model", "seq"])
    if op.get_context().dialect.name == "postgresql":
        op.create_index("ix_slices_start", "slices", ["start"])
        op.create_index("ix_rollups_level_s_start", "rollups", ["level_s", "start"])


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.drop_index("ix_rollups_level_s_start", "rollups")
        op.drop_index("ix_slices_start", "slices")
    for table in ("alert_events", "adjustments", "objective_versions"):
        op.drop_table(table)
    for table in ("histograms", "histogram_shapes", "histogram_series"):
        op.drop_table(table)
    op.drop_column("policy_state", "alerts")
    for table in ("rollups", "slices"):
        op.drop_column(table, "bad_capacity")
