"""Cumulative histograms of a page -> what was counted between two readings of it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from itertools import pairwise
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from controlplane.collect.exposition import Labels
from controlplane.collect.families import UPPER_EDGE
from controlplane.domain.errors import MalformedPageError

K = TypeVar("K", bound=Hashable)
Group: TypeAlias = frozenset[tuple[str, str]]
"""The labels of one histogram but for the bucket edge."""


class Buckets(NamedTuple):
    """One histogram: finite edges, ascending, and cumulative counts, one more than edges (the last: all)."""

    edges: tuple[float, ...]
    cumulative: tuple[float, ...]


class Counted(NamedTuple):
    """What was counted in (start, end]: per bucket, the last above all edges; `errors` are not in the counts."""

    start: float
    end: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    errors: int


def histograms(samples: Iterable[tuple[Labels, float]]) -> dict[Group, Buckets]:
    """The histograms of a family's `_bucket` samples. Raises MalformedPageError (no +Inf bucket, no number)."""
    found: dict[Group, dict[float, float]] = {}
    for labels, value in samples:
        edge = labels.get(UPPER_EDGE)
        try:
            bound = float(edge or "")
        except ValueError:
            raise MalformedPageError(f"a histogram bucket has the upper edge {edge!r}, which is no number") from None
        group = frozenset((name, text) for name, text in labels.items() if name != UPPER_EDGE)
        found.setdefault(group, {})[bound] = value
    return {group: _buckets(bounds) for group, bounds in found.items()}


def _buckets(bounds: Mapping[float, float]) -> Buckets:
    if math.inf not in bounds:
        raise MalformedPageError("a histogram has no +Inf bucket")
    edges = tuple(sorted(bounds))
    total = bounds[math.inf]
    if not all(math.isfinite(value) for value in bounds.values()):
        raise MalformedPageError("a histogram bucket counts no finite number")
    cumulative: list[float] = []
    for edge in edges:
        # Exporters do not write a histogram in one instant: neighbours may contradict each other by a few.
        cumulative.append(min(total, max(bounds[edge], cumulative[-1] if cumulative else 0.0)))
    return Buckets(edges[:-1], tuple(cumulative))


class HistogramLedger(Generic[K]):
    """Turns consecutive readings of a page of histograms into what was counted in between, by key (such as a model).

    A key that was there before and has no series now counts zero: its exporter began anew and nobody asked since, or
    took single series away while it lives, as gateways do with routes. `may_return`: a series that
    returns is counted on from where it left unless it fell; else from 0.
    """

    def __init__(self, *, may_return: bool = False) -> None:
        self._may_return = may_return
        self._base: tuple[float, Mapping[K, Mapping[Group, Buckets]]] | None = None
        self._left: dict[K, dict[Group, Buckets]] = {}
        self._keys: set[K] = set()
        self._missed_at: float | None = None

    def missed(self, at: float) -> None:
        """A reading was tried at `at` and failed."""
        if self._base is not None:
            self._missed_at = at

    def seen(
        self, at: float, page: Mapping[K, Mapping[Group, Buckets]], errors: frozenset[Group] = frozenset()
    ) -> dict[K, Counted]:
        """What was counted since the reading before, by key; empty at the first. `errors` are groups of bad events."""
        base, missed_at = self._base, self._missed_at
        if base is not None and at <= base[0]:
            return {}
        self._base, self._missed_at = (at, page), None
        self._keys |= page.keys()
        if base is None:
            return {}
        start, before = base
        if fallen := _fell(before, page):
            self._left = {}
        if fallen or _all_gone(before, page):
            # a reading that was told late may be of before the miss
            start = start if missed_at is None or missed_at >= at else missed_at
        then = {key: self._known(key, {} if fallen else before.get(key, {}), page.get(key, {})) for key in self._keys}
        return {key: _counted(start, at, then[key], page.get(key, {}), errors) for key in self._keys}

    def _known(self, key: K, before: Mapping[Group, Buckets], now: Mapping[Group, Buckets]) -> Mapping[Group, Buckets]:
        """The histograms that go on, as they were when they were there last."""
        known = {**self._left.get(key, {}), **before}
        if self._may_return:
            self._left[key] = {group: buckets for group, buckets in known.items() if group not in now}
        return {group: then for group, then in known.items() if group in now and not _anew(then, now[group])}


def _fell(before: Mapping[K, Mapping[Group, Buckets]], page: Mapping[K, Mapping[Group, Buckets]]) -> bool:
    """Whether a histogram has other edges or a bucket went down: its exporter began anew."""
    return any(
        group in page.get(key, {}) and _anew(buckets, page[key][group])
        for key, groups in before.items()
        for group, buckets in groups.items()
    )


def _all_gone(before: Mapping[K, Mapping[Group, Buckets]], page: Mapping[K, Mapping[Group, Buckets]]) -> bool:
    """Whether some are gone and none goes on that has counted anything: its exporter likely began anew."""
    there = [
        (group in page.get(key, {}), buckets.cumulative[-1])
        for key, groups in before.items()
        for group, buckets in groups.items()
    ]
    return not all(here for here, _ in there) and not any(here and count > 0 for here, count in there)


def _anew(before: Buckets, after: Buckets) -> bool:
    if before.edges != after.edges:
        return True
    return any(now < then for then, now in zip(before.cumulative, after.cumulative, strict=True))


def in_seconds(buckets: Buckets, unit_s: float) -> Buckets:
    """Edges to 12 digits, so that 100 us is 0.0001 s and not a neighbour of it."""
    return Buckets(tuple(float(f"{edge * unit_s:.12g}") for edge in buckets.edges), buckets.cumulative)


def _counted(
    start: float, end: float, before: Mapping[Group, Buckets], after: Mapping[Group, Buckets], errors: frozenset[Group]
) -> Counted:
    good = [group for group in after if group not in errors]
    # Cumulative counts hold at every common edge, whatever the other edges of each histogram are.
    edges = tuple(sorted(set.intersection(*(set(after[group].edges) for group in good)))) if good else ()
    sums = [0.0] * (len(edges) + 1)
    for group in good:
        now, then = after[group], before.get(group)
        at_edge = dict(zip(now.edges, range(len(now.edges)), strict=True))
        for i, place in enumerate([*(at_edge[edge] for edge in edges), -1]):
            sums[i] += now.cumulative[place] - (then.cumulative[place] if then else 0.0)
    bad = sum(
        after[group].cumulative[-1] - (before[group].cumulative[-1] if group in before else 0.0)
        for group in after.keys() & errors
    )
    # Each cumulative count only grows, but read at slightly different moments the differences may cross by a few.
    steady = [0.0]
    for value in sums:
        steady.append(min(sums[-1], max(steady[-1], value)))
    return Counted(start, end, edges, tuple(round(high) - round(low) for low, high in pairwise(steady)), round(bad))
