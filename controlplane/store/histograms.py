"""Histograms by the minute, hour and day: bucket vectors as they were read, and sketches of what we timed ourselves.

A row's counts stand as JSON text by bucket number, its edges (the same for thousands of rows) in a table of shapes.
Rows of the same time and shape add up bucket by bucket, which SQL cannot do, so that the coarser rows are read, added
to and written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection, Table, and_, bindparam, delete, select

from controlplane.domain.history import BUCKETS_S, BucketRow, SketchRow
from controlplane.domain.objectives import Indicator
from controlplane.store.engine import insert
from controlplane.store.levels import LEVELS_S, finest_kept, floor_to, spans_of_steps
from controlplane.store.slices import kept_from
from controlplane.store.tables import histogram_series, histogram_shapes, histograms

Row: TypeAlias = BucketRow | SketchRow


class Key(NamedTuple):
    """What names a row."""

    series_id: int
    level_s: int
    start: int
    shape_id: int


HISTOGRAM_LEVELS_S = tuple(level for level in LEVELS_S if level >= BUCKETS_S)
_FINEST_S = HISTOGRAM_LEVELS_S[0]
_SKETCH = "sketch"
"""The shape of sketches, whose buckets need no edges."""
Total: TypeAlias = tuple[Counter[int], int]
"""Counts by bucket, and errors."""


def add_histograms(connection: Connection, new: Sequence[Row]) -> None:
    """Write those that are not there yet, at every level. Raises ValueError for a start that is no whole minute."""
    odd = next((row for row in new if row.start % _FINEST_S), None)
    if odd is not None:
        raise ValueError(f"histogram of {odd.model} {odd.indicator}: start {odd.start} is no multiple of {_FINEST_S} s")
    oldest = kept_from(connection).get(_FINEST_S)
    wanted = [row for row in new if oldest is None or row.start >= oldest]
    if not wanted:
        return
    series = _ids(connection, histogram_series, {_series_key(row) for row in wanted})
    shapes = _ids(connection, histogram_shapes, {(_shape(row),) for row in wanted})
    finest: dict[Key, Row] = {}
    for row in wanted:
        finest.setdefault(Key(series[_series_key(row)], _FINEST_S, int(row.start), shapes[_shape(row),]), row)
    statement = insert(connection, histograms).on_conflict_do_nothing()
    inserted = connection.execute(
        statement.returning(*_KEY), [_columns(key, _counts(row), row.errors) for key, row in finest.items()]
    ).all()
    keys = [Key(*found) for found in inserted]
    _roll_up(connection, {key: (_counts(finest[key]), finest[key].errors) for key in keys})


def add_past_histograms(connection: Connection, new: Sequence[Row]) -> None:
    """Write rows of the past as far as their time is not there yet, as `slices.add_past_slices` does."""
    kept = kept_from(connection)
    series = _ids(connection, histogram_series, {_series_key(row) for row in new})
    shapes = _ids(connection, histogram_shapes, {(_shape(row),) for row in new})
    sums: dict[Key, Total] = {}
    for row in new:
        level = max(_FINEST_S, finest_kept(row.start, kept))
        key = Key(series[_series_key(row)], level, floor_to(row.start, level), shapes[_shape(row),])
        counts, errors = sums.get(key, (Counter(), 0))
        sums[key] = (counts + _counts(row), errors + row.errors)
    there = {
        place
        for place in {key[:3] for key in sums}
        if connection.execute(_THERE, dict(zip(_NAMES, place, strict=False))).first()
    }
    sums = {key: total for key, total in sums.items() if key[:3] not in there}
    if sums:
        rows = [_columns(key, counts, errors) for key, (counts, errors) in sums.items()]
        connection.execute(insert(connection, histograms), rows)
        _roll_up(connection, sums)


def _roll_up(connection: Connection, new: Mapping[Key, Total]) -> None:
    """Add rows that were just inserted to the levels coarser than their own."""
    sums: dict[Key, Total] = {}
    for (series, own, start, shape), (more, more_errors) in new.items():
        for level in HISTOGRAM_LEVELS_S:
            if level > own:
                key = Key(series, level, floor_to(start, level), shape)
                counts, errors = sums.get(key) or _kept(connection, key)
                sums[key] = (counts + more, errors + more_errors)
    if not sums:
        return
    statement = insert(connection, histograms)
    excluded = {"counts": statement.excluded.counts, "errors": statement.excluded.errors}
    connection.execute(
        statement.on_conflict_do_update(index_elements=_NAMES, set_=excluded),
        [_columns(key, counts, errors) for key, (counts, errors) in sums.items()],
    )


def sum_finer(connection: Connection, finer: int, level: int, first: int) -> None:
    """Write a level's rows that start at `first`, as the sums of the rows of a finer level from then on."""
    sums: dict[Key, Total] = {}
    query = select(*_KEY, histograms.c.counts, histograms.c.errors).where(
        histograms.c.series_id.in_(select(histogram_series.c.id)),
        histograms.c.level_s == finer,
        histograms.c.start >= first,
    )
    for row in connection.execute(query):
        key = Key(row.series_id, level, first, row.shape_id)
        counts, errors = sums.get(key, (Counter(), 0))
        sums[key] = (counts + _loaded(row.counts), errors + row.errors)
    if sums:
        rows = [_columns(key, counts, errors) for key, (counts, errors) in sums.items()]
        connection.execute(insert(connection, histograms), rows)


