"""Events by what a Prometheus tells of an objective: two counters, or a share."""

from __future__ import annotations

from controlplane.domain.objectives import IndicatorSource, Objective
from controlplane.slo.cover import Grid, covered
from controlplane.slo.tally import Seen, Tally, tallies_of


def by_ratio(seen: Seen, objective: Objective, grid: Grid) -> tuple[list[Tally], list[float]]:
    """What a Prometheus told: events as they are; of a share a slice is one event, good when it always was inside."""
    tallies = tallies_of(grid)
    intervals = [interval for interval in seen.ratios if interval.objective == objective.key]
    for interval in intervals:
        index = grid.index(interval.end)
        if index is not None:
            tallies[index].good += interval.good
            tallies[index].bad += interval.bad
    if objective.source is IndicatorSource.VALUE_SLICES:
        tallies = [Tally(good=int(t.good > 0 and not t.bad), bad=int(t.bad > 0)) for t in tallies]
    for tally in tallies:
        tally.errors = tally.bad
    return tallies, covered(grid, ((interval.start, interval.end) for interval in intervals))
