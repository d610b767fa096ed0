"""Demand at the arrival side: what came in, not what came out."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from controlplane.domain.decision import Reason, ReasonCode
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
    """Arrivals per second over the newest `window_s` seconds that were covered, as an interval that holds the truth.

    It is a point where queue and executing requests were read at both ends of the window. `high_per_s` is infinite
    where nothing bounds it: the queue is not observed, or counters began anew and some arrivals are counted nowhere.
    `likely_high_per_s` (always finite) is the upper end unless executing requests grew more than threefold within the
    newest reading: the interval's own upper end grows with the instance count even where nothing executes. What is not
    observed is taken to have stayed as it was. `level_high_per_s` is the same over the longer LEVEL_S.
    `backlog` requests are seen to wait beyond one batch per instance.
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

    def reason(self, wanted_per_s: float, **more: float) -> Reason:
        """What was seen of it, for a decision to hold `wanted_per_s`. Without an upper end where nothing bounds it."""
        numbers = {"demand_per_s": wanted_per_s, "low_per_s": self.low_per_s}
        if math.isfinite(self.high_per_s):
            return Reason(ReasonCode.DEMAND, {**numbers, "high_per_s": self.high_per_s, **more})
        return Reason(ReasonCode.DEMAND, {**numbers, **more}, {"why": "some requests may not be seen"})


class _Rate(NamedTuple):
    """The bounds that hold whatever happens, and those that hold while no batch is larger than any seen so far."""

    low_per_s: float
    high_per_s: float
    seen_low_per_s: float
    seen_high_per_s: float
    likely_high_per_s: float
    window_s: float

    @property
    def clearly_per_s(self) -> float:
        """A rate that the counts of the window clearly show, noise taken off."""
        noise = _CLEAR * math.sqrt(self.seen_low_per_s / self.window_s) if self.window_s > 0 else 0.0
        return max(0.0, self.seen_low_per_s - noise)

    @property
    def bar_per_s(self) -> float:
        """What another run must clearly exceed to show more than this one; 0 where this one shows nothing at all."""
        return self.seen_high_per_s if self.likely_high_per_s > 0 else 0.0