def read_histograms(
    connection: Connection, model: str, indicator: Indicator, gateway: str, since: float, until: float, *, step_s: int
) -> list[Row]:
    """The sums of whole steps of `step_s` seconds (a multiple of a minute) that hold any of [since, until), by shape.

    Oldest first; empty steps are left out.
    """
    sums: dict[tuple[int, str], Total] = {}
    for level, low, high in spans_of_steps(since, until, step_s, kept_from(connection)):
        bounds = {"model": model, "indicator": indicator.value, "gateway": gateway, "level": level}
        for start, shape, counts, errors in connection.execute(_READ, {**bounds, "low": low, "high": high}):
            key = (floor_to(start, step_s), shape)
            before, errors_before = sums.get(key, (Counter(), 0))
            sums[key] = (before + _loaded(counts), errors_before + errors)
    return [
        SketchRow(model, indicator, start, dict(counts), errors)
        if shape == _SKETCH
        else _bucket_row(BucketRow(model, indicator, gateway, start, tuple(json.loads(shape)), (), errors), counts)
        for (start, shape), (counts, errors) in sorted(sums.items())
    ]


def delete_histograms(connection: Connection, series_ids: Sequence[int], level: int, before: int) -> int:
    """Delete a level's rows of some series that start before `before`; gives how many."""
    doomed = delete(histograms).where(
        histograms.c.series_id == bindparam("id_"), histograms.c.level_s == level, histograms.c.start < before
    )
    return sum(connection.execute(doomed, {"id_": id_}).rowcount for id_ in series_ids)


def all_histogram_series(connection: Connection) -> list[int]:
    """The ids of all series of histograms."""
    return list(connection.execute(select(histogram_series.c.id).order_by(histogram_series.c.id)).scalars())


_KEY = (histograms.c.series_id, histograms.c.level_s, histograms.c.start, histograms.c.shape_id)
_NAMES = tuple(column.name for column in _KEY)
_THERE = select(histograms.c.shape_id).where(*(column == bindparam(column.name) for column in _KEY[:3]))
_READ = (
    select(histograms.c.start, histogram_shapes.c.body, histograms.c.counts, histograms.c.errors)
    .join(histogram_series, histogram_series.c.id == histograms.c.series_id)
    .join(histogram_shapes, histogram_shapes.c.id == histograms.c.shape_id)
    .where(
        histogram_series.c.model == bindparam("model"),
        histogram_series.c.indicator == bindparam("indicator"),
        histogram_series.c.gateway == bindparam("gateway"),
        histograms.c.level_s == bindparam("level"),
        histograms.c.start >= bindparam("low"),
        histograms.c.start < bindparam("high"),
    )
)


def _ids(connection: Connection, table: Table, keys: set[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """The ids of the rows that have these keys, made where they are new."""
    names = [column.name for column in table.columns if column.name != "id"]
    query = select(*(table.c[name] for name in names), table.c.id)
    known = {tuple(row[:-1]): row[-1] for row in connection.execute(query)}
    new = sorted(keys - known.keys())
    if new:
        rows = [dict(zip(names, key, strict=True)) for key in new]
        connection.execute(insert(connection, table).on_conflict_do_nothing(), rows)
        known = {tuple(row[:-1]): row[-1] for row in connection.execute(query)}
    return known


def _kept(connection: Connection, key: Key) -> Total:
    query = select(histograms.c.counts, histograms.c.errors).where(
        and_(*(column == value for column, value in zip(_KEY, key, strict=True)))
    )
    row = connection.execute(query).one_or_none()
    return (Counter(), 0) if row is None else (_loaded(row.counts), row.errors)


def _loaded(text: str) -> Counter[int]:
    return Counter({int(bucket): count for bucket, count in json.loads(text).items()})


def _bucket_row(empty: BucketRow, counts: Counter[int]) -> BucketRow:
    return replace(empty, counts=tuple(counts[bucket] for bucket in range(len(empty.edges) + 1)))


def _series_key(row: Row) -> tuple[str, str, str]:
    return (row.model, row.indicator.value, row.gateway if isinstance(row, BucketRow) else "")


def _shape(row: Row) -> str:
    return json.dumps(row.edges) if isinstance(row, BucketRow) else _SKETCH


def _counts(row: Row) -> Counter[int]:
    return Counter(dict(enumerate(row.counts)) if isinstance(row, BucketRow) else row.buckets)


def _columns(key: Key, counts: Counter[int], errors: int) -> dict[str, object]:
    text = json.dumps({bucket: count for bucket, count in sorted(counts.items()) if count}, separators=(",", ":"))
    return {**dict(zip(_NAMES, key, strict=True)), "counts": text, "errors": errors}
