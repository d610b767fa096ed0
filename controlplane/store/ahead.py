"""History that is dated ahead of now, by a clock that was set forward: how much there is, and how it is let go of.

What is really measured at those times later would find its rows there already, and be left out.
"""

from __future__ import annotations

from itertools import pairwise

from sqlalchemy import ColumnElement, Connection, Table, delete, func, literal, select, update

from controlplane.domain.history import Ahead
from controlplane.store.engine import insert
from controlplane.store.histograms import HISTOGRAM_LEVELS_S, sum_finer
from controlplane.store.levels import FINEST_S, LEVELS_S, ceil_to, floor_to
from controlplane.store.slices import FIGURES, kept_from, table_of
from controlplane.store.tables import histogram_series, histograms, retention, rollups, series


def history_ahead(connection: Connection, now: float) -> Ahead | None:
    """The slices that start more than a slice after `now`; None: there are none."""
    for level in LEVELS_S:
        table, first = table_of(level), ceil_to(_bound(now), level)
        query = select(func.count(), func.max(table.c.start)).where(*_from(table, level, first))
        rows, newest = connection.execute(query).one()
        if rows:
            return Ahead(rows, float(newest + level))
    return None


def drop_ahead(connection: Connection, now: float) -> None:
    """Delete them at every level, and the minutes of histograms that are not over; coarser rows are summed anew.

    What such a clock pruned is gone; from now on finer rows count as kept from the next whole coarser one on.
    """
    bound, kept = _bound(now), kept_from(connection)
    connection.execute(delete(table_of(FINEST_S)).where(*_from(table_of(FINEST_S), FINEST_S, bound)))
    for finer, level in pairwise(LEVELS_S):
        first = _cut(rollups, connection, finer, level, bound)
        if first is not None:
            _sum_finer(connection, finer, level, first)
        if kept.get(finer, 0) > ceil_to(bound, level):
            row = update(retention).where(retention.c.level_s == finer)
            connection.execute(row.values(kept_from=ceil_to(bound, level)))
    minute = HISTOGRAM_LEVELS_S[0]
    connection.execute(delete(histograms).where(*_from(histograms, minute, floor_to(now, minute))))
    for finer, level in pairwise(HISTOGRAM_LEVELS_S):
        first = _cut(histograms, connection, finer, level, floor_to(now, minute))
        if first is not None:
            sum_finer(connection, finer, level, first)


def _bound(now: float) -> int:
    """Slices that start then or later are ahead."""
    return floor_to(now + FINEST_S, FINEST_S) + FINEST_S


def _from(table: Table, level: int, first: int) -> list[ColumnElement[bool]]:
    """Rows of a level from `first` on. All series are asked for by id: SQLite finds no rows by their start alone."""
    ids = select((histogram_series if table is histograms else series).c.id)
    own = [table.c.series_id.in_(ids), table.c.start >= first]
    return own if level == FINEST_S else [*own, table.c.level_s == level]


def _cut(table: Table, connection: Connection, finer: int, level: int, bound: int) -> int | None:
    """Delete a level's rows from the one that holds `bound` on; gives where that one starts, to be summed anew.

    None where finer rows do not reach back so far: the row then stays, as none of theirs is in it.
    """
    first = floor_to(bound, level)
    whole = first == bound
    if kept_from(connection).get(finer, first) > first and not whole:
        first, whole = first + level, True
    connection.execute(delete(table).where(*_from(table, level, first)))
    return None if whole else first


def _sum_finer(connection: Connection, finer: int, level: int, first: int) -> None:
    """Write a level's rows that start at `first`, as the sums of the finer ones from then on."""
    table = table_of(finer)
    columns = {"series_id": table.c.series_id, "level_s": literal(level), "start": literal(first)}
    columns |= {"slo_version": table.c.slo_version}
    sums = {name: func.sum(table.c[name]) for name in FIGURES}
    query = select(*columns.values(), *sums.values()).where(*_from(table, finer, first))
    query = query.group_by(table.c.series_id, table.c.slo_version)
    connection.execute(insert(connection, rollups).from_select([*columns, *sums], query))
