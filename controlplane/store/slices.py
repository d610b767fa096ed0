"""Slices of time: written once at every level, read as sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    Table,
    bindparam,
    delete,
    func,
    select,
    union_all,
)

from controlplane.domain.objectives import Counts, Slice
from controlplane.store.engine import insert
from controlplane.store.levels import (
    DAY_S,
    FINEST_S,
    LEVELS_S,
    ROLLUP_LEVELS_S,
    cover,
    finest_kept,
    floor_to,
    spans_of_steps,
)
from controlplane.store.tables import retention, rollups, series, slices

Key = tuple[str, str]
"""Model and objective."""

Row = tuple[int, int, int, str]
"""Series, level, start, version."""

FIGURES = ("good", "bad", "unsure", "measured_s", "expected_s", "bad_capacity")


def add_slices(connection: Connection, new: Sequence[Slice]) -> None:
    """Write those that are not there yet, at every level.

    Older ones than the finest level reaches back are left alone: nobody could tell whether they were counted already.
    Raises ValueError for a start that is no multiple of the slice length.
    """
    odd = next((s for s in new if s.start % FINEST_S), None)
    if odd is not None:
        raise ValueError(f"slice of {odd.model} {odd.objective}: start {odd.start} is no multiple of {FINEST_S} s")
    oldest = kept_from(connection).get(FINEST_S)
    wanted = [s for s in new if oldest is None or s.start >= oldest]
    if not wanted:
        return
    ids = _series_ids(connection, {(s.model, s.objective) for s in wanted})
    by_key: dict[tuple[int, int], Slice] = {}
    for s in wanted:
        by_key.setdefault((ids[s.model, s.objective], int(s.start)), s)
    statement = insert(connection, slices).on_conflict_do_nothing().returning(slices.c.series_id, slices.c.start)
    rows = [
        {"series_id": id_, "start": start, "slo_version": s.slo_version, **_figures(_counts_of(s))}
        for (id_, start), s in by_key.items()
    ]
    inserted = connection.execute(statement, rows).all()
    found = (((id_, FINEST_S, start, by_key[id_, start].slo_version), by_key[id_, start]) for id_, start in inserted)
    _roll_up(connection, {row: _counts_of(s) for row, s in found})


def add_past_slices(connection: Connection, new: Sequence[Slice]) -> int:
    """Write slices of the past as far as their time is not there yet; gives how many were new.

    Each goes in at the finest level that reaches back to it and at the coarser ones. A row of that level which is there
    already stays as it is, so that `new` must hold all slices of a row or none: give whole hours, of the time for which
    hours are kept.
    """
    kept = kept_from(connection)
    ids = _series_ids(connection, {(s.model, s.objective) for s in new})
    sums: dict[Row, Counts] = {}
    of: dict[Row, int] = {}
    for s in new:
        level = finest_kept(s.start, kept)
        row = (ids[s.model, s.objective], level, floor_to(s.start, level), s.slo_version)
        sums[row] = sums.get(row, Counts()) + _counts_of(s)
        of[row] = of.get(row, 0) + 1
    there = {place for level in {row[1] for row in sums} for place in _there(connection, level, sums)}
    sums = {row: counts for row, counts in sums.items() if row[:3] not in there}
    finest = [_columns(row, counts) for row, counts in sums.items() if row[1] == FINEST_S]
    if finest:
        connection.execute(insert(connection, slices), finest)
    coarser = [{**_columns(row, counts), "level_s": row[1]} for row, counts in sums.items() if row[1] != FINEST_S]
    if coarser:
        connection.execute(insert(connection, rollups), coarser)
    _roll_up(connection, sums)
    return sum(of[row] for row in sums)


def _there(connection: Connection, level: int, rows: Iterable[Row]) -> set[tuple[int, int, int]]:
    """(series, level, start) of the rows of a level that are there between the first and the last of these."""
    wanted = [row for row in rows if row[1] == level]
    table, starts = table_of(level), [row[2] for row in wanted]
    query = select(table.c.series_id, table.c.start).where(
        table.c.series_id == bindparam("id_"), table.c.start >= min(starts), table.c.start <= max(starts)
    )
    if table is rollups:
        query = query.where(rollups.c.level_s == level)
    ids = {row[0] for row in wanted}
    return {(id_, level, start) for id_ in ids for _, start in connection.execute(query, {"id_": id_})}


def _columns(row: Row, counts: Counts) -> dict[str, object]:
    return {"series_id": row[0], "start": row[2], "slo_version": row[3], **_figures(counts)}


def _roll_up(connection: Connection, new: Mapping[Row, Counts]) -> None:
    """Add rows that were just inserted to the levels coarser than their own."""
    sums: dict[Row, Counts] = {}
    for (id_, own, start, version), counts in new.items():
        for level in ROLLUP_LEVELS_S:
            if level > own:
                key = (id_, level, floor_to(start, level), version)
                sums[key] = sums.get(key, Counts()) + counts
    if not sums:
        return
    statement = insert(connection, rollups)
    statement = statement.on_conflict_do_update(
        index_elements=["series_id", "level_s", "start", "slo_version"],
        set_={name: rollups.c[name] + statement.excluded[name] for name in FIGURES},
    )
    connection.execute(statement, [{**_columns(row, counts), "level_s": row[1]} for row, counts in sums.items()])


def _series_ids(connection: Connection, keys: Iterable[Key]) -> dict[Key, int]:
    """The ids of series, made where they are new."""
    query = select(series.c.model, series.c.objective, series.c.id)
    known = {(model, objective): id_ for model, objective, id_ in connection.execute(query)}
    new = sorted(set(keys) - set(known))
    if new:
        rows = [{"model": model, "objective": objective} for model, objective in new]
        connection.execute(insert(connection, series).on_conflict_do_nothing(), rows)
        known = {(model, objective): id_ for model, objective, id_ in connection.execute(query)}
    return known


def kept_from(connection: Connection) -> dict[int, int]:
    """From when on each level is still there; a level that was never cut is absent."""
    rows = connection.execute(select(retention.c.level_s, retention.c.kept_from))
    return {row.level_s: row.kept_from for row in rows}


def sum_counts(connection: Connection, model: str, objective: str, since: float, until: float) -> Counts:
    """The sum of slices that start in [since, until); see `levels.cover` for windows older than fine levels reach."""
    bounds: dict[str, object] = {"model": model, "objective": objective, **_NO_BOUNDS}
    parts = {level: list(names) for level, names in _PARTS.items()}
    for level, low, high in cover(since, until, kept_from(connection)):
        name = parts[level].pop()
        bounds |= {f"low{name}": low, f"high{name}": high}
    return _counts(connection.execute(_SUM, bounds).one())


def sum_all_counts(connection: Connection, since: float, until: float) -> dict[Key, Counts]:
    """`sum_counts` of every series that has rows in the window, in one statement."""
    bounds: dict[str, object] = {}
    parts = {level: list(names) for level, names in _PARTS.items()}
    used: list[tuple[int, str]] = []
    for level, low, high in cover(since, until, kept_from(connection)):
        name = parts[level].pop()
        used.append((level, name))
        bounds |= {f"low{name}": low, f"high{name}": high} | ({} if level == FINEST_S else {f"level{name}": level})
    if not used:
        return {}
    rows = connection.execute(_sum_all_statement(tuple(used)), bounds)
    return {(row.model, row.objective): _counts(row) for row in rows}


def sum_steps(
    connection: Connection, model: str, objective: str, since: float, until: float, *, step_s: int
) -> list[tuple[float, Counts]]:
    """(start, sum) of the whole steps that hold any of [since, until), oldest first, empty ones left out.

    Steps start at multiples of `step_s`, so that a chart does not change shape as its window moves.
    """
    sums: dict[int, Counts] = {}
    for level, low, high in spans_of_steps(since, until, step_s, kept_from(connection)):
        table = table_of(level)
        query = _rows(table, "").with_only_columns(table.c.start, *(table.c[name] for name in FIGURES))
        bounds = {"model": model, "objective": objective, "level": level, "low": low, "high": high}
        for row in connection.execute(query, bounds):
            start = floor_to(row.start, step_s)
            sums[start] = sums.get(start, Counts()) + _counts(row)
    return [(float(start), sums[start]) for start in sorted(sums)]


def cut_level(connection: Connection, level: int, before: int) -> bool:
    """From now on, read coarser levels for what starts before `before`; False when it was so already."""
    if kept_from(connection).get(level, before - 1) >= before:
        return False
    statement = insert(connection, retention).values(level_s=level, kept_from=before)
    connection.execute(statement.on_conflict_do_update(index_elements=["level_s"], set_={"kept_from": before}))
    return True


def delete_rows(connection: Connection, series_ids: Sequence[int], level: int, before: int) -> int:
    """Delete a level's rows of some series that start before `before`; gives how many."""
    table = table_of(level)
    doomed = delete(table).where(table.c.series_id == bindparam("id_"), table.c.start < before)
    if table is rollups:
        doomed = doomed.where(rollups.c.level_s == level)
    return sum(connection.execute(doomed, {"id_": id_}).rowcount for id_ in series_ids)


