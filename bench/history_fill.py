"""Databases filled with history as it is after more than a year, or as far as a benchmark reads it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.store.engine import insert, make_engine, parse_url, writing
from controlplane.store.levels import DAY_S, FINEST_S, HOUR_S
from controlplane.store.tables import histogram_series, histogram_shapes, retention, series

WINDOW_S = 28 * DAY_S
OBJECTIVES = (
    Objective(Indicator.AVAILABILITY, 0.999, WINDOW_S, IndicatorSource.SERVER),
    Objective(Indicator.E2E, 0.95, WINDOW_S, IndicatorSource.SERVER, threshold_s=0.5),
)
_TIMES = """WITH RECURSIVE times(start) AS (
    SELECT CAST(:first AS BIGINT) UNION ALL SELECT start + :step FROM times WHERE start + :step < :last)"""
_FIGURES = "good, bad, unsure, measured_s, expected_s, bad_capacity"
_VALUES = "500, 2, 1, 9.9731 * :step / 10, :step * 1.0, 1"
_SLICES = text(
    f"{_TIMES} INSERT INTO slices (series_id, start, slo_version, {_FIGURES})"  # noqa: S608 - parts of our own
    f" SELECT series.id, times.start, '0123456789ab', {_VALUES} FROM times CROSS JOIN series"
)
_ROLLUPS = text(
    f"{_TIMES} INSERT INTO rollups (series_id, level_s, start, slo_version, {_FIGURES})"  # noqa: S608 - as above
    f" SELECT series.id, :step, times.start, '0123456789ab', {_VALUES} FROM times CROSS JOIN series"
)
_COUNTS = "{" + ",".join(f'"{bucket}":{40 + bucket * 7}' for bucket in range(17)) + "}"
_HISTOGRAMS = text(
    f"{_TIMES} INSERT INTO histograms (series_id, level_s, start, shape_id, counts, errors)"  # noqa: S608 - as above
    " SELECT histogram_series.id, :step, times.start, histogram_shapes.id, :counts, 2"
    " FROM times CROSS JOIN histogram_series CROSS JOIN histogram_shapes"
)

Span = tuple[int, int, int]
"""Rows of a level (first) that start in [second, third)."""


def fill(url: str, models: Sequence[str], objectives: Sequence[Objective], spans: Sequence[Span]) -> None:
    """Rows of these objectives, in the order of time as a loop would have written them."""
    engine = make_engine(parse_url(url), 60.0)
    with writing(engine) as connection:
        rows = [{"model": model, "objective": o.key} for model in models for o in objectives]
        connection.execute(insert(connection, series), rows)
        for level, first, last in spans:
            statement = _SLICES if level == FINEST_S else _ROLLUPS
            connection.execute(statement, {"first": first, "last": last, "step": level})
    _analyse(engine.connect(), url)
    engine.dispose()


def fill_histograms(url: str, models: Sequence[str], spans: Sequence[Span]) -> None:
    """Rows of a histogram of 16 edges for each model."""
    engine = make_engine(parse_url(url), 60.0)
    with writing(engine) as connection:
        rows = [{"model": model, "indicator": Indicator.E2E.value, "gateway": ""} for model in models]
        connection.execute(insert(connection, histogram_series), rows)
        connection.execute(insert(connection, histogram_shapes), [{"body": "[0.1]"}])
        for level, first, last in spans:
            connection.execute(_HISTOGRAMS, {"first": first, "last": last, "step": level, "counts": _COUNTS})
    engine.dispose()


def keep_from(url: str, kept_from: dict[int, int]) -> None:
    """As if retention had cut the levels there."""
    engine = make_engine(parse_url(url), 60.0)
    with writing(engine) as connection:
        rows = [{"level_s": level, "kept_from": start} for level, start in kept_from.items()]
        connection.execute(insert(connection, retention), rows)
    engine.dispose()


def steady(now: int) -> tuple[Span, ...]:
    """All rows of a series that is more than 400 days old."""
    return (
        (DAY_S, now - 400 * DAY_S, now),
        (HOUR_S, now - 400 * DAY_S, now),
        (60, now - 14 * DAY_S, now),
        (FINEST_S, now - 2 * DAY_S, now),
    )


def _analyse(connection: Connection, url: str) -> None:
    """PostgreSQL does so by itself after a while."""
    with connection:
        if url.startswith("postgresql"):
            connection.execute(text("ANALYZE"))
            connection.commit()
