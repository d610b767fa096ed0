"""From what was read to the slices of each objective: how many events were good, bad, or could not be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from controlplane.domain.fleet import ModelSpec
from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective, Slice
from controlplane.domain.observation import Interval, LatencyInterval, ProbeResult, RatioInterval
from controlplane.slo.cover import Grid, covered, overlaps, share
from controlplane.slo.pressure import Spans, pressed
from controlplane.slo.rates import Outcome, outcomes, rates_of

ServerIntervals = Sequence[tuple[str, tuple[Interval, ...]]]
"""What each of a model's servers did for it: (server, intervals). A server that was not read has no intervals."""


@dataclass(slots=True)
class _Tally:
    """Events of a slice. Of the bad ones capacity explains `rejected`, and `late` and `errors` where it was short."""

    good: int = 0
    bad: int = 0
    unsure: int = 0
    rejected: int = 0
    late: int = 0
    errors: int = 0

    def explained(self, *, short: bool, failed_backend: int) -> int:
        """Bad events that capacity explains; errors but for what the backends say failed in them."""
        more = self.late + max(0, self.errors - failed_backend) if short else 0
        return min(self.bad, self.rejected + more)


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that was read about one model."""

    model: ModelSpec
    servers: ServerIntervals
    latencies: Sequence[LatencyInterval]
    probes: Sequence[ProbeResult]
    there: Mapping[str, tuple[float, float]]
    strained: Spans
    ratios: Sequence[RatioInterval]


_Count = Callable[[_Seen, Objective, Grid], tuple[list[_Tally], list[float]]]


def close_slices(
    model: ModelSpec,
    servers: ServerIntervals,
    latencies: Sequence[LatencyInterval],
    probes: Sequence[ProbeResult],
    *,
    since: float,
    until: float,
    there: Mapping[str, tuple[float, float]] | None = None,
    strained: Spans = (),
    ratios: Sequence[RatioInterval] = (),
) -> tuple[Slice, ...]:
    """Every slice in [since, until) of every objective of `model`, oldest first; both are multiples of SLICE_S.

    Events count in the slice that holds the end of their interval. `measured_s` is the exact overlap of what was read
    with the slice, averaged over `servers`, all those of the model, each as long as it was there: (from, to) by its
    name in `there`, else always. An interval across the slice's end is known only when it ends, so `until` has to lie
    at least a scrape interval and timeout behind now: closed slices stay closed.

    Capacity explains bad events that were rejected after queueing and, in slices in which requests of the model waited
    or its demand was near capacity (`strained`, by decisions), those that were late or failed in no backend.
    """
    grid, seen = Grid(since, until), _Seen(model, servers, latencies, probes, there or {}, strained, ratios)
    slices: list[Slice] = []
    short, failed_backend = _short(seen, grid), _failed_backend(seen, grid)
    for objective in model.objectives:
        tallies, measured = _counter(objective)(seen, objective, grid)
        slices.extend(
            Slice(
                model=model.name,
                objective=objective.key,
                start=grid.start(i),
                good=tally.good,
                bad=tally.bad,
                unsure=tally.unsure,
                measured_s=measured[i],
                expected_s=SLICE_S,
                slo_version=objective.version,
                bad_capacity=tally.explained(short=short[i], failed_backend=failed_backend[i]),
            )
            for i, tally in enumerate(tallies)
        )
    return tuple(slices)


def _counter(objective: Objective) -> _Count:
    if objective.source in _BY_SOURCE:
        return _BY_SOURCE[objective.source]
    if objective.indicator is not Indicator.AVAILABILITY:
        return _by_histogram
    if objective.source is IndicatorSource.GATEWAY:
        return _by_gateway_errors
    return _by_version if objective.model_version else _by_server_counters


def _by_server_counters(seen: _Seen, _objective: Objective, grid: Grid) -> tuple[list[_Tally], list[float]]:
    """Availability by the servers: failed and rejected are bad, canceled are no events, our own probes are no users."""
    tallies = _tallies(grid)
    for server, intervals in seen.servers:
        for interval in intervals:
            index = grid.index(interval.end)
            if index is None:
                continue
            bad = interval.failed + interval.rejected
            good = interval.completed - bad - interval.canceled
            # a failed probe whose result is timed elsewhere stays a bad event: users' failures are never hidden
            seen_failed = min(_failed_probes(seen.probes, server, interval), interval.probes)
            failed_probes = min(seen_failed, bad)
            # one given up for its timeout is canceled for the server
            given_up = min(seen_failed - failed_probes, interval.canceled)
            tallies[index].bad += bad - failed_probes
            tallies[index].rejected += min(interval.rejected, bad - failed_probes)
            tallies[index].good += max(0, good - (interval.probes - failed_probes - given_up))
    return tallies, _measured_by_servers(seen, grid)


def _by_version(seen: _Seen, objective: Objective, grid: Grid) -> tuple[list[_Tally], list[float]]:
    """Availability of one version by the servers, expected on those only that are not known to be without it."""
    own: list[tuple[str, tuple[Interval, ...]]] = []
    without: list[tuple[float, float]] = []
    for server, intervals in seen.servers:
        of_version = [(interval, _of_version(interval, objective.model_version)) for interval in intervals]
        own.append((server, tuple(found for _, found in of_version if found is not None)))
        without += [(interval.start, interval.end) for interval, found in of_version if found is None]
    seen = replace(seen, servers=own)
    tallies, _ = _by_server_counters(seen, objective, grid)
    expected = [a - b for a, b in zip(_expected(seen, grid), overlaps(grid, without), strict=True)]
    return tallies, share(_covered_by_servers(seen, grid), expected)


def _of_version(interval: Interval, version: str) -> Interval | None:
    """An interval as if there were that version only; None where it was not loaded.

    Our own probes name no version: Triton gives them to the newest.
    """
    found = next((count for count in interval.versions if count.version == version), None)
    if found is None:
        return None
    newest = max(interval.versions, key=lambda count: int(count.version) if count.version.isdecimal() else -1)
    return replace(
        interval,
        completed=found.completed,
        failed=found.failed,
        rejected=found.rejected,
        canceled=found.canceled,
        probes=min(interval.probes, found.completed) if found is newest else 0,
    )


def _by_gateway_errors(seen: _Seen, objective: Objective, grid: Grid) -> tuple[list[_Tally], list[float]]:
    """Availability by the gateways: errors are bad, whatever else was answered is good."""
    tallies = _tallies(grid)
    intervals = _of_gateway(objective, (li for li in seen.latencies if li.indicator is Indicator.LATENCY))
    for interval, tally in _ending_in(grid, intervals, tallies):
        tally.bad += interval.errors
        tally.errors += interval.errors
        tally.good += sum(interval.counts)
    return tallies, covered(grid, ((li.start, li.end) for li in intervals))


def _by_histogram(seen: _Seen, objective: Objective, grid: Grid) -> tuple[list[_Tally], list[float]]:
    """A threshold on a histogram. Errors are no events here: an error has no latency, availability counts it."""
    threshold = _threshold(objective)
    tallies = _tallies(grid)
    intervals = _of_gateway(objective, (li for li in seen.latencies if li.indicator is objective.indicator))
    for interval, tally in _ending_in(grid, intervals, tallies):
        good, bad, unsure = split(interval.edges, interval.counts, threshold)
        tally.good += good
        tally.bad += bad
        tally.late += bad
        tally.unsure += unsure
    spans = [(li.start, li.end) for li in intervals]
    if objective.source is IndicatorSource.GATEWAY:
        return tallies, covered(grid, spans)
    # each server gives intervals of its own, so that their overlaps add up to the number of servers read
    return tallies, share(overlaps(grid, spans), _expected(seen, grid))


def _of_gateway(objective: Objective, intervals: Iterable[LatencyInterval]) -> list[LatencyInterval]:
    """Those that the objective's gateway counted, where it names one."""
    return [interval for interval in intervals if objective.gateway in {"", interval.gateway}]


