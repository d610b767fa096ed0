"""What every policy is given and gives, and what several of them read from signals."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from controlplane.sim.signals import Counts, Gateway, Missing, Reading, Replica, ReplicaSignals, UnreadReplica

KEPT_S = 600.0
"""History that is kept: no policy looks back further."""
_TOKENS_S = 300.0


class Policy(Protocol):
    """A way to scale one pool. It keeps what it has to remember; one object serves one run."""

    interval_s: float
    """Seconds from one decision to the next."""

    def decide(self, history: History) -> int:
        """Replicas wanted now, before bounds, counting those that start and not those that drain."""
        ...


@runtime_checkable
class Restartable(Protocol):
    """A policy that keeps something over a restart of what runs it. Any other is made anew, without its memory."""

    def restart(self) -> Self:
        """The policy as it comes up again."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A policy that has threads or files to let go of."""

    def close(self) -> None:
        """Let go of them; it decides no more."""
        ...


@runtime_checkable
class Learning(Protocol):
    """A policy that learns from the load before what is run."""

    def warm(self, before: NDArray[np.float64]) -> None:
        """Take in rows of (end of a minute in seconds, mean requests per second in it), by time."""
        ...


class History:
    """Readings of the last KEPT_S seconds, those of now the last."""

    def __init__(self) -> None:
        self._read: deque[Reading] = deque()

    def add(self, reading: Reading) -> None:
        """Take in the newest reading."""
        self._read.append(reading)
        while self._read[0].at_s < reading.at_s - KEPT_S:
            self._read.popleft()

    @property
    def now(self) -> Reading:
        """The newest reading."""
        return self._read[-1]

    def within(self, window_s: float) -> list[Reading]:
        """Readings not older than the window before the newest one, oldest first."""
        since_s = self.now.at_s - window_s
        found: list[Reading] = []
        for reading in reversed(self._read):
            if reading.at_s < since_s:
                break
            found.append(reading)
        return found[::-1]

    def mean(self, window_s: float, of: Callable[[Reading], float | None]) -> float | None:
        """Mean of a value over the window, as far as it is known; None where it never is."""
        values = [value for value in map(of, self.within(window_s)) if value is not None]
        return sum(values) / len(values) if values else None

    def gateways(self, window_s: float) -> list[tuple[float, Gateway]] | Missing:
        """What a query over the window finds of the gateway: its pages that were read, by their moment, at least two.

        As Prometheus has it: one NaN makes all NaN, what was not scraped is left out, a refusal now is an error. What
        was refused before was only not told: as long as too little else is known, the error is taken to last.
        """
        window = self.within(window_s)
        missing = [reading.gateway.why for reading in window if isinstance(reading.gateway, Missing)]
        if isinstance(self.now.gateway, Missing) and self.now.gateway.why == "refused":
            return self.now.gateway
        if "nan" in missing:
            return Missing("nan")
        known = [(reading.at_s, reading.gateway) for reading in window if isinstance(reading.gateway, Gateway)]
        if len(known) < 2:
            return Missing("refused" if "refused" in missing else "absent")
        return known

    def arrivals_per_s(self, window_s: float) -> float | Missing:
        """Rate at the gateway over the window."""
        read = self.gateways(window_s)
        if isinstance(read, Missing):
            return read
        (since_s, first), (until_s, last) = read[0], read[-1]
        return (last.arrived - first.arrived) / (until_s - since_s)

    def latest(self, window_s: float) -> dict[int, ReplicaSignals]:
        """The newest page within the window of every replica that is ready, where there is one."""
        wanted = {replica.id for replica in ready(self.now)}
        found: dict[int, ReplicaSignals] = {}
        for reading in reversed(self.within(window_s)):
            found |= {one.id: one for one in answering(reading) if one.id in wanted and one.id not in found}
            if len(found) == len(wanted):
                break
        return found

    def increase(self, window_s: float, of: Callable[[ReplicaSignals], float]) -> float:
        """What a counter rose by over the window, summed over replicas.

        As Prometheus' increase sums it: a replica that came in between counts from its start's 0, what one did after
        its last page is lost.
        """
        return sum(of(new) - (of(old) if old is not None else 0.0) for new, old in self._steps(window_s))

    def counts(self, window_s: float, of: Callable[[ReplicaSignals], Counts | None]) -> Counts | None:
        """What a histogram rose by over the window, summed over replicas; None where nothing was read."""
        total: Counts | None = None
        for new, old in self._steps(window_s):
            counts = of(new)
            if counts is not None:
                earlier = of(old) if old is not None else None
                rise = counts - earlier if earlier is not None else counts
                total = rise if total is None else total + rise
        return total

    def _steps(self, window_s: float) -> Iterator[tuple[ReplicaSignals, ReplicaSignals | None]]:
        """Every page in the window, and the one of the same replica before it (None: what started in the window)."""
        window = self.within(window_s)
        before = {replica.id: replica for replica in read(window[0])}
        for reading in window[1:]:
            for replica in read(reading):
                if replica.id in before or replica.started_s >= window[0].at_s:
                    yield replica, before.get(replica.id)
                before[replica.id] = replica


