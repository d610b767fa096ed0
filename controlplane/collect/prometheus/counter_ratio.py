"""Two selectors of counters of a Prometheus -> the events between two readings, good and bad."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.collect.exposition import Labels
from controlplane.collect.prometheus.answer import MARK, NAME, marked, target_of
from controlplane.domain.errors import MalformedPageError, NotToldError
from controlplane.domain.objectives import CounterRatio, Selector

Key: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""A series: what it counts, and its labels."""
_ALL, _PART, _AT = "all", "part", "at"
_GONE_S = 300.0
"""A target may be away this long, and its counters be the same ones: a Prometheus looks back as far."""


@dataclass(frozen=True, slots=True)
class Counters:
    """All series of both selectors, and when the newest was scraped by Prometheus' clock."""

    at: float
    values: Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Events:
    """What was counted in (start, end]; `beyond` of the part were more than all, and are in neither."""

    start: float
    end: float
    part: int
    others: int
    beyond: int


def counters_query(ratio: CounterRatio) -> str:
    """PromQL for both selectors' series with the moments of their scrapes: one query sees one state of the database."""
    asked = [(mark, selector.promql) for mark, selector in selectors(ratio)]
    asked.append((_AT, f"timestamp({ratio.total.promql})"))
    return " or ".join(marked(promql, mark) for mark, promql in asked)


def selectors(ratio: CounterRatio) -> tuple[tuple[str, Selector], ...]:
    """Its selectors, and what marks their series."""
    return (_ALL, ratio.total), (_PART, _part(ratio))


def newest(current: Mapping[Key, tuple[float, float, Labels]]) -> list[tuple[Labels, float]]:
    """As the query would be answered: from series as (scraped at, value, labels) each, by mark and labels."""
    samples: list[tuple[Labels, float]] = [
        ({**labels, MARK: mark}, value) for (mark, _), (_, value, labels) in current.items()
    ]
    return samples + [({MARK: _AT}, at) for (mark, _), (at, _, _) in current.items() if mark == _ALL]


def read_counters(ratio: CounterRatio, samples: Iterable[tuple[Labels, float]]) -> Counters:
    """The answer to the query. Raises NotToldError where nothing may be concluded, MalformedPageError.

    No series of the part is zero of them only where the part is one of the series of `total` by labels that those have:
    a misspelt name or label finds nothing either, and is not to pass for perfect.
    """
    values: dict[Key, float] = {}
    scraped: list[float] = []
    for labels, value in samples:
        mark = labels.get(MARK, "")
        if mark == _AT:
            scraped.append(value)
            continue
        if not math.isfinite(value) or value < 0:
            raise MalformedPageError(f"{labels.get(NAME)} counts no number of events: {value:g}")
        values[mark, frozenset((name, text) for name, text in labels.items() if name not in {MARK, NAME})] = value
    if not scraped:
        raise NotToldError(f"no series {ratio.total.promql}")
    if not any(mark == _PART for mark, _ in values):
        _check_none(_part(ratio), ratio.total, {name for _, labels in values for name, _ in labels})
    return Counters(max(scraped), values)


def _part(ratio: CounterRatio) -> Selector:
    part = ratio.good or ratio.bad
    if part is None:
        raise ValueError(f"ratio {ratio.name} has neither good nor bad events")
    return part


def _check_none(part: Selector, total: Selector, labels: set[str]) -> None:
    if part.metric != total.metric:
        raise NotToldError(f"no series {part.promql}")
    if unknown := [label for label in part.labels if label not in labels]:
        raise NotToldError(f"no series {part.promql}, and none of {total.promql} has a label {unknown[0]}")


class CounterEvents:
    """Turns consecutive readings into events. Each series is differenced on its own, as each begins anew on its own.

    A new series counts from zero, as targets show a series with its first event; but that of a new target from where it
    is: nobody knows since when it counts. One that went while others of its target stayed has begun anew when it is
    back; one that went with its target goes on, unless that is away for long.
    """

    def __init__(self) -> None:
        self._at: float | None = None
        self._missed_at: float | None = None
        self._values: dict[Key, float] = {}
        self._seen_at: dict[Key, float] = {}
        self._sums = {_ALL: 0.0, _PART: 0.0}

    def missed(self, at: float) -> None:
        """A reading was tried at `at` and failed."""
        self._missed_at = at

    def seen(self, at: float, values: Mapping[Key, float]) -> Events | None:
        """The events since the reading before; None at the first, and where nothing is newer."""
        base_at, missed_at = self._at, self._missed_at
        if base_at is not None and at <= base_at:
            return None
        anew, before = False, {mark: round(total) for mark, total in self._sums.items()}
        targets = {_target(key) for key in self._values}
        for key, value in values.items():
            then = self._values.get(key, 0.0 if _target(key) in targets else value)
            anew |= value < then
            self._sums[key[0]] += value - (then if value >= then else 0.0)
        self._keep(at, values)
        self._at, self._missed_at = at, None
        if base_at is None:
            return None
        every, part = (round(self._sums[mark]) - before[mark] for mark in (_ALL, _PART))
        start = missed_at if anew and missed_at is not None and base_at < missed_at < at else base_at
        return Events(start, at, min(part, every), every - min(part, every), max(0, part - every))

    def _keep(self, at: float, values: Mapping[Key, float]) -> None:
        there = {_target(key) for key in values}
        for key in [key for key in self._values if key not in values]:
            if _target(key) in there or self._seen_at[key] < at - _GONE_S:
                del self._values[key], self._seen_at[key]
        self._values.update(values)
        self._seen_at.update(dict.fromkeys(values, at))


def _target(key: Key) -> str:
    return target_of(dict(key[1]))


class Beyond:
    """Warns of good (or bad) events that are more than all, for a while after each time."""

    def __init__(self, ratio: CounterRatio, keep_s: float) -> None:
        self._ratio = ratio
        self._keep_s = keep_s
        self._found: deque[tuple[float, int]] = deque()

    def seen(self, events: Events) -> None:
        """Take note."""
        if events.beyond:
            self._found.append((events.end, events.beyond))

    def warning(self, now: float) -> str:
        """What is wrong, in words; empty: nothing."""
        while self._found and self._found[0][0] < now - self._keep_s:
            self._found.popleft()
        if not self._found:
            return ""
        count, what = sum(n for _, n in self._found), "good" if self._ratio.good else "bad"
        part, every = _part(self._ratio).promql, self._ratio.total.promql
        more = f"{count} more {what} events than events within {self._keep_s:g} s, left out"
        return f"{more}: does {part} select a part of {every}?"
