"""Demand at the arrival side: what came in, not what came out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from controlplane.domain.observation import Interval

NEWEST_S = 4.0
RECENT_S = 10.0
LEVEL_S = 60.0
# A rise by this factor from one run of readings to the next is a jump, not noise.
_JUMP = 1.3
# Standard deviations of Poisson counts by which a short window must stand out before it is believed.
_CLEAR = 1.5


@dataclass(frozen=True, slots=True)
class Demand:
    """Arrivals per second over the newest `window_s` seconds, as an interval that holds the truth.

    `likely_high_per_s` is the upper end unless executing requests grew more than threefold within the newest reading:
    the interval's own upper end grows with the instance count even where nothing executes.
    `level_high_per_s` is the upper end over the longer LEVEL_S. `backlog` requests wait beyond one batch per instance.
    `censored`: requests were turned away, so true demand may be higher than all that was seen. `jumped`: the newest run
    of readings, from `newest_start` to `seen_until`, is the first one of a higher level and may hold only a part of it.
    `growth_per_s2`: by so much the rate clearly grows each second, 0 where it does not.
    """

    low_per_s: float
    high_per_s: float
    likely_high_per_s: float
    level_high_per_s: float
    backlog: int
    window_s: float
    censored: bool
    jumped: bool
    growth_per_s2: float
    newest_start: float
    seen_until: float


@dataclass(frozen=True, slots=True)
class _Rate:
    low_per_s: float
    high_per_s: float
    likely_high_per_s: float
    window_s: float

    @property
    def clearly_per_s(self) -> float:
        """A rate that the counts of the window clearly show, noise taken off."""
        noise = _CLEAR * math.sqrt(self.low_per_s / self.window_s) if self.window_s > 0 else 0.0
        return max(0.0, self.low_per_s - noise)


def estimate(intervals: Sequence[Interval], now: float, max_age_s: float, batch: int) -> Demand | None:
    """Demand by the intervals (oldest first) of one model on one server; None without a recent one.

    Arrivals in a window are completions + change of what is in the system. Triton's pending gauge leaves out executing
    requests, so their change is only known to lie within +-`running_max`: hence an interval. Own probes do not count.
    `batch` is the largest batch one instance takes. The window is RECENT_S long, or NEWEST_S where that clearly shows
    more: a step must not be diluted by what was before it.
    """
    if not intervals or now - intervals[-1].end > max_age_s:
        return None
    runs = _runs(intervals)
    rates = [_arrivals(run) for run in runs]
    recent_run = tail(intervals, RECENT_S)
    recent, level = _arrivals(recent_run), _arrivals(tail(intervals, LEVEL_S))
    chosen = rates[0] if rates[0].clearly_per_s > recent.high_per_s else recent
    last = intervals[-1]
    room = last.instances * batch
    # Where a backlog begins a smaller rise will do: most of the step may lie behind what was read.
    begins = last.pending_end > room >= runs[0][0].pending_start
    return Demand(
        low_per_s=chosen.low_per_s,
        high_per_s=chosen.high_per_s,
        likely_high_per_s=chosen.likely_high_per_s,
        level_high_per_s=level.likely_high_per_s,
        backlog=max(0, last.pending_end - room),
        window_s=chosen.window_s,
        censored=any(i.rejected > 0 for i in recent_run),
        jumped=_jump(rates, 0, 1.0 if begins else _JUMP) and not _jump(rates, 1, _JUMP),
        growth_per_s2=_growth(rates),
        newest_start=runs[0][0].start,
        seen_until=last.end,
    )


def _runs(intervals: Sequence[Interval]) -> list[Sequence[Interval]]:
    """The newest four runs of at least NEWEST_S each, newest first; fewer where there are not so many readings."""
    runs: list[Sequence[Interval]] = []
    rest = intervals
    while rest and len(runs) < 4:
        run = tail(rest, NEWEST_S)
        runs.append(run)
        rest = rest[: len(rest) - len(run)]
    return runs


def _jump(rates: Sequence[_Rate], index: int, factor: float) -> bool:
    """Whether the run at `index` clearly shows a level more than `factor` times that of the one before it."""
    if index + 1 >= len(rates):
        return False
    return rates[index].clearly_per_s > factor * rates[index + 1].high_per_s


def tail(intervals: Sequence[Interval], length_s: float) -> Sequence[Interval]:
    """The newest intervals that together cover at least `length_s`; all of them where they do not."""
    covered = 0.0
    for count, interval in enumerate(reversed(intervals), start=1):
        covered += interval.length_s
        if covered >= length_s:
            return intervals[-count:]
    return intervals


def _growth(rates: Sequence[_Rate]) -> float:
    """Growth of the rate per second, where the last three steps from run to run clearly show it; the smallest counts.

    A single step of the load that falls within a run shows as two steps from run to run, and is no slope.
    """
    if len(rates) < 4:
        return 0.0
    steps = [
        (newer.clearly_per_s - older.high_per_s) / ((newer.window_s + older.window_s) / 2)
        for newer, older in pairwise(rates)
    ]
    return max(0.0, min(steps))


def _arrivals(intervals: Sequence[Interval]) -> _Rate:
    window_s = sum(i.length_s for i in intervals)
    if window_s <= 0:
        return _Rate(0.0, 0.0, 0.0, 0.0)
    net = sum(i.completed - i.probes + i.pending_end - i.pending_start for i in intervals)
    # At both ends at most `running_max` requests execute; between them their changes cancel out.
    slack_low, slack_high = intervals[0].running_max, intervals[-1].running_max
    if all(i.completed == 0 and i.pending_end == 0 and i.pending_start == 0 for i in intervals):
        slack_high = 0
    likely = min(float(slack_high), 3 * _executing(intervals[-1]) + 1)
    return _Rate(
        max(0.0, (net - slack_low) / window_s),
        max(0.0, (net + slack_high) / window_s),
        max(0.0, (net + likely) / window_s),
        window_s,
    )


def _executing(interval: Interval) -> float:
    """Requests executing on average (Little's law over the batches); as many as can where no batches were read."""
    if not interval.batches:
        return float(interval.running_max)
    return sum(batch.size * batch.compute_s for batch in interval.batches) / interval.length_s
