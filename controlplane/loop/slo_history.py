"""Where the counts of an objective come from: its slices, those of a whole fleet, or histograms judged again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from controlplane.domain.history import BUCKETS_S, BucketRow, SketchRow
from controlplane.domain.objectives import Counts, IndicatorSource, Objective
from controlplane.domain.ports import Store
from controlplane.slo.adjust import CountsOf
from controlplane.slo.again import events_of, indicator_kept
from controlplane.store.levels import DAY_S, HOUR_S, LEVELS_S, ceil_to, floor_to

_MOST_ROWS = 1500
"""Rows read for a series, at most: a day by the minute, two months by the hour."""


class History(Protocol):
    """The counts of one objective."""

    def counts(self, since: float, until: float) -> Counts:
        """The sum of what starts in [since, until)."""
        ...

    def steps(self, since: float, until: float, step_s: int) -> Sequence[tuple[float, Counts]]:
        """(start, sum) of the whole steps that hold any of [since, until), oldest first, empty ones left out."""
        ...


def step_length_s(window_s: float, points: int) -> int:
    """The length of steps that cut a window into about `points` at most, from the finest rows that are not too many."""
    level = next((level for level in LEVELS_S if window_s <= level * _MOST_ROWS), DAY_S)
    return level * max(1, math.ceil(window_s / level / points))


@dataclass(frozen=True, slots=True)
class Kept:
    """An objective's slices, as they were judged."""

    store: Store
    model: str
    objective: str

    def counts(self, since: float, until: float) -> Counts:
        """The sum of slices that start in [since, until)."""
        return self.store.counts(self.model, self.objective, since, until)

    def steps(self, since: float, until: float, step_s: int) -> Sequence[tuple[float, Counts]]:
        """Sums of whole steps."""
        return self.store.slices(self.model, self.objective, since, until, step_s)


@dataclass(frozen=True, slots=True)
class JudgedAgain:
    """The histograms behind `kept`, judged by `objective`: by the minute where minutes are kept, else by the hour.

    `gateways` are those whose histograms count, ("",) the servers' own. How long was measured `kept` tells.
    """

    store: Store
    model: str
    objective: Objective
    gateways: Sequence[str]
    kept: Kept

    def counts(self, since: float, until: float) -> Counts:
        """The sum of the minutes that hold any of [since, until)."""
        first, last = ceil_to(since, HOUR_S), floor_to(until, HOUR_S)
        spans = [(since, until, BUCKETS_S)]
        if first < last:
            spans = [(since, first, BUCKETS_S), (first, last, HOUR_S), (last, until, BUCKETS_S)]
        events = [
            counts
            for low, high, step_s in spans
            if low < high
            for counts in events_of(self._rows(low, high, step_s), self.objective).values()
        ]
        return _measured_as(sum(events, Counts()), self.kept.counts(since, until))

    def steps(self, since: float, until: float, step_s: int) -> Sequence[tuple[float, Counts]]:
        """Sums of whole steps, which are whole minutes."""
        events = events_of(self._rows(since, until, step_s), self.objective)
        measured = dict(self.kept.steps(since, until, step_s))
        return [
            (start, _measured_as(events.get(start, Counts()), measured.get(start, Counts())))
            for start in sorted(events.keys() | measured.keys())
        ]

    def _rows(self, since: float, until: float, step_s: float) -> list[BucketRow | SketchRow]:
        indicator = indicator_kept(self.objective)
        return [
            row
            for gateway in self.gateways
            for row in self.store.histograms(self.model, indicator, gateway, since, until, step_s)
        ]


def gateways_of(objective: Objective, gateways: Sequence[str]) -> tuple[str, ...]:
    """Where an objective's histograms were read: on gateways, all of them where it names none, or on the servers."""
    if objective.source is not IndicatorSource.GATEWAY:
        return ("",)
    return (objective.gateway,) if objective.gateway else tuple(gateways)


class FleetCounts:
    """The counts of every objective there is, read in one statement for each span that is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spans: dict[tuple[float, float], Mapping[tuple[str, str], Counts]] = {}

    def of(self, model: str, objective: str) -> CountsOf:
        """Those of one objective."""

        def counts_of(since: float, until: float) -> Counts:
            span = (since, until)
            if span not in self._spans:
                self._spans[span] = self._store.all_counts(since, until)
            return self._spans[span].get((model, objective), Counts())

        return counts_of


def _measured_as(events: Counts, measured: Counts) -> Counts:
    return replace(events, measured_s=measured.measured_s, expected_s=measured.expected_s)
