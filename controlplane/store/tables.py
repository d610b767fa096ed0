"""The tables. What is queried has a column; the whole value stands beside it as JSON text.

Migrations say how a database gets here; a test holds the two together.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0008"
"""The newest migration: what a database must be at for this code. Spelled out so that opening needs no alembic."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# An integer key that SQLite fills in by itself must be called INTEGER there.
Sequence = BigInteger().with_variant(Integer(), "sqlite")

series = Table(
    "series",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("model", Text, nullable=False),
    Column("objective", Text, nullable=False),
    UniqueConstraint("model", "objective"),
)


def _count_columns() -> tuple[Column[int] | Column[float], ...]:
    return (
        Column("good", BigInteger, nullable=False),
        Column("bad", BigInteger, nullable=False),
        Column("unsure", BigInteger, nullable=False),
        Column("measured_s", Double, nullable=False),
        Column("expected_s", Double, nullable=False),
        Column("bad_capacity", BigInteger, nullable=False, server_default="0"),
    )


slices = Table(
    "slices",
    metadata,
    Column("series_id", Sequence, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("slo_version", Text, nullable=False),
    *_count_columns(),
    # Rows lie there in the order of time, scattered over series; SQLite has them in the order of the key.
    Index("ix_slices_start", "start").ddl_if(dialect="postgresql"),
    sqlite_with_rowid=False,  # one tree instead of two: half the space
)
"""The finest level. One row a slice whatever the version, so that a slice is never counted twice."""

rollups = Table(
    "rollups",
    metadata,
    Column("series_id", Sequence, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("level_s", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("slo_version", Text, primary_key=True),
    *_count_columns(),
    Index("ix_rollups_level_s_start", "level_s", "start").ddl_if(dialect="postgresql"),
    sqlite_with_rowid=False,
)
"""Sums of slices at the coarser levels."""

retention = Table(
    "retention",
    metadata,
    Column("level_s", Integer, primary_key=True, autoincrement=False),
    Column("kept_from", BigInteger, nullable=False),
)
"""From when on the rows of a level are still there; a level without a row was never cut."""

histogram_series = Table(
    "histogram_series",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("model", Text, nullable=False),
    Column("indicator", Text, nullable=False),
    Column("gateway", Text, nullable=False),
    UniqueConstraint("model", "indicator", "gateway"),
)

histogram_shapes = Table(
    "histogram_shapes",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("body", Text, nullable=False, unique=True),
)
"""The edges of buckets, as JSON."""

histograms = Table(
    "histograms",
    metadata,
    Column("series_id", Sequence, ForeignKey("histogram_series.id"), primary_key=True, autoincrement=False),
    Column("level_s", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("shape_id", Sequence, ForeignKey("histogram_shapes.id"), primary_key=True, autoincrement=False),
    Column("counts", Text, nullable=False),
    Column("errors", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

objective_versions = Table(
    "objective_versions",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("since", Double, primary_key=True),
    Column("objective", Text, nullable=False),
    Column("body", Text, nullable=False),
)

adjustments = Table(
    "adjustments",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("end", Double, nullable=False),
    Column("body", Text, nullable=False),
)
"""Append-only."""

alert_events = Table(
    "alert_events",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("model", Text, nullable=False),
    Column("objective", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("at", "model", "objective", "severity"),
    Index(None, "model", "seq"),
)

received_alerts = Table(
    "received_alerts",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("starts_at", Double, primary_key=True),
    Column("ends_at", Double),
    Column("received_at", Double, nullable=False),
    Column("heard_at", Double, nullable=False),
    Column("model", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "received_at"),
    Index(None, "heard_at"),
)
"""What Alertmanagers sent back. `ends_at` is empty while an alert fires."""

IDLE_STEPS = "step IN ('hold', 'scale')"
"""Decisions of which some change nothing: to hold, and replicas that are told and not carried out."""

decisions = Table(
    "decisions",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "model", "seq"),
    Index(
        "ix_decisions_changes",
        "seq",
        sqlite_where=text("step <> 'hold'"),
        postgresql_where=text("step <> 'hold'"),
    ),
    Index("ix_decisions_idle", "last_at", sqlite_where=text(IDLE_STEPS), postgresql_where=text(IDLE_STEPS)),
)

newest_decisions = Table(
    "newest_decisions",
    metadata,
    Column("model", Text, primary_key=True),
    Column("server", Text, primary_key=True),
    Column("decision_id", Text, nullable=False),
    Column("likeness", Text, nullable=False),
    Column("last_at", Double, nullable=False),
)
"""The newest decision of each unit, and what the next one is compared with."""

effects = Table(
    "effects",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

actions = Table(
    "actions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("issued_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("body", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Index(
        "ix_actions_open", "id", sqlite_where=text("finished_at IS NULL"), postgresql_where=text("finished_at IS NULL")
    ),
)
"""The journal. `finished_at` is empty while an action is under way; `epoch` is that of the leader that began it."""

outcomes = Table(
    "outcomes",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("action_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("action_id", "status", "finished_at"),
)

startups = Table(
    "startups",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("model", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("workload", Text, nullable=False),
    Column("knob", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("least_s", Double, nullable=False),
    UniqueConstraint("model", "server", "knob", "at"),
    Index(None, "model", "knob", "seq"),
)

policy_state = Table(
    "policy_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("body", Text, nullable=False),
    Column("unclosed", Text, nullable=False),
    Column("alerts", Text, nullable=False, server_default="{}"),
)
"""One row, id 1."""

kept_configs = Table(
    "kept_configs",
    metadata,
    Column("model", Text, primary_key=True),
    Column("server", Text, primary_key=True),
    Column("body", Text, nullable=False),
)
"""By which models serve whose versions a rollout set, as JSON; they go with its memory in the policy's state."""


mig_memory = Table(
    "mig_memory",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
"""One row, id 1, from the first change of MIG layouts on."""

lease = Table(
    "lease",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
)
"""One row, there from the start: which control plane leads. `expires_at` is unix seconds by the database's clock."""

overrides = Table(
    "overrides",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("body", Text, nullable=False),
    Index(None, "expires_at"),
)
"""Never deleted: `ended_at` is when one was ended or replaced before it expired. `model` is the subject: the name of a
model or of a workload, which differ. So it is in the freezes, where empty is all."""

freezes = Table(
    "freezes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("body", Text, nullable=False),
    Index(None, "expires_at"),
)

announcements = Table(
    "announcements",
    metadata,
    Column("id", Text, primary_key=True),
    Column("expires_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("body", Text, nullable=False),
    Index(None, "expires_at"),
)
"""Demand that people said would come. Never deleted, as overrides."""

wants = Table(
    "wants",
    metadata,
    Column("model", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
"""Append-only."""
