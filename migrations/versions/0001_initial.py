"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _counts() -> tuple[sa.Column, ...]:
    return (
        sa.Column("good", sa.BigInteger, nullable=False),
        sa.Column("bad", sa.BigInteger, nullable=False),
        sa.Column("unsure", sa.BigInteger, nullable=False),
        sa.Column("measured_s", sa.Double, nullable=False),
        sa.Column("expected_s", sa.Double, nullable=False),
    )


def upgrade() -> None:
    _create_slices()
    _create_decisions()
    _create_actions()
    _create_people()


def _create_slices() -> None:
    op.create_table(
        "series",
        sa.Column("id", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("objective", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
        sa.UniqueConstraint("model", "objective", name="uq_series_model_objective"),
    )
    op.create_table(
        "slices",
        sa.Column("series_id", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("slo_version", sa.Text, nullable=False),
        *_counts(),
        sa.PrimaryKeyConstraint("series_id", "start", name="pk_slices"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_slices_series_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollups",
        sa.Column("series_id", SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("level_s", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("slo_version", sa.Text, nullable=False),
        *_counts(),
        sa.PrimaryKeyConstraint("series_id", "level_s", "start", "slo_version", name="pk_rollups"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_rollups_series_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "retention",
        sa.Column("level_s", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("kept_from", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("level_s", name="pk_retention"),
    )


def _create_decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_decisions"),
        sa.UniqueConstraint("id", name="uq_decisions_id"),
    )
    op.create_index("ix_decisions_model_seq", "decisions", ["model", "seq"])
    changes = sa.text("step <> 'hold'")
    op.create_index("ix_decisions_changes", "decisions", ["seq"], sqlite_where=changes, postgresql_where=changes)
    holds = sa.text("step = 'hold'")
    op.create_index("ix_decisions_holds", "decisions", ["last_at"], sqlite_where=holds, postgresql_where=holds)
    op.create_table(
        "newest_decisions",
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("decision_id", sa.Text, nullable=False),
        sa.Column("likeness", sa.Text, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("model", "server", name="pk_newest_decisions"),
    )
    op.create_table(
        "effects",
        sa.Column("decision_id", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name="pk_effects"),
    )
    op.create_table(
        "policy_state",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("unclosed", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policy_state"),
    )


def _create_actions() -> None:
    op.create_table(
        "actions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("issued_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_actions"),
    )
    unfinished = sa.text("finished_at IS NULL")
    op.create_index("ix_actions_open", "actions", ["id"], sqlite_where=unfinished, postgresql_where=unfinished)
    op.create_table(
        "outcomes",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("action_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_outcomes"),
        sa.UniqueConstraint("action_id", "status", "finished_at", name="uq_outcomes_action_id_status_finished_at"),
    )
    op.create_table(
        "startups",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("knob", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("least_s", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_startups"),
        sa.UniqueConstraint("model", "server", "knob", "at", name="uq_startups_model_server_knob_at"),
    )
    op.create_index("ix_startups_model_knob_seq", "startups", ["model", "knob", "seq"])


def _create_people() -> None:
    for name, server in (("overrides", (sa.Column("server", sa.Text, nullable=False),)), ("freezes", ())):
        op.create_table(
            name,
            sa.Column("id", sa.Text, nullable=False),
            sa.Column("model", sa.Text, nullable=False),
            *server,
            sa.Column("expires_at", sa.Double, nullable=False),
            sa.Column("ended_at", sa.Double),
            sa.Column("body", sa.Text, nullable=False),
            sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        )
        op.create_index(f"ix_{name}_expires_at", name, ["expires_at"])
    op.create_table(
        "wants",
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_wants"),
    )
    op.create_table(
        "audit",
        sa.Column("seq", SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )


def downgrade() -> None:
    people = ("audit", "wants", "freezes", "overrides")
    actions = ("startups", "outcomes", "actions")
    decisions = ("policy_state", "effects", "newest_decisions", "decisions")
    for table in (*people, *actions, *decisions, "retention", "rollups", "slices", "series"):
        op.drop_table(table)