def quantile(counts: Counts | None, edges: tuple[float, ...], q: float) -> float | None:
    """Quantile of a histogram by linear interpolation in its bucket, as PromQL's histogram_quantile; None when empty.

    What lies above the last edge is told as the last edge.
    """
    if counts is None or counts.sum() <= 0:
        return None
    below = np.cumsum(counts)
    rank = q * below[-1]
    bucket = int(np.searchsorted(below, rank))
    if bucket >= len(edges):
        return edges[-1]
    start = edges[bucket - 1] if bucket else 0.0
    inside = rank - (below[bucket - 1] if bucket else 0)
    return float(start + (edges[bucket] - start) * inside / counts[bucket])


def mean_tokens(history: History) -> tuple[float | None, float | None]:
    """Mean prompt and output tokens of a request over five minutes; None where none was seen."""
    first = history.counts(_TOKENS_S, lambda replica: replica.ttft_counts)
    prompts = int(first.sum()) if first is not None else 0
    done = history.increase(_TOKENS_S, lambda replica: replica.completed)
    prompt = history.increase(_TOKENS_S, lambda replica: replica.prompt_tokens) / prompts if prompts else None
    output = history.increase(_TOKENS_S, lambda replica: replica.generated_tokens) / done if done else None
    return prompt, output


def read(reading: Reading) -> tuple[ReplicaSignals, ...]:
    """Replicas whose pages were read, in any phase."""
    return tuple(replica for replica in reading.replicas if isinstance(replica, ReplicaSignals))


def answering(reading: Reading) -> tuple[ReplicaSignals, ...]:
    """Ready replicas whose pages were read."""
    return tuple(replica for replica in read(reading) if replica.phase == "ready")


def ready(reading: Reading) -> tuple[ReplicaSignals | UnreadReplica, ...]:
    """Replicas that take traffic, read or not."""
    return tuple(replica for replica in reading.replicas if replica.phase == "ready")


def starting(reading: Reading) -> tuple[Replica, ...]:
    """Replicas that are paid for and do not take traffic yet."""
    return tuple(replica for replica in reading.replicas if replica.phase == "starting")


def current(reading: Reading) -> int:
    """Replicas that were asked for: ready and starting, not draining."""
    return sum(replica.phase != "draining" for replica in reading.replicas)


def queued(reading: Reading) -> int:
    """Requests that wait at the gateway; 0 where it was not read."""
    return reading.gateway.queued if isinstance(reading.gateway, Gateway) else 0


def in_flight(replicas: Iterable[ReplicaSignals]) -> int:
    """Requests that replicas hold, executing or waiting."""
    return sum(replica.running + replica.waiting for replica in replicas)