def _by_probe(seen: _Seen, objective: Objective, grid: Grid) -> tuple[list[_Tally], list[float]]:
    """Our own inferences: good within the threshold, bad above it or on an error; by the time the indicator names.

    A probe measures its server from its moment until the next one is due.
    """
    threshold = _threshold(objective)
    tallies = _tallies(grid)
    every_s = seen.model.probe.every_s if seen.model.probe else SLICE_S
    for probe in seen.probes:
        index = grid.index(probe.at)
        if index is None:
            continue
        took_s = probe_s(probe, objective.indicator)
        if probe.error:
            tallies[index].bad += 1
            tallies[index].errors += 1
        elif took_s is not None and took_s > threshold:
            tallies[index].bad += 1
            tallies[index].late += 1
        elif took_s is not None:
            tallies[index].good += 1
    rows = (
        covered(grid, ((probe.at, probe.at + every_s) for probe in seen.probes if probe.server == server))
        for server, _ in seen.servers
    )
    return tallies, share(_sum(rows, len(grid)), _expected(seen, grid))


def _by_mean(seen: _Seen, objective: Objective, grid: Grid) -> tuple[list[_Tally], list[float]]:
    """A slice is one event: good when the mean request time of what was answered in it is within the threshold.

    No event when nothing was answered but our own probes. Triton's request seconds are those of successes only, so
    failures are left out of the mean: they would make it smaller.
    """
    threshold = _threshold(objective)
    tallies = _tallies(grid)
    answered, users, request_s = [0] * len(grid), [0] * len(grid), [0.0] * len(grid)
    for _, intervals in seen.servers:
        for interval in intervals:
            index = grid.index(interval.end)
            if index is not None:
                good = interval.completed - interval.failed - interval.rejected - interval.canceled
                answered[index] += good
                users[index] += max(0, good - interval.probes)
                request_s[index] += interval.request_s
    for index, tally in enumerate(tallies):
        if users[index] > 0:
            inside = request_s[index] <= threshold * answered[index]
            tally.good, tally.bad, tally.late = int(inside), int(not inside), int(not inside)
    return tallies, _measured_by_servers(seen, grid)


