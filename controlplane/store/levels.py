"""Which rows hold a window of time: the levels of aggregation, how long each is kept, and how to cover a window."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain.objectives import SLICE_S

HOUR_S = 3600
DAY_S = 24 * HOUR_S

FINEST_S = int(SLICE_S)
LEVELS_S = (FINEST_S, 60, HOUR_S, DAY_S)
"""Lengths of a row in seconds, finest first. Each divides the next."""

ROLLUP_LEVELS_S = LEVELS_S[1:]

KEEP_S: Mapping[int, int] = {FINEST_S: 2 * DAY_S, 60: 14 * DAY_S, HOUR_S: 400 * DAY_S}
"""How long a level is kept, in seconds. The coarsest is kept for ever."""

KEEP_IDLE_S = 14 * DAY_S
"""How long decisions that changed nothing are kept, in seconds. Those that changed something are kept for ever."""

KEEP_RECEIVED_S = KEEP_S[HOUR_S]
"""How long alerts that Alertmanagers sent back are kept, in seconds, since they were heard of last."""

Span = tuple[int, int, int]
"""Rows of one level (first item) that start in [second, third)."""


def floor_to(at: float, step_s: int) -> int:
    """The newest multiple of `step_s` not after `at`. Exact: float floor division is."""
    return int(at // step_s) * step_s


def ceil_to(at: float, step_s: int) -> int:
    """The oldest multiple of `step_s` not before `at`."""
    return -floor_to(-at, step_s)


def cutoff(level_s: int, now: float) -> int:
    """Rows of a level that start before this may go.

    It is a boundary of the next level, so that a coarser row is either wholly there in finer rows or not at all.
    """
    coarser = LEVELS_S[LEVELS_S.index(level_s) + 1]
    return floor_to(now - KEEP_S[level_s], coarser)


def finest_kept(at: float, kept_from: Mapping[int, int]) -> int:
    """The finest level that reaches back to a moment; `kept_from` as in `cover`."""
    return next(level for level in LEVELS_S if level == DAY_S or kept_from.get(level, at) <= at)


def cover(since: float, until: float, kept_from: Mapping[int, int]) -> list[Span]:
    """The fewest rows that add up to the slices starting in [since, until): coarse inside, finer at the edges.

    `kept_from` says from when on a level is still there (absent: from the beginning). Before that an edge is as exact
    as the finest level still kept: its rows that start in the window count. At most two spans a level, one of the
    coarsest.
    """
    spans: list[Span] = []
    regions = [(_edge(since, kept_from), _edge(until, kept_from))]
    for level in reversed(LEVELS_S):
        rest: list[tuple[int, int]] = []
        for low, high in regions:
            first, last = ceil_to(low, level), floor_to(high, level)
            if first < last:
                spans.append((level, first, last))
                rest += [(low, first), (last, high)]
            else:
                rest.append((low, high))
        regions = [(low, high) for low, high in rest if low < high]
    return spans


def spans_of_steps(since: float, until: float, step_s: int, kept_from: Mapping[int, int]) -> list[Span]:
    """Rows for all steps of `step_s` seconds that hold any of [since, until), at most one span a level.

    Of the levels that divide a step the coarsest is read; before it was kept, the next coarser one. A row longer than a
    step belongs to the one that it starts in, so that steps add up to what `cover` gives and none counts twice.
    """
    level = max((level for level in LEVELS_S if step_s % level == 0), default=FINEST_S)
    low, high = floor_to(since, step_s), ceil_to(until, step_s)
    spans: list[Span] = []
    for candidate in LEVELS_S[LEVELS_S.index(level) :]:
        first = max(low, kept_from.get(candidate, low))
        if first < high:
            spans.append((candidate, first, high))
            high = first
    return spans


def _edge(at: float, kept_from: Mapping[int, int]) -> int:
    """The first row boundary at or after `at`, of the finest level kept there."""
    return ceil_to(at, finest_kept(at, kept_from))
