"""A histogram whose buckets grow geometrically, for what we time ourselves: every value within 1 %, mergeable for ever.

The bucket of x is ceil(log_gamma(x)) with gamma = (1 + a) / (1 - a): any value in it is within the relative error `a`
of the bucket's middle 2 * gamma^i / (gamma + 1). Masson, Rim, Lee: DDSketch, VLDB 2019, arXiv 1908.10693.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

RELATIVE_ERROR = 0.01
SMALLEST_S = 1e-6
"""Shorter times are counted as this one."""
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)


@dataclass(frozen=True, slots=True)
class Sketch:
    """Times in seconds, by bucket number. The sum of two is the sketch of all their times, exactly."""

    buckets: Mapping[int, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many times there are."""
        return sum(self.buckets.values())

    def __add__(self, other: Sketch) -> Sketch:
        merged = dict(self.buckets)
        for bucket, count in other.buckets.items():
            merged[bucket] = merged.get(bucket, 0) + count
        return Sketch(merged)

    def quantile_s(self, q: float) -> float | None:
        """The time that a share `q` (0 to 1) of all lie at or under, within RELATIVE_ERROR; None without any."""
        rank = max(1, math.ceil(q * self.count))
        for bucket, upto in self._cumulated():
            if upto >= rank:
                return middle_s(bucket)
        return None

    def at_most(self, threshold_s: float) -> tuple[int, int]:
        """How many times are at most `threshold_s`: the fewest and the most that it can be.

        They differ by the one bucket that the threshold cuts, so by times within RELATIVE_ERROR of it.
        """
        cut = bucket_of(threshold_s)
        low = sum(count for bucket, count in self.buckets.items() if bucket < cut)
        return low, low + self.buckets.get(cut, 0)

    def _cumulated(self) -> Iterable[tuple[int, int]]:
        upto = 0
        for bucket in sorted(self.buckets):
            upto += self.buckets[bucket]
            yield bucket, upto


def sketch(times_s: Iterable[float]) -> Sketch:
    """The sketch of some times. Raises ValueError for one that is negative or no number."""
    buckets: dict[int, int] = {}
    for time_s in times_s:
        bucket = bucket_of(time_s)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    return Sketch(buckets)


def bucket_of(time_s: float) -> int:
    """The bucket of a time. Raises ValueError for one that is negative or no number."""
    if not 0 <= time_s < math.inf:
        raise ValueError(f"{time_s} is no time in seconds")
    return math.ceil(math.log(max(time_s, SMALLEST_S)) / _LOG_GAMMA)


def middle_s(bucket: int) -> float:
    """What stands for all times of a bucket."""
    return 2 * math.exp(bucket * _LOG_GAMMA) / (_GAMMA + 1)
