"""What a model's instances can take: its learned service times against its objective."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.decide.learning import Curve
from controlplane.decide.queueing import capacity_per_s, is_within

# Share of the most that instances can do where no latency objective says how long a request may wait.
FULL_SHARE = 0.8
# Counts whose throughput differs by less are taken as equal.
_SAME = 1.02


@dataclass(frozen=True, slots=True)
class Capacity:
    """Capacity by instance count, in requests per second of `items` items each.

    `threshold_s` and `share`: so many seconds must suffice for this share of the requests; None: no latency objective.
    """

    curve: Curve
    threshold_s: float | None
    share: float
    items: float

    def per_s(self, count: int) -> float:
        """The most that `count` instances take inside the objective; without regard to one that nothing could meet."""
        line = self.curve.line(count)
        capacity = 0.0
        if self.threshold_s is not None:
            capacity = capacity_per_s(line, count, self.threshold_s, self.share)
        return (capacity or FULL_SHARE * line.limit_per_s(count)) / self.items

    def limit_per_s(self, count: int) -> float:
        """The most that `count` instances do when they never wait, however late the answers are."""
        return self.curve.line(count).limit_per_s(count) / self.items

    def holds(self, count: int, per_s: float) -> bool:
        """Whether `count` instances take so many requests per second inside the objective."""
        line, rate = self.curve.line(count), per_s * self.items
        if self.threshold_s is None or not is_within(line, count, 0.0, self.threshold_s, self.share):
            return rate <= FULL_SHARE * line.limit_per_s(count)
        return rate < line.limit_per_s(count) and is_within(line, count, rate, self.threshold_s, self.share)

    def smallest(self, per_s: float, highest: int) -> int:
        """The smallest count that takes `per_s`; where none up to `highest` does, the smallest that does the most."""
        for count in range(1, highest + 1):
            if self.holds(count, per_s):
                return count
        best = 1
        for count in range(2, highest + 1):
            if self.limit_per_s(count) > _SAME * self.limit_per_s(best):
                best = count
        return best
