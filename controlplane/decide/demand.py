"""Demand at the arrival side: what came in, not what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.domain.observation import Interval

RECENT_S = 10.0
LEVEL_S = 60.0


@dataclass(frozen=True, slots=True)
class Demand:
    """Arrivals per second over the newest `window_s` seconds, as an interval that holds the truth.

    `level_high_per_s` is the upper end over the longer LEVEL_S. `backlog` requests wait beyond one batch per instance.
    `served_per_s` is what was completed in the same time.
    """

    low_per_s: float
    high_per_s: float
    level_high_per_s: float
    served_per_s: float
    backlog: int
    window_s: float
    censored: bool
    """Requests were turned away: true demand may be higher than all that was seen."""


def estimate(intervals: Sequence[Interval], now: float, max_age_s: float, batch: int) -> Demand | None:
    """Demand by the intervals (oldest first) of one model on one server; None without a recent one.

    Arrivals in a window are completions + change of what is in the system. Triton's pending gauge leaves out executing
    requests, so their change is only known to lie within +-`running_max`: hence an interval. Own probes do not count.
    `batch` is the largest batch one instance takes.
    """
    if not intervals or now - intervals[-1].end > max_age_s:
        return None
    recent = _tail(intervals, RECENT_S)
    low, high, window_s = _arrivals(recent)
    _, level_high, _ = _arrivals(_tail(intervals, LEVEL_S))
    last = recent[-1]
    served = sum(i.completed - i.rejected - i.canceled for i in recent) / window_s
    return Demand(
        low,
        high,
        level_high,
        max(0.0, served),
        max(0, last.pending_end - last.instances * batch),
        window_s,
        any(i.rejected > 0 for i in recent),
    )


def _tail(intervals: Sequence[Interval], length_s: float) -> Sequence[Interval]:
    """The newest intervals that together cover at least `length_s`, without a gap between them where possible."""
    covered = 0.0
    for count, interval in enumerate(reversed(intervals), start=1):
        covered += interval.length_s
        if covered >= length_s:
            return intervals[-count:]
    return intervals


def _arrivals(intervals: Sequence[Interval]) -> tuple[float, float, float]:
    """(low, high) arrivals per second and the seconds covered."""
    window_s = sum(i.length_s for i in intervals)
    if window_s <= 0:
        return 0.0, 0.0, window_s
    net = sum(i.completed - i.probes + i.pending_end - i.pending_start for i in intervals)
    # At both ends at most `running_max` requests execute; inside the run of intervals their changes cancel out.
    slack_low, slack_high = intervals[0].running_max, intervals[-1].running_max
    if all(i.completed == 0 and i.pending_end == 0 and i.pending_start == 0 for i in intervals):
        slack_high = 0
    return max(0.0, (net - slack_low) / window_s), max(0.0, (net + slack_high) / window_s), window_s
