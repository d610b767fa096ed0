"""What every policy is given and gives, and what several of them read from signals."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Protocol

import numpy as np

from controlplane.sim.signals import Counts, ReplicaSignals, Signals

KEPT_S = 600.0
"""History that is kept: no policy looks back further."""


class Policy(Protocol):
    """A way to scale one pool. It keeps what it has to remember; one object serves one run."""

    interval_s: float
    """Seconds from one decision to the next."""

    def decide(self, history: History) -> int:
        """Replicas wanted now, before bounds, counting those that start and not those that drain."""
        ...


class History:
    """Signals of the last KEPT_S seconds, those of now the last."""

    def __init__(self) -> None:
        self._read: deque[Signals] = deque()

    def add(self, signals: Signals) -> None:
        """Take in the newest signals."""
        self._read.append(signals)
        while self._read[0].at_s < signals.at_s - KEPT_S:
            self._read.popleft()

    @property
    def now(self) -> Signals:
        """The newest signals."""
        return self._read[-1]

    def within(self, window_s: float) -> list[Signals]:
        """Signals not older than the window before the newest ones, oldest first."""
        since_s = self.now.at_s - window_s
        found: list[Signals] = []
        for signals in reversed(self._read):
            if signals.at_s < since_s:
                break
            found.append(signals)
        return found[::-1]

    def mean(self, window_s: float, of: Callable[[Signals], float]) -> float:
        """Mean of a value over the window; a value that is nan is left out, nan where nothing is left."""
        values = [value for value in map(of, self.within(window_s)) if not math.isnan(value)]
        return sum(values) / len(values) if values else math.nan

    def arrivals_per_s(self, window_s: float) -> float:
        """Rate at the gateway over the window; nan before there are two readings."""
        read = self.within(window_s)
        span_s = read[-1].at_s - read[0].at_s
        return (read[-1].arrived - read[0].arrived) / span_s if span_s > 0 else math.nan

    def increase(self, window_s: float, of: Callable[[ReplicaSignals], float]) -> float:
        """What a counter rose by over the window, summed over replicas.

        As Prometheus' increase sums it: a replica that came in between counts from its first reading's 0, what one
        did after its last reading is lost.
        """
        return sum(
            of(replica) - (of(before[replica.id]) if replica.id in before else 0.0)
            for replica, before in self._steps(window_s)
        )

    def counts(self, window_s: float, of: Callable[[ReplicaSignals], Counts | None]) -> Counts | None:
        """What a histogram rose by over the window, summed over replicas; None where nothing was read."""
        total: Counts | None = None
        for replica, before in self._steps(window_s):
            counts = of(replica)
            if counts is not None:
                earlier = of(before[replica.id]) if replica.id in before else None
                rise = counts - earlier if earlier is not None else counts
                total = rise if total is None else total + rise
        return total

    def _steps(self, window_s: float) -> Iterator[tuple[ReplicaSignals, dict[int, ReplicaSignals]]]:
        for old, new in pairwise(self.within(window_s)):
            before = {replica.id: replica for replica in old.replicas}
            for replica in new.replicas:
                yield replica, before


def quantile(counts: Counts | None, edges: tuple[float, ...], q: float) -> float:
    """Quantile of a histogram by linear interpolation in its bucket, as PromQL's histogram_quantile; nan when empty.

    What lies above the last edge is told as the last edge.
    """
    if counts is None or counts.sum() <= 0:
        return math.nan
    below = np.cumsum(counts)
    rank = q * below[-1]
    bucket = int(np.searchsorted(below, rank))
    if bucket >= len(edges):
        return edges[-1]
    start = edges[bucket - 1] if bucket else 0.0
    inside = rank - (below[bucket - 1] if bucket else 0)
    return float(start + (edges[bucket] - start) * inside / counts[bucket])


def ready(signals: Signals) -> tuple[ReplicaSignals, ...]:
    """Replicas that take traffic."""
    return tuple(replica for replica in signals.replicas if replica.phase == "ready")


def starting(signals: Signals) -> tuple[ReplicaSignals, ...]:
    """Replicas that are paid for and do not take traffic yet."""
    return tuple(replica for replica in signals.replicas if replica.phase == "starting")


def current(signals: Signals) -> int:
    """Replicas that were asked for: ready and starting, not draining."""
    return len(ready(signals)) + len(starting(signals))


def in_flight(replicas: Iterable[ReplicaSignals]) -> int:
    """Requests that replicas hold, executing or waiting."""
    return sum(replica.running + replica.waiting for replica in replicas)