def _by_rate(seen: _Seen, objective: Objective, grid: Grid) -> tuple[list[_Tally], list[float]]:
    """A slice with demand for the floor is one event: good when as much was given, unsure where a server was unread."""
    if objective.floor_per_s is None:
        raise ValueError(f"objective {objective.key} has no floor")
    found = outcomes(objective.indicator, objective.floor_per_s, seen.servers, seen.there, grid)
    tallies = [
        _Tally(good=int(o is Outcome.GOOD), bad=int(o is Outcome.BAD), unsure=int(o is Outcome.UNSURE)) for o in found
    ]
    for tally in tallies:
        tally.late = tally.bad
    told = [
        (server, tuple(interval for interval in intervals if rates_of(interval, objective.indicator)))
        for server, intervals in seen.servers
    ]
    return tallies, _measured_by_servers(replace(seen, servers=told), grid)


def _by_ratio(seen: _Seen, objective: Objective, grid: Grid) -> tuple[list[_Tally], list[float]]:
    """What a Prometheus told: events as they are; of a share a slice is one event, good when it always was inside."""
    tallies = _tallies(grid)
    intervals = [interval for interval in seen.ratios if interval.objective == objective.key]
    for interval in intervals:
        index = grid.index(interval.end)
        if index is not None:
            tallies[index].good += interval.good
            tallies[index].bad += interval.bad
    if objective.source is IndicatorSource.VALUE_SLICES:
        tallies = [_Tally(good=int(t.good > 0 and not t.bad), bad=int(t.bad > 0)) for t in tallies]
    for tally in tallies:
        tally.errors = tally.bad
    return tallies, covered(grid, ((interval.start, interval.end) for interval in intervals))


_BY_SOURCE: Mapping[IndicatorSource, _Count] = {
    IndicatorSource.PROBE: _by_probe,
    IndicatorSource.MEAN_SLICES: _by_mean,
    IndicatorSource.RATE_SLICES: _by_rate,
    IndicatorSource.PROMETHEUS: _by_ratio,
    IndicatorSource.VALUE_SLICES: _by_ratio,
}


def probe_s(probe: ProbeResult, indicator: Indicator) -> float | None:
    """The time of a probe that an indicator is about, None where it has none: to the first token, else to the end."""
    return probe.ttft_s if indicator is Indicator.TTFT else probe.latency_s


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


def _threshold(objective: Objective) -> float:
    if objective.threshold_s is None:
        raise ValueError(f"objective {objective.key} has no threshold")
    return objective.threshold_s


def _tallies(grid: Grid) -> list[_Tally]:
    return [_Tally() for _ in range(len(grid))]


def _ending_in(
    grid: Grid, intervals: Iterable[LatencyInterval], tallies: list[_Tally]
) -> Iterable[tuple[LatencyInterval, _Tally]]:
    for interval in intervals:
        index = grid.index(interval.end)
        if index is not None:
            yield interval, tallies[index]


def _measured_by_servers(seen: _Seen, grid: Grid) -> list[float]:
    return share(_covered_by_servers(seen, grid), _expected(seen, grid))


def _covered_by_servers(seen: _Seen, grid: Grid) -> list[float]:
    """Seconds of each slice that were read, of all servers added up."""
    rows = (covered(grid, ((i.start, i.end) for i in intervals)) for _, intervals in seen.servers)
    return _sum(rows, len(grid))


def _expected(seen: _Seen, grid: Grid) -> list[float]:
    """Seconds of each slice that the model's servers were there, added up."""
    always = (grid.since, grid.until)
    return overlaps(grid, (seen.there.get(server, always) for server, _ in seen.servers))


def _sum(rows: Iterable[list[float]], length: int) -> list[float]:
    total = [0.0] * length
    for row in rows:
        total = [a + b for a, b in zip(total, row, strict=True)]
    return total


def _short(seen: _Seen, grid: Grid) -> list[bool]:
    """Which slices the model was short of capacity in."""
    return pressed(grid, (interval for _, intervals in seen.servers for interval in intervals), seen.strained)


def _failed_backend(seen: _Seen, grid: Grid) -> list[int]:
    """How many requests failed in backends, by the slice in which it was seen."""
    failed = [0] * len(grid)
    for _, intervals in seen.servers:
        for interval in intervals:
            if interval.failed_backend and (index := grid.index(interval.end)) is not None:
                failed[index] += interval.failed_backend
    return failed


def _failed_probes(probes: Sequence[ProbeResult], server: str, interval: Interval) -> int:
    return sum(p.server == server and p.error != "" and interval.start < p.at <= interval.end for p in probes)
