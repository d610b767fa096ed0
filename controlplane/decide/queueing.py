"""What c instances with dynamic batching can take inside a latency objective.

Two regimes bound the latency of a request; the smaller one holds.

1. Batches of a fixed size B: batches arrive at rate/B to c servers that need a + b*B seconds each: M/D/c with the
   exponential tail of the wait, P(W > t) = C(c, A) * exp(-2 c (1 - rho) t / service), C the Erlang-C probability
   and the factor 2 for deterministic service (Kingman 1962; Allen-Cunneen). Arrival variability is floored at
   Poisson, since scrapes cannot see it.
2. Elastic batches: while all instances are busy a batch takes what came during the last one, so that its size
   settles at B = rate * a / (c - rate * b) (Triton's dynamic batcher; a bulk-service queue, Bailey 1954). A request
   waits for the next instance and then for its own batch, about (1 + 1/sqrt(c)) batches of the quantile's size.

Against a simulation of the batcher (Poisson arrivals, three published batching lines, 1-8 instances, objectives of
1.5 to 6 batches, quantiles 0.90 and 0.99) the capacity so found is within 0.84 and 1.16 of the simulated one in 8
of 10 cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

_BISECTIONS = 16


@dataclass(frozen=True, slots=True)
class BatchLine:
    """Seconds to execute a batch: fixed_s + per_item_s * size, for sizes 1 to max_batch."""

    fixed_s: float
    per_item_s: float
    max_batch: int

    def service_s(self, size: float) -> float:
        """Seconds one batch of `size` takes."""
        return self.fixed_s + self.per_item_s * size

    def limit_per_s(self, instances: int) -> float:
        """Requests per second that instances which never wait would do."""
        return instances * self.max_batch / self.service_s(self.max_batch)


def capacity_per_s(line: BatchLine, instances: int, threshold_s: float, quantile: float) -> float:
    """The highest arrival rate at which `quantile` of the requests are done within `threshold_s`.

    0.0 when even an empty server is too slow. Exact to a 65,536th of what instances that never wait would do.
    """
    # The regime that holds at the highest rate is the one that counts: the others need not be followed to their ends.
    best, limit = 0.0, line.limit_per_s(instances)
    for regime in _regimes(line, instances, quantile):
        if regime(best) > threshold_s:
            continue
        high = limit
        for _ in range(_BISECTIONS):
            middle = (best + high) / 2
            if regime(middle) <= threshold_s:
                best = middle
            else:
                high = middle
    return best


def latency_s(line: BatchLine, instances: int, rate_per_s: float, quantile: float) -> float:
    """Seconds within which `quantile` of the requests are done; infinite when the instances cannot keep up."""
    return min(regime(rate_per_s) for regime in _regimes(line, instances, quantile))


def is_within(line: BatchLine, instances: int, rate_per_s: float, threshold_s: float, quantile: float) -> bool:
    """Whether `latency_s` is at most `threshold_s`: the first regime that says so will do."""
    return any(regime(rate_per_s) <= threshold_s for regime in _regimes(line, instances, quantile))


_Regime = Callable[[float], float]
"""Latency by the rate, as `latency_s`, with which it grows."""


def _regimes(line: BatchLine, instances: int, quantile: float) -> Iterator[_Regime]:
    """Fixed batches of the largest size, elastic ones, and fixed ones of each power of two below, likeliest first."""
    yield _fixed(line.max_batch, line, instances, quantile)
    yield _elastic(line, instances, quantile)
    for power in reversed(range((line.max_batch - 1).bit_length())):
        yield _fixed(1 << power, line, instances, quantile)


def _fixed(size: int, line: BatchLine, instances: int, quantile: float) -> _Regime:
    service_s = line.service_s(size)
    return lambda rate_per_s: service_s + _wait_s(instances, rate_per_s / size * service_s, service_s, quantile)


def _wait_s(instances: int, load: float, service_s: float, quantile: float) -> float:
    """Quantile of the wait of M/D/c with `load` erlangs."""
    if load >= instances:
        return math.inf
    if load <= 0:
        return 0.0
    waits = _erlang_c(instances, load)
    if waits <= 1 - quantile:
        return 0.0
    return math.log(waits / (1 - quantile)) * service_s / (2 * (instances - load))


def _elastic(line: BatchLine, instances: int, quantile: float) -> _Regime:
    most, full_s = line.max_batch, line.service_s(line.max_batch)
    batches, deviations = 1 + 1 / math.sqrt(instances), _normal_quantile(quantile)

    def regime(rate_per_s: float) -> float:
        spare = instances - rate_per_s * line.per_item_s
        if spare <= 0:
            return math.inf
        size = max(1.0, rate_per_s * line.fixed_s / spare)
        if size >= most:
            return math.inf
        # What does not fit into a batch waits as one of a queue of full batches.
        overflow_s = _wait_s(instances, rate_per_s / most * full_s, full_s, quantile) / most
        large = min(float(most), size + deviations * math.sqrt(size))
        return batches * line.service_s(large) + overflow_s

    return regime


@lru_cache(maxsize=64)
def _normal_quantile(quantile: float) -> float:
    return NormalDist().inv_cdf(quantile)


def _erlang_c(servers: int, load: float) -> float:
    """Probability that an arrival waits in M/M/servers with `load` erlangs (< servers)."""
    inverse_b = 1.0
    for k in range(1, servers + 1):
        inverse_b = 1.0 + inverse_b * k / load
    blocking = 1.0 / inverse_b
    return blocking / (1.0 - load / servers * (1.0 - blocking))