def estimate(intervals: Sequence[Interval], now: float, max_age_s: float, batch: int) -> Demand | None:
    """Demand by the intervals (oldest first) of one model on one server; None without a recent one.

    Arrivals in a window are completions + change of what is in the system. Triton's pending gauge leaves out executing
    requests, so their change is only known to lie within +-`running_max`: hence an interval. Own probes do not count.
    Arrivals are requests that a server took in: what it refuses without counting (Triton's full queue) is not seen, and
    the truth is then more than the estimate. `batch` is the largest batch one instance takes. The window is RECENT_S
    long, or NEWEST_S where that clearly shows more: a step must not be diluted by what was before it.
    """
    if not intervals or now - intervals[-1].end > max_age_s:
        return None
    runs = _runs(intervals)
    rates = [_arrivals(run) for run in runs]
    recent_run = tail(intervals, RECENT_S)
    recent, level = _arrivals(recent_run), _arrivals(tail(intervals, LEVEL_S))
    chosen = rates[0] if rates[0].clearly_per_s > recent.bar_per_s else recent
    last = intervals[-1]
    room = last.instances * batch
    # Where a backlog begins a smaller rise will do: most of the step may lie behind what was read.
    waiting, waited = last.pending_end or 0, runs[0][0].pending_start
    begins = waited is not None and waiting > room >= waited
    return Demand(
        low_per_s=chosen.low_per_s,
        high_per_s=chosen.high_per_s,
        likely_high_per_s=chosen.likely_high_per_s,
        level_high_per_s=level.likely_high_per_s,
        backlog=max(0, waiting - room),
        window_s=chosen.window_s,
        censored=any(i.rejected > 0 or i.turned_away for i in recent_run),
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
    return rates[index].clearly_per_s > factor * rates[index + 1].bar_per_s


def tail(intervals: Sequence[Interval], length_s: float) -> Sequence[Interval]:
    """The newest intervals that together cover at least `length_s`; all of them where they do not."""
    covered = 0.0
    for count, interval in enumerate(reversed(intervals), start=1):
        covered += interval.length_s
        if covered >= length_s:
            return intervals[-count:]
    return intervals


def started_since(intervals: Sequence[Interval], since: float) -> Sequence[Interval]:
    """The intervals, which are in order, that start at `since` or later."""
    return intervals[bisect_left(intervals, since, key=attrgetter("start")) :]


def _growth(rates: Sequence[_Rate]) -> float:
    """Growth of the rate per second, where the last three steps from run to run clearly show it; the smallest counts.

    A single step of the load that falls within a run shows as two steps from run to run, and is no slope.
    """
    if len(rates) < 4:
        return 0.0
    steps = [
        (newer.clearly_per_s - older.bar_per_s) / ((newer.window_s + older.window_s) / 2)
        for newer, older in pairwise(rates)
    ]
    return max(0.0, min(steps))


def _arrivals(intervals: Sequence[Interval]) -> _Rate:
    window_s = sum(i.length_s for i in intervals)
    if window_s <= 0:
        return _Rate(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    low = high = seen_low = seen_high = 0.0
    likely = _likely_more(intervals)
    for stretch in _stretches(intervals):
        first, last = stretch[0], stretch[-1]
        answered = sum([i.completed - i.probes for i in stretch])
        least, most = _bounds(first, last, answered, first.running_max, last.running_max)
        low, high = low + least, high + most
        least, most = _bounds(first, last, answered, _seen_max(first), _seen_max(last))
        seen_low, seen_high = seen_low + least, seen_high + most
        likely += answered
        likely += _change(first.pending_start, last.pending_end) + _change(first.running_start, last.running_end)
    if any(i.began_anew for i in intervals):
        high = math.inf
    likely = min(high, max(low, likely))
    return _Rate(
        low / window_s, high / window_s, seen_low / window_s, seen_high / window_s, likely / window_s, window_s
    )


def _bounds(
    first: Interval, last: Interval, answered: int, first_max: int | None, last_max: int | None
) -> tuple[float, float]:
    """The least and the most arrivals of a stretch, where at most `first_max` and `last_max` execute unseen."""
    start = _in_system(first.pending_start, first.running_start, first_max)
    end = _in_system(last.pending_end, last.running_end, last_max)
    own = first.probes_start + last.probes_end
    return max(0.0, answered + end[0] - start[1] - own), max(0.0, answered + end[1] - start[0] + own)


def _seen_max(interval: Interval) -> int | None:
    return interval.running_max if interval.running_seen_max is None else interval.running_seen_max


def _stretches(intervals: Sequence[Interval]) -> list[list[Interval]]:
    """Intervals joined where one begins with what the one before it ended with: in between their changes cancel out."""
    stretches: list[list[Interval]] = []
    for interval in intervals:
        if stretches and interval.start == stretches[-1][-1].end and not interval.began_anew:
            stretches[-1].append(interval)
        else:
            stretches.append([interval])
    return stretches


def _in_system(pending: int | None, running: int | None, running_max: int | None) -> tuple[float, float]:
    """The least and the most requests that wait and execute, by what was observed of them."""
    least = (pending or 0) + (running or 0)
    if pending is None or (running is None and running_max is None):
        return least, math.inf
    return least, pending + (running if running is not None else running_max or 0)


def _change(start: int | None, end: int | None) -> int:
    return 0 if start is None or end is None else end - start


def _likely_more(intervals: Sequence[Interval]) -> float:
    """By how many executing requests have likely grown at most, where they are not read; none where nothing is seen."""
    last = intervals[-1]
    most = _seen_max(last)
    if last.running_end is not None or most is None:
        return 0.0
    if all(i.completed == 0 and not i.pending_start and not i.pending_end for i in intervals):
        return 0.0
    return min(float(most), 3 * _executing(last, most) + 1)


def _executing(interval: Interval, most: int) -> float:
    """Requests executing on average (Little's law over the batches); as many as can where no batches were read."""
    if not interval.batches:
        return float(most)
    return sum(batch.size * batch.compute_s for batch in interval.batches) / interval.length_s
