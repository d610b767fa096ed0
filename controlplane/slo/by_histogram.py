"""Events by latency histograms, of servers and of gateways."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective
from controlplane.domain.observation import LatencyInterval
from controlplane.slo.cover import Grid, covered, overlaps, share
from controlplane.slo.tally import Seen, Tally, added, expected_s, tallies_of, threshold_of


def by_gateway_errors(seen: Seen, objective: Objective, grid: Grid) -> tuple[list[Tally], list[float]]:
    """Availability by the gateways: errors are bad, whatever else was answered is good."""
    tallies = tallies_of(grid)
    intervals = _of_gateway(objective, (li for li in seen.latencies if li.indicator is Indicator.LATENCY))
    for interval, tally in _ending_in(grid, intervals, tallies):
        tally.bad += interval.errors
        tally.errors += interval.errors
        tally.good += sum(interval.counts)
    return tallies, _measured_by_gateways(seen, objective, grid, intervals)


def by_histogram(seen: Seen, objective: Objective, grid: Grid) -> tuple[list[Tally], list[float]]:
    """A threshold on a histogram. Errors are no events here: an error has no latency, availability counts it."""
    threshold = threshold_of(objective)
    tallies = tallies_of(grid)
    intervals = _of_gateway(objective, (li for li in seen.latencies if li.indicator is objective.indicator))
    for interval, tally in _ending_in(grid, intervals, tallies):
        good, bad, unsure = split(interval.edges, interval.counts, threshold)
        tally.good += good
        tally.bad += bad
        tally.late += bad
        tally.unsure += unsure
    if objective.source is IndicatorSource.GATEWAY:
        return tallies, _measured_by_gateways(seen, objective, grid, intervals)
    # each server gives intervals of its own, so that their overlaps add up to the number of servers read
    return tallies, share(overlaps(grid, ((li.start, li.end) for li in intervals)), expected_s(seen, grid))


def split(edges: Sequence[float], counts: Sequence[int], threshold_s: float) -> tuple[int, int, int]:
    """(good, bad, unsure) of histogram counts against a threshold.

    `edges` are the finite upper bounds, ascending; `counts` is not cumulative and has one entry more. Events of the
    bucket that the threshold cuts are unsure; a threshold on an edge cuts none.
    """
    first, last = _cut(tuple(edges), threshold_s)
    return sum(counts[:first]), sum(counts[last:]), sum(counts[first:last])


@lru_cache(maxsize=4096)
def _cut(edges: tuple[float, ...], threshold_s: float) -> tuple[int, int]:
    """The buckets [first, second) that hold times on both sides of a threshold: one, or none where it is an edge."""
    below = sum(edge < threshold_s or math.isclose(edge, threshold_s, rel_tol=1e-9) for edge in edges)
    cut = not (below and math.isclose(edges[below - 1], threshold_s, rel_tol=1e-9))
    return below, below + cut


def _of_gateway(objective: Objective, intervals: Iterable[LatencyInterval]) -> list[LatencyInterval]:
    """Those that the objective's gateway counted, where it names one."""
    return [interval for interval in intervals if objective.gateway in {"", interval.gateway}]


def _measured_by_gateways(
    seen: Seen, objective: Objective, grid: Grid, intervals: Sequence[LatencyInterval]
) -> list[float]:
    """The share of each slice that was read of the gateways that the objective counts on, in seconds of a slice.

    Of several processes of one gateway nobody can tell which is silent: one that was read stands for them all.
    """
    since = {name: at for name, at in seen.gateways.items() if objective.gateway in {"", name}}
    rows = (covered(grid, ((li.start, li.end) for li in intervals if li.gateway == name)) for name in since)
    expected = overlaps(grid, ((at, grid.until) for at in since.values()))
    return share(added(rows, len(grid)), [max(SLICE_S, wanted) for wanted in expected])


def _ending_in(
    grid: Grid, intervals: Iterable[LatencyInterval], tallies: list[Tally]
) -> Iterable[tuple[LatencyInterval, Tally]]:
    for interval in intervals:
        index = grid.index(interval.end)
        if index is not None:
            yield interval, tallies[index]