def all_series(connection: Connection) -> list[int]:
    """The ids of all series."""
    return list(connection.execute(select(series.c.id).order_by(series.c.id)).scalars())


def _counts_of(s: Slice) -> Counts:
    return Counts(s.good, s.bad, s.unsure, s.measured_s, s.expected_s, s.bad_capacity)


def _figures(counts: Counts) -> dict[str, float]:
    return {name: getattr(counts, name) for name in FIGURES}


def _counts(row: object) -> Counts:
    good, bad, unsure, measured_s, expected_s, bad_capacity = (getattr(row, name) for name in FIGURES)
    return Counts(int(good), int(bad), int(unsure), float(measured_s), float(expected_s), int(bad_capacity))


def table_of(level: int) -> Table:
    """Where the rows of a level are."""
    return slices if level == FINEST_S else rollups


def _series_id() -> ScalarSelect[int]:
    return (
        select(series.c.id)
        .where(series.c.model == bindparam("model"), series.c.objective == bindparam("objective"))
        .scalar_subquery()
    )


def _rows(table: Table, name: str) -> Select[tuple[object, ...]]:
    """Rows of one series in [low, high), with parameters named after `name`."""
    return select(table).where(table.c.series_id == _series_id(), *_span(table, name))


def _span(table: Table, name: str) -> list[ColumnElement[bool]]:
    bounds = [table.c.start >= bindparam(f"low{name}"), table.c.start < bindparam(f"high{name}")]
    return bounds if table is slices else [*bounds, rollups.c.level_s == bindparam(f"level{name}")]


