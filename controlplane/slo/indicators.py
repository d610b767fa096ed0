"""From what was read to the slices of each objective: how many events were good, bad, or could not be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controlplane.domain.fleet import ModelSpec
from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective, Slice
from controlplane.domain.observation import LatencyInterval, ProbeResult, RatioInterval
from controlplane.slo.by_histogram import by_gateway_errors, by_histogram
from controlplane.slo.by_probe import by_probe
from controlplane.slo.by_ratio import by_ratio
from controlplane.slo.by_servers import by_mean, by_rate, by_server_counters, by_version
from controlplane.slo.cover import Grid
from controlplane.slo.pressure import Spans, pressed
from controlplane.slo.tally import Count, Seen, ServerIntervals

_BY_SOURCE: Mapping[IndicatorSource, Count] = {
    IndicatorSource.PROBE: by_probe,
    IndicatorSource.MEAN_SLICES: by_mean,
    IndicatorSource.RATE_SLICES: by_rate,
    IndicatorSource.PROMETHEUS: by_ratio,
    IndicatorSource.VALUE_SLICES: by_ratio,
}


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
    gateways: Mapping[str, float] | None = None,
) -> tuple[Slice, ...]:
    """Every slice in [since, until) of every objective of `model`, oldest first; both are multiples of SLICE_S.

    Events count in the slice that holds the end of their interval. `measured_s` is the exact overlap of what was read
    with the slice, averaged over `servers`, all those of the model, each as long as it was there: (from, to) by its
    name in `there`, else always. An interval across the slice's end is known only when it ends, so `until` has to lie
    at least a scrape interval and timeout behind now: closed slices stay closed.

    Of an objective by gateways `measured_s` is averaged over `gateways`, those that count requests of the model, each
    from a moment on; None: those in `latencies`.

    Capacity explains bad events that were rejected after queueing and, in slices in which requests of the model waited
    or its demand was near capacity (`strained`, by decisions), those that were late or failed in no backend.
    """
    grid, there = Grid(since, until), there or {}
    gateways = gateways_in(latencies) if gateways is None else gateways
    seen = Seen(model, servers, latencies, probes, there, strained, ratios, gateways)
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


def gateways_in(latencies: Iterable[LatencyInterval]) -> dict[str, float]:
    """Since when each gateway counted, by its name, as far as these tell."""
    since: dict[str, float] = {}
    for interval in latencies:
        since[interval.gateway] = min(interval.start, since.get(interval.gateway, interval.start))
    return since


def _counter(objective: Objective) -> Count:
    if objective.source in _BY_SOURCE:
        return _BY_SOURCE[objective.source]
    if objective.indicator is not Indicator.AVAILABILITY:
        return by_histogram
    if objective.source is IndicatorSource.GATEWAY:
        return by_gateway_errors
    return by_version if objective.model_version else by_server_counters


def _short(seen: Seen, grid: Grid) -> list[bool]:
    """Which slices the model was short of capacity in."""
    return pressed(grid, (interval for _, intervals in seen.servers for interval in intervals), seen.strained)


def _failed_backend(seen: Seen, grid: Grid) -> list[int]:
    """How many requests failed in backends, by the slice in which it was seen."""
    failed = [0] * len(grid)
    for _, intervals in seen.servers:
        for interval in intervals:
            if interval.failed_backend and (index := grid.index(interval.end)) is not None:
                failed[index] += interval.failed_backend
    return failed