# One statement for every window, so that it is compiled once: a part for each span that `cover` can give. Parts that a
# window has no use for get an empty range.
_PARTS = {level: (f"_{level}",) if level == DAY_S else (f"_{level}_left", f"_{level}_right") for level in LEVELS_S}
_NO_BOUNDS = {
    f"{bound}{name}": level if bound == "level" else 0
    for level, names in _PARTS.items()
    for name in names
    for bound in ("low", "high", "level")
    if bound != "level" or level != FINEST_S
}


def _sum_statement() -> Select[tuple[object, ...]]:
    parts = union_all(
        *(
            _rows(table_of(level), name).with_only_columns(
                *(func.sum(table_of(level).c[figure]).label(figure) for figure in FIGURES)
            )
            for level, names in _PARTS.items()
            for name in names
        )
    ).subquery()
    return select(*(func.coalesce(func.sum(parts.c[figure]), 0).label(figure) for figure in FIGURES))


@cache
def _sum_all_statement(used: tuple[tuple[int, str], ...]) -> Select[tuple[object, ...]]:
    """Sums of these parts by series. There are a few sets of parts only, so that each is compiled once."""
    parts = union_all(*(_part(table_of(level), name) for level, name in used)).subquery()
    return (
        select(series.c.model, series.c.objective, *(func.sum(parts.c[figure]).label(figure) for figure in FIGURES))
        .join_from(parts, series, series.c.id == parts.c.series_id)
        .group_by(series.c.id, series.c.model, series.c.objective)
    )


def _part(table: Table, name: str) -> Select[tuple[object, ...]]:
    # all of them are asked for by id: in SQLite no index finds rows by their start alone
    own = table.c.series_id.in_(select(series.c.id))
    sums = (func.sum(table.c[figure]).label(figure) for figure in FIGURES)
    return select(table.c.series_id, *sums).where(own, *_span(table, name)).group_by(table.c.series_id)


_SUM = _sum_statement()
